/* The IO-APICs, and the two PICs that they replace. */
#pragma once

#include "arch/arch.h"

#define IOAPIC_MAX 8
#define PIC_INPUTS 16 /* of both; their vectors start at VECTOR_FIRST_IRQ */

void pic_disable(void); /* move the PICs' vectors out of the exceptions' way and mask them */

/* ioapic_add -- take an IO-APIC into use, all its inputs masked; false: too many, or not there. */
bool ioapic_add(uint64_t physical, uint32_t gsi_base);

/*
 * ioapic_route -- let global system interrupt `gsi` raise `vector` on the CPU with `apic_id`.
 *   returns  false when no IO-APIC has it
 */
bool ioapic_route(uint32_t gsi, unsigned vector, uint32_t apic_id, bool is_level, bool is_low);
