/*
 * Reserved ranges that read as zero: arch_table_reserve, arch_table_commit.
 *
 * Idea: one page of zeroes, mapped read-only by one page table, 512 times over; that table is
 * pointed to 512 times by one directory, and so on up.  A reserved range of any size costs nothing
 * but entries in the root:
 *
 *      root -> shared level 2 -> shared level 1 -> shared level 0 -> the zero page
 *
 * Committing a page unshares the tables on its way: a fresh page takes the shared table's contents
 * and its place.  A page is uncommitted as long as its entry points to the zero page.
 *
 * A CPU may have the zero page cached for an address that is committed now: commit ends with a TLB
 * flush on all CPUs (tlb.c); who backs many ranges flushes once.
 *
 * Source: Linux's KASAN early shadow, which shares its zero page this way.
 */
#include "arch/arch.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tlb.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"

#define REGION_BASE 0xffffc00000000000ull
#define REGION_END  0xffffd00000000000ull
#define TABLE_BITS  (PTE_PRESENT | PTE_WRITE)
#define ZERO_BITS   (PTE_PRESENT | PTE_NX)

static page_table zero_shared[LEVEL_ROOT]; /* [0] maps the zero page; constant once filled */
static const char zero_page[ARCH_PAGE_BYTES] __attribute__((aligned(4096)));
static uintptr_t region_next = REGION_BASE; /* boot CPU only */

static uint64_t zero_entry(unsigned level)
{
    return level == 0 ? image_physical(zero_page) | ZERO_BITS
                      : image_physical(zero_shared[level - 1]) | TABLE_BITS;
}

/* Is this entry of `level` still the shared one?  (The CPU sets bits of its own in it.) */
static bool is_shared(uint64_t entry, unsigned level)
{
    return ((entry ^ zero_entry(level)) & PTE_ADDRESS) == 0;
}

static void zero_shared_fill(void)
{
    for (unsigned level = 0; level < LEVEL_ROOT; level++)
        for (unsigned i = 0; i < PAGE_TABLE_ENTRIES; i++)
            zero_shared[level][i] = zero_entry(level);
}

void *arch_table_reserve(size_t bytes)
{
    if (region_next == REGION_BASE)
        zero_shared_fill();
    bytes = ALIGN_UP(bytes, ARCH_PAGE_BYTES);
    if (bytes == 0 || bytes > REGION_END - region_next)
        return NULL;

    uintptr_t start = region_next;

    region_next += bytes;
    for (uintptr_t addr = start; addr < region_next;
         addr = ALIGN_DOWN(addr, LEVEL_BYTES(LEVEL_ROOT)) + LEVEL_BYTES(LEVEL_ROOT)) {
        uint64_t *entry = &paging_root[paging_index(addr, LEVEL_ROOT)];

        if (*entry == 0)
            *entry = zero_entry(LEVEL_ROOT);
    }
    return (void *)start;
}

static bool zero_page_commit(uintptr_t addr, void *(*take_page)(void))
{
    uint64_t *entry = &paging_root[paging_index(addr, LEVEL_ROOT)];

    for (unsigned level = LEVEL_ROOT; level > 0; level--) {
        if (is_shared(*entry, level)) {
            void *table = take_page();

            if (table == NULL)
                return false;
            memcpy(table, zero_shared[level - 1], ARCH_PAGE_BYTES);
            *entry = direct_physical((uintptr_t)table) | TABLE_BITS;
        }
        entry = &paging_table_at(*entry)[paging_index(addr, level - 1)];
    }
    if (!is_shared(*entry, 0))
        return true;

    void *page = take_page();
    if (page == NULL)
        return false;
    *entry = direct_physical((uintptr_t)page) | PTE_PRESENT | PTE_WRITE | PTE_NX;
    return true;
}

bool arch_table_back(void *addr, size_t bytes, void *(*take_page)(void))
{
    uintptr_t start = (uintptr_t)addr, at = start;

    CHECK(IS_ALIGNED(start, ARCH_PAGE_BYTES) && IS_ALIGNED(bytes, ARCH_PAGE_BYTES));
    CHECK(start >= REGION_BASE && start <= region_next && bytes <= region_next - start);

    while (at < start + bytes && zero_page_commit(at, take_page))
        at += ARCH_PAGE_BYTES;
    return at == start + bytes;
}

void arch_table_flush(void)
{
    tlb_flush_all();
}

bool arch_table_commit(void *addr, size_t bytes, void *(*take_page)(void))
{
    bool is_backed = arch_table_back(addr, bytes, take_page);

    arch_table_flush();
    return is_backed;
}
