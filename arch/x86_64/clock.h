/* The time stamp counter's frequency, and short waits by it. */
#pragma once

#include "arch/arch.h"

/*
 * clock_init -- find the TSC's frequency and verify it; find the local APIC timer's.
 *   pm_port  I/O port of the ACPI PM timer; 0: none
 */
void clock_init(uint16_t pm_port);

void clock_wait_us(unsigned microseconds); /* after clock_init */
