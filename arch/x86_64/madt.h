/* What the MADT says: CPUs, IO-APICs, how legacy interrupts are wired. */
#pragma once

#include "arch/arch.h"

#define MADT_IRQ_COUNT 16

struct madt_irq {
    uint32_t gsi;
    bool is_level, is_low;
};

struct madt {
    unsigned ioapic_count;                /* IO-APICs taken into use */
    struct madt_irq irqs[MADT_IRQ_COUNT]; /* by legacy interrupt number */
};

/*
 * madt_read -- fill *madt, with defaults where there is no MADT; takes the IO-APICs into use.
 *   on_cpu  is called for each CPU that is enabled, in the table's order
 */
void madt_read(struct madt *madt, void (*on_cpu)(uint32_t apic_id));
