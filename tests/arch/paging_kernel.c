/* The kernel's page tables: what is mapped with which rights; reserved tables. */
#include "arch/x86_64/paging.h"
#include <stdatomic.h>
#include "arch/x86_64/image.h"
#include "arch/x86_64/stacks.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/slab/guard.h"
#include "tests/test.h"

#define RIGHTS (PTE_WRITE | PTE_NX)

/* Are all pages of [start, end) mapped with just these rights? */
static bool paging_has_rights(uintptr_t start, uintptr_t end, uint64_t rights)
{
    for (uintptr_t addr = start; addr < end; addr += ARCH_PAGE_BYTES) {
        unsigned level;
        uint64_t entry = paging_lookup(addr, &level);

        if ((entry & PTE_PRESENT) == 0 || (entry & RIGHTS) != rights)
            return false;
    }
    return start < end;
}

static bool paging_is_unmapped(uintptr_t start, uintptr_t end)
{
    for (uintptr_t addr = start; addr < end; addr += ARCH_PAGE_BYTES) {
        unsigned level;

        if (paging_lookup(addr, &level) != 0)
            return false;
    }
    return true;
}

static uintptr_t paging_direct_alias(const char *image_addr)
{
    return (uintptr_t)direct_pointer(image_physical(image_addr));
}

TEST(paging, image_is_never_writable_and_executable)
{
    EXPECT(t, paging_has_rights((uintptr_t)__text_start, (uintptr_t)__text_end, 0));
    EXPECT(t, paging_has_rights((uintptr_t)__rodata_start, (uintptr_t)__rodata_end, PTE_NX));
    EXPECT(t, paging_has_rights((uintptr_t)__data_start, (uintptr_t)boot_stacks, RIGHTS));
    EXPECT(t, paging_has_rights((uintptr_t)__names_start, (uintptr_t)__names_end, PTE_NX));
}

TEST(paging, direct_map_cannot_write_the_images_read_only_parts)
{
    EXPECT(t, paging_has_rights(paging_direct_alias(__text_start),
                                paging_direct_alias(__rodata_end), PTE_NX));
    EXPECT(t, paging_has_rights(paging_direct_alias(__names_start),
                                paging_direct_alias(__names_end), PTE_NX));
    EXPECT(t, paging_has_rights(paging_direct_alias(__data_start), paging_direct_alias(__boot_end),
                                RIGHTS));
}

TEST(paging, nothing_is_mapped_in_the_lower_half)
{
    for (unsigned i = 0; i < PAGE_TABLE_ENTRIES / 2; i++)
        EXPECT(t, paging_root[i] == 0);
}

TEST(paging, start_up_code_is_released)
{
    EXPECT(t, paging_is_unmapped((uintptr_t)__boot_start, (uintptr_t)__boot_end));
}

TEST(paging, every_stack_has_a_guard)
{
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++) {
        for (enum stack_kind kind = 0; kind < STACK_KINDS; kind++) {
            struct stack_place place;
            uintptr_t bottom, top;

            stack_bounds(cpu, kind, &bottom, &top);
            EXPECT(t, paging_has_rights(bottom, top, RIGHTS));
            EXPECT(t, paging_is_unmapped(bottom - ARCH_PAGE_BYTES, bottom));
            EXPECT(t, stack_find(bottom - 1, &place) && place.is_guard && place.kind == kind);
            EXPECT(t, stack_find(top - 1, &place) && !place.is_guard && place.cpu == cpu);
        }
    }
}

/* Pages of objects come and go, and what is between them never is there. */
TEST(paging, guard_pool_has_its_objects_only)
{
    size_t pages = 0;

    if (guard_stats().slots == 0) {
        test_skip(t, "the pool is off");
        return;
    }

    char *p = guard_alloc("test", NULL, ARCH_PAGE_BYTES, 1);

    REQUIRE(t, p != NULL);
    EXPECT(t, paging_has_rights((uintptr_t)p, (uintptr_t)p + ARCH_PAGE_BYTES, RIGHTS));
    EXPECT(t, paging_is_unmapped((uintptr_t)p - ARCH_PAGE_BYTES, (uintptr_t)p));
    EXPECT(t,
           paging_is_unmapped((uintptr_t)p + ARCH_PAGE_BYTES, (uintptr_t)p + 2 * ARCH_PAGE_BYTES));
    for (uintptr_t at = 0; at < ARCH_GUARD_BYTES; at += ARCH_PAGE_BYTES)
        pages += !paging_is_unmapped(guard_base + at, guard_base + at + ARCH_PAGE_BYTES);
    EXPECT(t, pages == guard_stats().live);
    guard_free("test", NULL, p);
    EXPECT(t, paging_is_unmapped((uintptr_t)p, (uintptr_t)p + ARCH_PAGE_BYTES));
}

/* The pool's last page is nobody's: what it was mapped to does not stay. */
TEST(paging, guard_page_is_forgotten_when_unmapped)
{
    volatile uint64_t *at = (uint64_t *)((char *)arch_guard_reserve() + ARCH_GUARD_BYTES) - 1;
    void *addr = (void *)ALIGN_DOWN((uintptr_t)at, ARCH_PAGE_BYTES);
    uint64_t *pages = page_alloc(2, 0);
    const size_t words = ARCH_PAGE_BYTES / sizeof(uint64_t);

    REQUIRE(t, pages != NULL);
    pages[words - 1] = 1;
    pages[2 * words - 1] = 2;
    EXPECT(t, arch_guard_map(addr, pages) && *at == 1);
    arch_guard_unmap(addr);
    EXPECT(t, arch_guard_map(addr, pages + words) && *at == 2);
    arch_guard_unmap(addr);
    EXPECT(t, paging_is_unmapped((uintptr_t)addr, (uintptr_t)addr + ARCH_PAGE_BYTES));
    page_free(pages, 2);
}

/* Pages for tables: never given back, so not from the page heap. */
#define POOL_PAGES 32

static char pool[POOL_PAGES][ARCH_PAGE_BYTES] __attribute__((aligned(4096)));
static unsigned pool_used, pool_limit;

static void *pool_take(void)
{
    return pool_used < pool_limit ? direct_pointer(image_physical(pool[pool_used++])) : NULL;
}

/* A page of zeroes of its own for each run: what is committed stays so. */
static volatile uint64_t *pool_reserve(unsigned pages)
{
    memset(pool, 0, sizeof(pool));
    pool_used = 0;
    pool_limit = POOL_PAGES;
    return arch_table_reserve(pages * ARCH_PAGE_BYTES);
}

/* The pages that earlier tables took are in use: each test takes its own part once per boot. */
static bool pool_is_open(struct test *t)
{
    static bool was_opened;

    if (was_opened)
        test_skip(t, "its pages are in use since its first run");
    return !was_opened && (was_opened = true);
}

struct table_read {
    const volatile uint64_t *word;
    uint64_t expected;
    _Atomic unsigned wrong; /* relaxed; cpu_call_all waits */
};

static void table_check(void *arg)
{
    struct table_read *read = arg;

    if (*read->word != read->expected)
        atomic_fetch_add_explicit(&read->wrong, 1, memory_order_relaxed);
}

TEST(paging, committed_table_is_seen_by_every_cpu)
{
    const size_t words = ARCH_PAGE_BYTES / sizeof(uint64_t);

    if (!pool_is_open(t))
        return;

    volatile uint64_t *table = pool_reserve(4);
    REQUIRE(t, table != NULL);

    /* No memory at first: nothing changes but tables, and all reads as zero. */
    bool is_backed = false;
    for (pool_limit = 0; !is_backed && pool_limit < POOL_PAGES; pool_limit++)
        is_backed = arch_table_commit((void *)(table + words), ARCH_PAGE_BYTES, pool_take);
    EXPECT(t, is_backed);
    for (size_t i = 0; i < 4 * words; i++)
        EXPECT(t, table[i] == 0);

    /* Every CPU has the zero page cached for the third page when it is committed. */
    struct table_read read = {.word = table + 2 * words, .expected = 0};
    cpu_call_all(table_check, &read);
    pool_limit = POOL_PAGES;
    EXPECT(t, arch_table_commit((void *)(table + words), 2 * ARCH_PAGE_BYTES, pool_take));
    table[2 * words] = read.expected = 0x5eed;
    cpu_call_all(table_check, &read);
    EXPECT(t, read.wrong == 0);

    EXPECT(t, table[words - 1] == 0 && table[3 * words] == 0);
    EXPECT(t, paging_has_rights((uintptr_t)table, (uintptr_t)(table + words), PTE_NX));
    EXPECT(t,
           paging_has_rights((uintptr_t)(table + words), (uintptr_t)(table + 3 * words), RIGHTS));
}
