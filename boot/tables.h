/*
 * The first page tables: what the kernel runs on from arch_entry until it has its own.
 */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

#define TABLES_PAGE_BYTES 4096u

enum tables_rights { /* reading is always allowed */
                     TABLES_WRITE = 1 << 0,
                     TABLES_EXEC = 1 << 1,
};

struct tables {
    uint64_t root;      /* physical address of the top table: CR3 */
    bool has_gib_pages; /* the CPU has 1 GiB pages */
    uintptr_t base;     /* physical address + base is an address that can be used here */
    uint64_t (*take_page)(void *context); /* a page's physical address, 0 when there is none */
    void *context;
};

/*
 * tables_init -- an empty top table.  Set the other fields before.
 *   returns  false when take_page gave 0
 */
bool tables_init(struct tables *tables);

/*
 * tables_map -- map [virt, virt + bytes) to phys, with the largest pages that fit.
 *   virt, phys, bytes  multiples of TABLES_PAGE_BYTES; neither end wraps
 *   rights             enum tables_rights
 *   returns            false when take_page gave 0
 * What is mapped already stays as it is: ranges that overlap must agree.
 */
bool tables_map(struct tables *tables, uint64_t virt, uint64_t phys, uint64_t bytes,
                unsigned rights);

/*
 * tables_map_direct -- the direct map of one range of memory, no-execute, rounded outward to pages.
 * Nothing for a range of kind RESERVED (or unknown), one that wraps, and what lies above the direct
 * map's end.
 */
bool tables_map_direct(struct tables *tables, const struct boot_range *range);
