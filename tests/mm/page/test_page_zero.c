/* Zero pages: what PAGE_ZERO gives, where known-zero pages come from and go, and how many. */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/stat.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define HELD_MAX 64u

static bool is_zero(const void *run, size_t pages)
{
    const uint64_t *words = run;

    for (size_t i = 0; i < pages * PAGE_BYTES / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

static uint64_t count_of(const char *name)
{
    return stat_read(stat_find("page", name));
}

static struct page_heap *heap_of(const void *run)
{
    return page_heap_of(((uintptr_t)run - port_direct_base()) / PAGE_BYTES);
}

static size_t zero_count(void)
{
    return page_stats().zero_pages;
}

static bool zero_ahead(void)
{
    bool has_more = false;

    for (unsigned node = 0; node < port_node_count(); node++)
        has_more |= page_zero_ahead(&page_heaps[node]);
    return has_more;
}

/* Zero ahead until there is no more to do; twice, as the first pass may begin in the middle. */
static void zero_all_ahead(void)
{
    for (unsigned pass = 0; pass < 2; pass++)
        while (zero_ahead())
            continue;
}

/* Runs of all kinds, dirtied before each free, with idle work in between. */
TEST(page_zero, is_zero_whatever_was_there)
{
    static struct {
        void *run;
        size_t pages;
    } held[HELD_MAX];
    size_t count = 0;
    uint64_t state = test_seed(t);

    for (unsigned i = 0; i < 4000; i++) {
        uint64_t dice = test_random(&state);

        if (count < HELD_MAX && dice % 2 == 0) {
            size_t pages = 1 + (dice >> 8) % (dice >> 4 & 7 ? 4 : 100);
            size_t align = 1ul << (dice >> 16) % 8;
            unsigned flags = dice >> 24 & 1 ? PAGE_ZERO : 0;
            uintptr_t limit = (dice >> 32) % 16 == 0 ? MM_DMA_BYTES : 0;
            void *run = page_alloc_aligned(pages, align, limit, flags);

            REQUIRE(t, run != NULL || limit != 0);
            if (run == NULL)
                continue;
            EXPECT(t, flags == 0 || is_zero(run, pages));
            memset(run, 0x5a, pages * PAGE_BYTES);
            held[count].run = run;
            held[count++].pages = pages;
        } else if (count > 0) {
            size_t pick = (dice >> 8) % count;

            page_free(held[pick].run, held[pick].pages);
            held[pick] = held[--count];
        }
        if (dice >> 40 & 1)
            zero_ahead();
        if ((dice >> 48) % 64 == 0)
            page_drain_all();
    }
    while (count-- > 0)
        page_free(held[count].run, held[count].pages);
    page_check();
}

/* With only dirty pages free, what is cleared ahead is all that is known to be zero. */
TEST(page_zero, ahead_serves_one_page_and_many)
{
    char *run = page_alloc_aligned(64, 64, 0, 0);

    REQUIRE(t, run != NULL);
    if (heap_of(run)->zero_limit < 64) {
        test_skip(t, "zeroahead= allows less than the test needs");
        page_free(run, 64);
        return;
    }
    memset(run, 0x5a, 64 * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);

    page_free(run, 64);
    page_drain_all();
    EXPECT(t, zero_count() == 0);
    zero_all_ahead();
    EXPECT(t, zero_count() == 64);
    EXPECT(t, is_zero(run, 64));

    uint64_t known = count_of("zero_known"), cleared = count_of("zero_cleared");
    char *one = page_alloc(1, PAGE_ZERO);
    char *many = page_alloc_aligned(4, 4, 0, PAGE_ZERO);

    REQUIRE(t, one != NULL && many != NULL);
    EXPECT(t, count_of("zero_known") == known + 5 && count_of("zero_cleared") == cleared);
    EXPECT(t, is_zero(one, 1) && is_zero(many, 4));

    memset(one, 1, PAGE_BYTES); /* comes back dirty, and is cleared when it goes out again */
    page_free(one, 1);
    page_free(many, 4);
    page_drain_all();

    char *all = page_alloc(64, PAGE_ZERO);

    REQUIRE(t, all == run);
    EXPECT(t, count_of("zero_cleared") == cleared + 64 && is_zero(all, 64));
    page_check();
    page_free(all, 64);
    hoard_free(hoard);
}

/* A window's zero pages are kept for those who ask for them. */
TEST(page_zero, windows_keep_zero_pages)
{
    char *run = page_alloc_aligned(64, 64, 0, 0);

    REQUIRE(t, run != NULL);
    if (heap_of(run)->zero_limit < 64 || page_debug_is_on()) {
        test_skip(t, "no zero pages ahead, or no windows");
        page_free(run, 64);
        return;
    }
    memset(run, 0x5a, 64 * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);

    page_free(run, 64);
    page_drain_all();

    char *low = page_alloc(32, 0);

    zero_all_ahead();
    page_free(low, 32); /* dirty, in the same block */
    page_drain_all();
    EXPECT(t, low == run && zero_count() == 32);

    unsigned long irq_state = port_irq_save();
    char *dirty = page_alloc(1, 0); /* the lowest; fills the window */
    uint64_t known = count_of("zero_known");
    char *zero = page_alloc(2, PAGE_ZERO);

    port_irq_restore(irq_state);
    EXPECT(t, dirty == run && zero == run + 32 * PAGE_BYTES);
    EXPECT(t, count_of("zero_known") == known + 2);
    page_drain_all();
    EXPECT(t, zero_count() == 30);
    page_check();
    page_free(dirty, 1);
    page_free(zero, 2);
    hoard_free(hoard);
}

TEST(page_zero, ahead_keeps_to_its_share)
{
    size_t limit = page_heaps[port_cpu_node(port_cpu_id())].zero_limit, pages = limit + 100;
    char *run = limit < page_free_count() / 4 ? page_alloc(pages, 0) : NULL;

    if (limit == 0 || run == NULL || heap_of(run)->zero_limit != limit) {
        test_skip(t, "zeroahead= is 0, or all of memory");
        page_free(run, pages);
        return;
    }
    memset(run, 0x5a, pages * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);

    page_free(run, pages);
    page_drain_all();
    zero_all_ahead();
    EXPECT(t, zero_count() == limit);
    zero_all_ahead(); /* no more by asking again */
    EXPECT(t, zero_count() == limit);
    EXPECT(t, is_zero(run, limit) && !is_zero(run + limit * PAGE_BYTES, 1)); /* lowest first */
    page_check();
    hoard_free(hoard);
}

/* No test is woken by time here: it waits until some idle CPU has done a page. */
TEST(page_zero, idle_cpus_do_it)
{
    char *run = page_alloc(64, 0);

    REQUIRE(t, run != NULL);
    if (heap_of(run)->zero_limit < 64 || port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs, and zeroahead=");
        page_free(run, 64);
        return;
    }
    memset(run, 0x5a, 64 * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);
    uint64_t before = count_of("zeroed_ahead");

    page_free(run, 64);
    page_drain_all();
    cpu_idle_release();
    while (count_of("zeroed_ahead") < before + 64)
        arch_relax();
    cpu_idle_hold();
    EXPECT(t, zero_count() == 64);
    page_check();
    hoard_free(hoard);
}
