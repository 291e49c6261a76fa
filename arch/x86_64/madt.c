/*
 * The MADT: a header and then entries of a type, a length and contents, walked with every length
 * checked.
 *
 * Source: ACPI specification 6.5, section 5.2.12.
 */
#include "arch/x86_64/madt.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/ioapic.h"

enum madt_type {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_X2APIC = 9,
};

#define MADT_CPU_ENABLED  1u
#define MADT_LOW(flags)   (((flags)&3) == 3)
#define MADT_LEVEL(flags) (((flags) >> 2 & 3) == 3)

struct madt_table {
    struct acpi_header header;
    uint32_t lapic_physical;
    uint32_t flags;
} __attribute__((packed));

/* One entry; which part of the union counts follows from the type. */
struct madt_entry {
    uint8_t type, bytes;
    union {
        struct {
            uint8_t processor, apic_id;
            uint32_t flags;
        } __attribute__((packed)) lapic;
        struct {
            uint8_t id, reserved;
            uint32_t physical, gsi_base;
        } __attribute__((packed)) ioapic;
        struct {
            uint8_t bus, irq;
            uint32_t gsi;
            uint16_t flags;
        } __attribute__((packed)) override;
        struct {
            uint16_t reserved;
            uint32_t apic_id, flags, processor;
        } __attribute__((packed)) x2apic;
    };
} __attribute__((packed));

/* Bytes that an entry of this type must have; 0: a type that is of no interest. */
static size_t madt_entry_bytes(uint8_t type)
{
    switch (type) {
    case MADT_LAPIC:
        return 8;
    case MADT_IOAPIC:
        return 12;
    case MADT_OVERRIDE:
        return 10;
    case MADT_X2APIC:
        return 16;
    default:
        return 0;
    }
}

static void madt_entry_read(const struct madt_entry *entry, struct madt *madt,
                            void (*on_cpu)(uint32_t apic_id))
{
    switch (entry->type) {
    case MADT_LAPIC:
        if (entry->lapic.flags & MADT_CPU_ENABLED)
            on_cpu(entry->lapic.apic_id);
        break;
    case MADT_X2APIC:
        if (entry->x2apic.flags & MADT_CPU_ENABLED)
            on_cpu(entry->x2apic.apic_id);
        break;
    case MADT_IOAPIC:
        if (ioapic_add(entry->ioapic.physical, entry->ioapic.gsi_base))
            madt->ioapic_count++;
        break;
    case MADT_OVERRIDE:
        if (entry->override.irq < MADT_IRQ_COUNT)
            madt->irqs[entry->override.irq] =
                (struct madt_irq){entry->override.gsi, MADT_LEVEL(entry->override.flags),
                                  MADT_LOW(entry->override.flags)};
        break;
    }
}

void madt_read(struct madt *madt, void (*on_cpu)(uint32_t apic_id))
{
    *madt = (struct madt){0};
    for (uint32_t irq = 0; irq < MADT_IRQ_COUNT; irq++)
        madt->irqs[irq].gsi = irq;

    const struct madt_table *table = (const struct madt_table *)acpi_table("APIC");
    if (table == NULL || table->header.bytes < sizeof(*table)) {
        kernel_log("acpi: no MADT: one CPU, and no input from the console");
        return;
    }

    const char *at = (const char *)(table + 1), *end = (const char *)table + table->header.bytes;

    while (end - at >= 2) {
        const struct madt_entry *entry = (const struct madt_entry *)at;
        size_t needed = madt_entry_bytes(entry->type);

        if (entry->bytes < 2 || entry->bytes > end - at || entry->bytes < needed) {
            kernel_log("acpi: MADT entry of type %u has %u bytes: the rest is ignored", entry->type,
                       entry->bytes);
            return;
        }
        if (needed > 0)
            madt_entry_read(entry, madt, on_cpu);
        at += entry->bytes;
    }
}
