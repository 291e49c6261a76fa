/*
 * The kernel's page tables: entries, walks.  arch_paging_init and arch_boot_release are here too.
 */
#pragma once

#include "arch/arch.h"

#define PTE_PRESENT       0x001ull
#define PTE_WRITE         0x002ull
#define PTE_WRITE_THROUGH 0x008ull
#define PTE_UNCACHED      0x010ull
#define PTE_LARGE         0x080ull /* a leaf above level 0 */
#define PTE_GLOBAL        0x100ull
#define PTE_NX            (1ull << 63)
#define PTE_ADDRESS       0x000ffffffffff000ull

#define PAGE_TABLE_ENTRIES 512

/* Levels: 0 is a page table (4 KiB each entry), 1 has 2 MiB, 2 has 1 GiB, 3 (the root) 512 GiB. */
#define LEVEL_ROOT         3u
#define LEVEL_SHIFT(level) (12 + 9 * (level))
#define LEVEL_BYTES(level) (1ull << LEVEL_SHIFT(level))

typedef uint64_t page_table[PAGE_TABLE_ENTRIES] __attribute__((aligned(4096)));

/* The root, in the image and so below 4 GiB: a starting CPU can only load 32 bits of CR3. */
extern page_table paging_root;

static inline unsigned paging_index(uintptr_t addr, unsigned level)
{
    return (addr >> LEVEL_SHIFT(level)) % PAGE_TABLE_ENTRIES;
}

static inline uint64_t direct_physical(uintptr_t addr)
{
    return addr - BOOT_DIRECT_BASE;
}

static inline void *direct_pointer(uint64_t physical)
{
    return (void *)(uintptr_t)(BOOT_DIRECT_BASE + physical);
}

/* The table that an entry above level 0 points to. */
static inline uint64_t *paging_table_at(uint64_t entry)
{
    return direct_pointer(entry & PTE_ADDRESS);
}

/*
 * paging_entry -- the entry of `level` for addr, with the tables above it made where missing.
 *   take_page  gives a zeroed page or NULL
 *   returns    NULL when take_page did (tables made so far stay, empty)
 */
uint64_t *paging_entry(uintptr_t addr, unsigned level, void *(*take_page)(void));

/*
 * paging_lookup -- the leaf entry that maps addr, and the level it stands at.
 *   returns  0 when addr is not mapped
 *   context  any
 */
uint64_t paging_lookup(uintptr_t addr, unsigned *level);
