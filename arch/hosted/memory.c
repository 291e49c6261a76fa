/*
 * Memory of the hosted port: RAM is one mapping, and so is all that arch_table_reserve gives out.
 *
 *     RAM     [base, base + bytes)  physical byte 0 is its base, aligned to 64 MiB; NORESERVE, so
 *                                   a page costs nothing until it is touched
 *     tables  read-only until committed, then mprotect makes pages writable
 *     guards  the guard pool: no access, mprotect gives it to single pages and takes it
 *     stacks  addresses for stacks: likewise; beside it, what a machine would have mapped there
 *
 * A committed page takes one page of RAM too, which stays unused: so that mm/'s accounts, and what
 * happens when RAM is exhausted, are those of a real machine.  So does a page of the guard pool, a
 * page of a stack, and a unit of the stacks' addresses that is open.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_ALIGN     (64 * MIB) /* an arena, so that those of the direct map align */
#define TABLE_BYTES   (512 * GIB) /* addresses for all tables: 46 bits of physical memory need less */
#define TABLE_REGIONS (TABLE_BYTES / ARCH_PAGE_BYTES)

#define STACKS_BYTES (64 * GIB)
#define STACKS_ALIGN (1 * GIB) /* so that stacks align to their own size */
#define STACKS_PAGES (STACKS_BYTES / ARCH_PAGE_BYTES)
#define STACKS_UNITS (STACKS_BYTES / ARCH_STACK_UNIT)

uintptr_t hosted_ram_base;
uintptr_t hosted_stacks; /* [C] STACKS_BYTES of addresses */

static size_t ram_bytes;   /* [C] while started */
static char *tables;       /* [C] TABLE_BYTES of addresses */
static size_t tables_used; /* [boot CPU] bytes reserved, from the start */
static char *guards;       /* [C] ARCH_GUARD_BYTES of addresses */
static void *
    *stack_pages; /* per page of hosted_stacks: what RAM stands for it.  [its stack's user] */
static void **stack_tables; /* per unit: likewise, for a page table.  [caller of arch_stack_open] */
static uint8_t *table_bits; /* per page of tables: committed.  [caller of arch_table_commit] */

static char *memory_map(size_t bytes, int rights)
{
    void *addr = mmap(NULL, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (addr != MAP_FAILED)
        return addr;
    fprintf(stderr, "hosted_start: no %zu MiB of address space\n", bytes / MIB);
    return NULL;
}

/* Addresses that begin at a multiple of `align`; 0: there are none. */
static uintptr_t memory_map_aligned(size_t bytes, size_t align, int rights)
{
    char *low = memory_map(bytes + align, rights);

    if (low == NULL)
        return 0;

    char *base = (char *)ALIGN_UP((uintptr_t)low, align);
    size_t lead = (size_t)(base - low);

    if (lead != 0)
        munmap(low, lead);
    if (lead != align)
        munmap(base + bytes, align - lead);
    return (uintptr_t)base;
}

static bool memory_map_ram(size_t bytes)
{
    hosted_ram_base = memory_map_aligned(bytes, RAM_ALIGN, PROT_READ | PROT_WRITE);
    ram_bytes = bytes;
    return hosted_ram_base != 0;
}

static bool memory_map_stacks(void)
{
    hosted_stacks = memory_map_aligned(STACKS_BYTES, STACKS_ALIGN, PROT_NONE);
    stack_pages = (void **)memory_map(STACKS_PAGES * sizeof(void *), PROT_READ | PROT_WRITE);
    stack_tables = (void **)memory_map(STACKS_UNITS * sizeof(void *), PROT_READ | PROT_WRITE);
    return hosted_stacks != 0 && stack_pages != NULL && stack_tables != NULL;
}

bool hosted_memory_map(size_t bytes)
{
    tables = memory_map(TABLE_BYTES, PROT_READ);
    table_bits = (uint8_t *)memory_map(TABLE_REGIONS / 8, PROT_READ | PROT_WRITE);
    guards = memory_map(ARCH_GUARD_BYTES, PROT_NONE);
    if (tables != NULL && table_bits != NULL && guards != NULL && memory_map_stacks() &&
        memory_map_ram(bytes))
        return true;
    hosted_memory_unmap();
    return false;
}

void hosted_memory_unmap(void)
{
    if (tables != NULL)
        munmap(tables, TABLE_BYTES);
    if (table_bits != NULL)
        munmap(table_bits, TABLE_REGIONS / 8);
    if (guards != NULL)
        munmap(guards, ARCH_GUARD_BYTES);
    if (hosted_ram_base != 0)
        munmap((void *)hosted_ram_base, ram_bytes);
    if (hosted_stacks != 0)
        munmap((void *)hosted_stacks, STACKS_BYTES);
    if (stack_pages != NULL)
        munmap(stack_pages, STACKS_PAGES * sizeof(void *));
    if (stack_tables != NULL)
        munmap(stack_tables, STACKS_UNITS * sizeof(void *));
    hosted_stacks = 0;
    stack_pages = NULL;
    stack_tables = NULL;
    tables = NULL;
    table_bits = NULL;
    guards = NULL;
    hosted_ram_base = 0;
}

const char *hosted_memory_name(uintptr_t addr)
{
    if (addr < 64 * KIB)
        return "null page";
    if (addr - hosted_ram_base < ram_bytes)
        return "RAM";
    if (addr - (uintptr_t)tables < tables_used)
        return "table page that is not committed";
    if (addr - (uintptr_t)tables < TABLE_BYTES)
        return "table region that is not reserved";
    if (addr - (uintptr_t)guards < ARCH_GUARD_BYTES)
        return "guard pool";
    if (hosted_stacks_has(addr))
        return "region of stacks, not backed there";
    return "unknown";
}

void *arch_table_reserve(size_t bytes)
{
    char *table = tables + tables_used;

    if (bytes > TABLE_BYTES - tables_used)
        return NULL;
    tables_used += ALIGN_UP(bytes, ARCH_PAGE_BYTES);
    return table;
}

bool arch_table_back(void *addr, size_t bytes, void *(*take_page)(void))
{
    for (char *page = addr; page < (char *)addr + bytes; page += ARCH_PAGE_BYTES) {
        size_t idx = (size_t)(page - tables) / ARCH_PAGE_BYTES;

        if (table_bits[idx / 8] & 1u << idx % 8)
            continue;
        if (take_page() == NULL || mprotect(page, ARCH_PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
            return false;
        table_bits[idx / 8] |= (uint8_t)(1u << idx % 8);
    }
    return true;
}

/* mprotect has done it. */
void arch_table_flush(void)
{
}

bool arch_table_commit(void *addr, size_t bytes, void *(*take_page)(void))
{
    return arch_table_back(addr, bytes, take_page);
}

void *arch_guard_reserve(void)
{
    return guards;
}

bool arch_guard_map(void *addr, void *page)
{
    (void)page;
    return mprotect(addr, ARCH_PAGE_BYTES, PROT_READ | PROT_WRITE) == 0;
}

/* Where the host has no room for one more mapping, the page stays: an access goes unseen. */
void arch_guard_unmap(void *addr)
{
    (void)mprotect(addr, ARCH_PAGE_BYTES, PROT_NONE);
}

/* ---- Addresses for stacks ---- */

uintptr_t arch_stack_region(size_t *bytes)
{
    *bytes = STACKS_BYTES;
    return hosted_stacks;
}

bool hosted_stacks_has(uintptr_t addr)
{
    return addr - hosted_stacks < STACKS_BYTES;
}

static void **stack_page_at(uintptr_t addr)
{
    return &stack_pages[(addr - hosted_stacks) / ARCH_PAGE_BYTES];
}

bool hosted_stacks_can_read(uintptr_t addr, size_t bytes)
{
    return hosted_stacks_has(addr) && hosted_stacks_has(addr + bytes - 1) &&
           *stack_page_at(addr) != NULL && *stack_page_at(addr + bytes - 1) != NULL;
}

/* Whole units, where faults do not ask for single pages (ARCH_STACK_FAULTS). */
static bool stack_units_protect(uintptr_t addr, size_t bytes, int rights)
{
    return ARCH_STACK_FAULTS || mprotect((void *)addr, bytes, rights) == 0;
}

bool arch_stack_open(uintptr_t addr, size_t bytes, void *(*take_page)(void))
{
    void **table = &stack_tables[(addr - hosted_stacks) / ARCH_STACK_UNIT];

    for (size_t left = bytes / ARCH_STACK_UNIT; left > 0; left--, table++) {
        if (*table == NULL)
            *table = take_page();
        if (*table == NULL)
            return false;
    }
    return stack_units_protect(addr, bytes, PROT_READ | PROT_WRITE);
}

void arch_stack_close(uintptr_t addr, size_t bytes, void (*give_page)(void *page))
{
    void **table = &stack_tables[(addr - hosted_stacks) / ARCH_STACK_UNIT];

    for (size_t left = bytes / ARCH_STACK_UNIT; left > 0; left--, table++) {
        if (*table != NULL)
            give_page(*table);
        *table = NULL;
    }
    (void)stack_units_protect(addr, bytes, PROT_NONE);
    (void)madvise((void *)addr, bytes, MADV_DONTNEED);
}

bool arch_stack_map(uintptr_t addr, void *page)
{
    if (*stack_page_at(addr) != NULL)
        kernel_panic("arch_stack_map: 0x%lx is mapped", addr);
    if (ARCH_STACK_FAULTS && mprotect((void *)addr, ARCH_PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
        return false;
    *stack_page_at(addr) = page;
    return true;
}

/* Where the host has no room for one more mapping, the page stays: an access goes unseen. */
void *arch_stack_unmap(uintptr_t addr)
{
    void *page = *stack_page_at(addr);

    if (page == NULL)
        return NULL;
    if (ARCH_STACK_FAULTS)
        (void)mprotect((void *)addr, ARCH_PAGE_BYTES, PROT_NONE);
    (void)madvise((void *)addr, ARCH_PAGE_BYTES, MADV_DONTNEED);
    *stack_page_at(addr) = NULL;
    return page;
}

void *arch_stack_page(uintptr_t addr)
{
    return *stack_page_at(addr);
}

/* mprotect has done it, on all CPUs. */
void arch_stack_flush_here(void)
{
}

void arch_stack_flush_all(void)
{
}

/* The process has its own page tables, and its image stays. */
void arch_paging_init(const struct boot_range *ranges, size_t count, void *(*take_page)(void))
{
    (void)ranges, (void)count, (void)take_page;
}

void arch_zero_pages(void *addr, size_t pages)
{
    memset(addr, 0, pages * ARCH_PAGE_BYTES);
}

void arch_boot_release(uintptr_t start, uintptr_t end)
{
    (void)start, (void)end;
}

bool arch_ram_release(void *addr, size_t bytes)
{
    return bytes == 0 || madvise(addr, bytes, MADV_DONTNEED) == 0;
}
