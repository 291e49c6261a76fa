/* Power-off and the ports that ACPI's FADT names. */
#pragma once

#include "arch/arch.h"

/*
 * power_init -- read the FADT and, from the DSDT, what switches the machine off; after arch_node_init.
 *   returns  I/O port of the ACPI PM timer; 0: none
 */
uint16_t power_init(void);
