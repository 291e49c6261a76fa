/*
 * ACPI's static tables: find one by its signature, checked.  Nothing interprets AML.
 * All of it on the boot CPU, in ordinary context.
 */
#pragma once

#include "arch/arch.h"

struct acpi_header {
    char signature[4];
    uint32_t bytes; /* of the whole table, this header included */
    uint8_t revision;
    uint8_t checksum; /* makes the sum of all bytes 0 */
    char oem[6];
    char oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

/*
 * acpi_init -- check the root pointer and the root table.
 *   rsdp     physical address; 0: none
 *   returns  false when there are no usable tables (and why is logged)
 */
bool acpi_init(uint64_t rsdp);

bool acpi_is_open(void); /* acpi_init found usable tables */

/*
 * acpi_table -- the first table with this signature whose length and checksum are right.
 *   returns  good until the next call of acpi_table or acpi_table_at; NULL: there is none
 */
const struct acpi_header *acpi_table(const char *signature);

/* acpi_table_at -- the same for a table at a known physical address, as the DSDT is. */
const struct acpi_header *acpi_table_at(uint64_t physical, const char *signature);
