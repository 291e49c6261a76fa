/*
 * ACPI's static tables.
 *
 *      RSDP -> XSDT (64-bit pointers) or RSDT (32-bit) -> MADT, FADT, ...
 *
 * Firmware keeps them in ACPI memory, in reserved memory or in ROM, so each is looked at through
 * the port's window: one view stays on the root table, the other moves from table to table.
 * Nothing in a table is believed before its length and checksum are right.
 *
 * Source: ACPI specification 6.5, section 5.2.
 */
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/window.h"
#include "kernel/base/string.h"

struct acpi_rsdp {
    char signature[8]; /* "RSD PTR " */
    uint8_t checksum;  /* of the first 20 bytes */
    char oem[6];
    uint8_t revision; /* 0: what follows rsdt is not there */
    uint32_t rsdt;
    uint32_t bytes;
    uint64_t xsdt;
    uint8_t checksum_all;
    uint8_t reserved[3];
} __attribute__((packed));

#define RSDP_OLD_BYTES 20u

static const struct acpi_header *acpi_root; /* in its view; NULL: no tables */
static size_t acpi_pointer_bytes;           /* 4 or 8: of an entry of the root table */

static bool acpi_sums_to_zero(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    uint8_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += at[i];
    return sum == 0;
}

/* A table with a right signature, length and checksum through `view`, or NULL. */
static const struct acpi_header *acpi_view_table(enum window_view view, uint64_t physical,
                                                 const char *signature)
{
    const struct acpi_header *table = window_view(view, physical, sizeof(*table));

    if (physical == 0 || table == NULL || memcmp(table->signature, signature, 4) != 0)
        return NULL;

    uint32_t bytes = table->bytes;

    if (bytes >= sizeof(*table))
        table = window_view(view, physical, bytes);
    if (bytes < sizeof(*table) || table == NULL || !acpi_sums_to_zero(table, bytes)) {
        kernel_log("acpi: table %.4s at 0x%llx is damaged: %u bytes, or its checksum is wrong",
                   signature, (unsigned long long)physical, bytes);
        return NULL;
    }
    return table;
}

bool acpi_init(uint64_t rsdp_physical)
{
    const struct acpi_rsdp *rsdp = window_view(WINDOW_VIEW_ROOT, rsdp_physical, sizeof(*rsdp));

    if (rsdp_physical == 0 || rsdp == NULL) {
        kernel_log("acpi: no root pointer was handed over");
        return false;
    }
    if (memcmp(rsdp->signature, "RSD PTR ", 8) != 0 || !acpi_sums_to_zero(rsdp, RSDP_OLD_BYTES)) {
        kernel_log("acpi: no root pointer at 0x%llx", (unsigned long long)rsdp_physical);
        return false;
    }

    uint64_t rsdt = rsdp->rsdt, xsdt = 0;

    if (rsdp->revision >= 2 && acpi_sums_to_zero(rsdp, sizeof(*rsdp)))
        xsdt = rsdp->xsdt;
    acpi_pointer_bytes = 8;
    acpi_root = acpi_view_table(WINDOW_VIEW_ROOT, xsdt, "XSDT");
    if (acpi_root == NULL) {
        acpi_pointer_bytes = 4;
        acpi_root = acpi_view_table(WINDOW_VIEW_ROOT, rsdt, "RSDT");
    }
    if (acpi_root == NULL)
        kernel_log("acpi: neither XSDT nor RSDT is usable");
    return acpi_root != NULL;
}

bool acpi_is_open(void)
{
    return acpi_root != NULL;
}

const struct acpi_header *acpi_table_at(uint64_t physical, const char *signature)
{
    return acpi_view_table(WINDOW_VIEW_TABLE, physical, signature);
}

const struct acpi_header *acpi_table(const char *signature)
{
    if (acpi_root == NULL)
        return NULL;

    const char *entry = (const char *)(acpi_root + 1);
    size_t count = (acpi_root->bytes - sizeof(*acpi_root)) / acpi_pointer_bytes;

    for (size_t i = 0; i < count; i++, entry += acpi_pointer_bytes) {
        uint64_t physical = 0;

        memcpy(&physical, entry, acpi_pointer_bytes);
        const struct acpi_header *table = acpi_table_at(physical, signature);
        if (table != NULL)
            return table;
    }
    return NULL;
}
