/* Zeroing ahead: what idle CPUs clear, how much, where, and at what cost. */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"
#include "tests/mm/page/hoard.h"
#include "tests/mm/page/private_heap.h"
#include "tests/mm/page/zero_pages.h"
#include "tests/test.h"

#define HELD_MAX 64u

/* Nothing that is free is known to be zero. */
static void forget_all(void)
{
    hoard_free(hoard_all_but(0));
    page_drain_all();
}

/* With only dirty pages free, what is cleared ahead is all that is known to be zero. */
TEST(page_zero, ahead_serves_one_page_and_many)
{
    char *run = page_alloc_aligned(64, 64, 0, 0);

    REQUIRE(t, run != NULL);
    if (zero_heap_of(run)->zero_limit < 64) {
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
    EXPECT(t, zero_is_zero(run, 64));

    uint64_t known = zero_count_of("zero_known"), cleared = zero_count_of("zero_cleared");
    char *one = page_alloc(1, PAGE_ZERO);
    char *many = page_alloc_aligned(4, 4, 0, PAGE_ZERO);

    REQUIRE(t, one != NULL && many != NULL);
    EXPECT(t, zero_count_of("zero_known") == known + 5 && zero_count_of("zero_cleared") == cleared);
    EXPECT(t, zero_is_zero(one, 1) && zero_is_zero(many, 4));

    memset(one, 1, PAGE_BYTES); /* comes back dirty, and is cleared when it goes out again */
    page_free(one, 1);
    page_free(many, 4);
    page_drain_all();

    char *all = page_alloc(64, PAGE_ZERO);

    REQUIRE(t, all == run);
    EXPECT(t, zero_count_of("zero_cleared") == cleared + 64 && zero_is_zero(all, 64));
    page_check();
    page_free(all, 64);
    hoard_free(hoard);
}

TEST(page_zero, ahead_keeps_to_its_share)
{
    size_t limit = page_heaps[port_cpu_node(port_cpu_id())].zero_limit, pages = limit + 100;
    char *run = limit < page_free_count() / 4 ? page_alloc(pages, 0) : NULL;

    if (limit == 0 || run == NULL || zero_heap_of(run)->zero_limit != limit) {
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
    EXPECT(t, !zero_ahead());
    zero_all_ahead(); /* no more by asking again */
    EXPECT(t, zero_count() == limit);

    size_t zero = 0;

    for (size_t i = 0; i < pages; i++)
        zero += zero_is_zero(run + i * PAGE_BYTES, 1);
    EXPECT(t, zero == limit);
    page_check();
    hoard_free(hoard);
}

/* Ordinary requests fill the first whole chunk; PAGE_ZERO has the next. */
TEST(page_zero, ahead_keeps_out_of_the_way)
{
    size_t limit = page_heaps[port_cpu_node(port_cpu_id())].zero_limit;
    size_t pages = (limit / CHUNK_PAGES + 3) * CHUNK_PAGES;
    char *run = page_alloc_aligned(pages, CHUNK_PAGES, 0, 0);

    if (run == NULL || limit < HELD_MAX || page_debug_is_on() || !zero_is_near(run) ||
        zero_number_of(run) < PAGE_DMA_PAGES) {
        test_skip(t,
                  "zeroahead= is small or large, the memory far or low, or there are no windows");
        page_free(run, pages);
        return;
    }
    memset(run, 0x5a, pages * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);

    page_free(run, pages);
    zero_all_ahead();
    EXPECT(t, zero_count() == limit && zero_is_zero(run + CHUNK_BYTES, limit));

    uint64_t known = zero_count_of("zero_known"), cleared = zero_count_of("zero_cleared");
    void *ordinary[HELD_MAX], *zero[HELD_MAX];

    for (size_t i = 0; i < HELD_MAX; i++) {
        ordinary[i] = page_alloc(1, 0);
        zero[i] = page_alloc(1, PAGE_ZERO);
        EXPECT(t, zero_number_of(ordinary[i]) - zero_number_of(run) < CHUNK_PAGES);
        EXPECT(t, zero_number_of(zero[i]) - zero_number_of(run) - CHUNK_PAGES < limit);
    }
    EXPECT(t, zero_count_of("zero_known") == known + HELD_MAX &&
                  zero_count_of("zero_cleared") == cleared);
    EXPECT(t, zero_count() == limit - HELD_MAX);
    page_check();
    for (size_t i = 0; i < HELD_MAX; i++) {
        page_free(ordinary[i], 1);
        page_free(zero[i], 1);
    }
    hoard_free(hoard);
}

/* Above the devices' part, which is all of the lowest memory where there is more than 4 GiB. */
TEST(page_zero, ahead_is_where_requests_are_served)
{
    struct page_heap *heap = &page_heaps[port_cpu_node(port_cpu_id())];
    void *held[HELD_MAX];

    if (heap->zero_limit < HELD_MAX) {
        test_skip(t, "zeroahead= allows less than the test needs");
        return;
    }
    forget_all();
    EXPECT(t, zero_count() == 0);
    zero_all_ahead();
    for (size_t i = PAGE_DMA_PAGES / PAGE_BLOCK_PAGES;
         i < heap->reserve.device_end / PAGE_BLOCK_PAGES; i++)
        EXPECT(t, page_block_zero(&heap->blocks[i]) == 0);

    uint64_t known = zero_count_of("zero_known"), cleared = zero_count_of("zero_cleared");

    for (size_t i = 0; i < HELD_MAX; i++) {
        held[i] = page_alloc(1, PAGE_ZERO);
        EXPECT(t, zero_is_zero(held[i], 1));
    }
    EXPECT(t, zero_count_of("zero_known") == known + HELD_MAX &&
                  zero_count_of("zero_cleared") == cleared);
    for (size_t i = 0; i < HELD_MAX; i++)
        page_free(held[i], 1);
}

/* No test is woken by time here: it waits until some idle CPU has done a page. */
TEST(page_zero, idle_cpus_do_it)
{
    char *run = page_alloc(64, 0);

    REQUIRE(t, run != NULL);
    if (zero_heap_of(run)->zero_limit < 64 || port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs, and zeroahead=");
        page_free(run, 64);
        return;
    }
    memset(run, 0x5a, 64 * PAGE_BYTES);

    struct hoard *hoard = hoard_all_but(0);
    uint64_t before = zero_count_of("zeroed_ahead");

    page_free(run, 64);
    page_drain_all();
    cpu_idle_release();
    while (zero_count_of("zeroed_ahead") < before + 64)
        arch_relax();
    cpu_idle_hold();
    EXPECT(t, zero_count() == 64);
    page_check();
    hoard_free(hoard);
}

/* ---- What a look costs ---- */

static uint64_t lock_count(void)
{
    uint64_t count = page_stats().heap_locks;

    return count - port_node_count(); /* less those for the question */
}

/* When all has been seen, nothing is looked at until something is freed, and no lock taken. */
TEST(page_zero, ahead_rests_when_there_is_nothing_to_do)
{
    char *run = page_alloc(64, 0);

    REQUIRE(t, run != NULL);
    if (zero_heap_of(run)->zero_limit < 66) {
        test_skip(t, "zeroahead= allows less than the test needs");
        page_free(run, 64);
        return;
    }

    void *other = page_alloc(1, 0);
    struct hoard *hoard = hoard_all_but(0);

    page_free(run, 64);
    page_drain_all();
    zero_all_ahead();
    EXPECT(t, zero_count() == 64);

    uint64_t locks = lock_count();

    for (unsigned i = 0; i < 100; i++)
        EXPECT(t, !zero_ahead());
    EXPECT(t, lock_count() == locks + port_node_count());
    page_free(other, 1);
    page_drain_all();
    zero_all_ahead();
    EXPECT(t, zero_count() == 65);
    hoard_free(hoard);
}

#define LOOK_CHUNKS 2048u /* of a private heap of 4 GiB; its pages do not exist */

static size_t calls_until_seen(struct page_heap *heap)
{
    size_t calls = 0;

    heap->zero_limit = SIZE_MAX;
    for (; heap->zero_pass.news != PAGE_ZERO_SEEN; calls++)
        CHECK(!page_zero_ahead(heap));
    return calls;
}

/* Each call looks at a bounded part, and at nothing that the tree says is not free. */
TEST(page_zero, ahead_looks_at_little_at_a_time)
{
    struct private_heap private;
    struct page_heap *heap = &private.heap;
    size_t limit = LOOK_CHUNKS * CHUNK_PAGES;

    REQUIRE(t, private_heap_create(&private, limit));
    private_heap_add(&private, 0, limit);

    unsigned long irq_state = page_heap_lock(heap);

    page_zero_note(heap, 0, limit / 2);
    for (size_t i = limit / 2 / PAGE_BLOCK_PAGES; i < limit / PAGE_BLOCK_PAGES; i++)
        page_block_scavenge(heap, &heap->blocks[i],
                            ~0ull); /* the host's: nothing to clear either */
    page_heap_unlock(heap, irq_state);

    size_t calls = calls_until_seen(heap);

    EXPECT(t, calls >= LOOK_CHUNKS / 64 && calls <= LOOK_CHUNKS / 8);

    /* All but one page is taken. */
    EXPECT(t, private_heap_alloc(&private, limit - PAGE_DMA_PAGES, 1, PAGE_NONE) != PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, PAGE_DMA_PAGES - 1, 1, PAGE_NONE) != PAGE_NONE);
    heap->zero_pass.news = PAGE_ZERO_NEWS;
    EXPECT(t, calls_until_seen(heap) <= 2);
    private_heap_destroy(&private);
}
