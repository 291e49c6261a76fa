/*
 * Memory of the hosted port: RAM is one mapping, and so is all that arch_table_reserve gives out.
 *
 *     RAM     [base, base + bytes)  physical byte 0 is its base, aligned to 64 MiB; NORESERVE, so
 *                                   a page costs nothing until it is touched
 *     tables  read-only until committed, then mprotect makes pages writable
 *     guards  the guard pool: no access, mprotect gives it to single pages and takes it
 *
 * A committed page takes one page of RAM too, which stays unused: so that mm/'s accounts, and what
 * happens when RAM is exhausted, are those of a real machine.  So does a page of the guard pool.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_ALIGN     (64 * MIB) /* an arena, so that those of the direct map align */
#define TABLE_BYTES   (512 * GIB) /* addresses for all tables: 46 bits of physical memory need less */
#define TABLE_REGIONS (TABLE_BYTES / ARCH_PAGE_BYTES)

uintptr_t hosted_ram_base;

static size_t ram_bytes;    /* [C] while started */
static char *tables;        /* [C] TABLE_BYTES of addresses */
static size_t tables_used;  /* [boot CPU] bytes reserved, from the start */
static char *guards;        /* [C] ARCH_GUARD_BYTES of addresses */
static uint8_t *table_bits; /* per page of tables: committed.  [caller of arch_table_commit] */

static char *memory_map(size_t bytes, int rights)
{
    void *addr = mmap(NULL, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (addr != MAP_FAILED)
        return addr;
    fprintf(stderr, "hosted_start: no %zu MiB of address space\n", bytes / MIB);
    return NULL;
}

static bool memory_map_ram(size_t bytes)
{
    char *low = memory_map(bytes + RAM_ALIGN, PROT_READ | PROT_WRITE);

    if (low == NULL)
        return false;

    char *base = (char *)ALIGN_UP((uintptr_t)low, RAM_ALIGN);
    size_t lead = (size_t)(base - low);

    if (lead != 0)
        munmap(low, lead);
    if (lead != RAM_ALIGN)
        munmap(base + bytes, RAM_ALIGN - lead);
    hosted_ram_base = (uintptr_t)base;
    ram_bytes = bytes;
    return true;
}

bool hosted_memory_map(size_t bytes)
{
    tables = memory_map(TABLE_BYTES, PROT_READ);
    table_bits = (uint8_t *)memory_map(TABLE_REGIONS / 8, PROT_READ | PROT_WRITE);
    guards = memory_map(ARCH_GUARD_BYTES, PROT_NONE);
    if (tables != NULL && table_bits != NULL && guards != NULL && memory_map_ram(bytes))
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
