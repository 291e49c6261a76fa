/* Reserves: what is left for devices and for PAGE_RESERVE when ordinary requests have had all. */
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/fault.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/reserve.h"
#include "mm/page/zero.h"
#include "tests/kernel/capture.h"
#include "tests/mm/page/zero_pages.h"
#include "tests/test.h"

/* Runs in a chain through their first words. */
struct chain {
    struct chain *next;
    size_t pages;
};

static size_t chain_free(struct chain *chain)
{
    size_t pages = 0;

    while (chain != NULL) {
        struct chain *next = chain->next;

        pages += chain->pages;
        page_free(chain, chain->pages);
        chain = next;
    }
    return pages;
}

/* All that such requests get, in runs as long as there are; *pages: how much. */
static struct chain *take_all(uintptr_t limit, unsigned flags, size_t *pages)
{
    struct chain *chain = NULL;

    *pages = 0;
    for (size_t want = page_free_count(); want > 0;) {
        struct chain *run = page_alloc_aligned(want, 1, limit, flags);

        if (run == NULL) {
            want /= 2;
            continue;
        }
        *run = (struct chain){chain, want};
        chain = run;
        *pages += want;
    }
    return chain;
}

static bool is_below(const void *run, size_t pages, uintptr_t limit)
{
    return run != NULL && (uintptr_t)run + pages * PAGE_BYTES - port_direct_base() <= limit;
}

/* Of all nodes: PAGE_RESERVE's pages; chunks of the devices' part below 16 MiB. */
static size_t reserve_pages(void)
{
    size_t pages = 0;

    for (unsigned node = 0; node < port_node_count(); node++)
        pages += page_heaps[node].reserve.pages;
    return pages;
}

static size_t reserve_low_chunks(void)
{
    size_t chunks = 0;

    for (unsigned node = 0; node < port_node_count(); node++)
        chunks += page_heaps[node].reserve.low_end / CHUNK_PAGES;
    return chunks;
}

static void check_reserve(struct test *t, const struct page_heap *heap)
{
    const struct page_reserve *reserve = &heap->reserve;
    size_t device = reserve->device_end - PAGE_DMA_PAGES;

    EXPECT(t, IS_ALIGNED(reserve->low_end, CHUNK_PAGES) && IS_ALIGNED(device, CHUNK_PAGES));
    EXPECT(t, reserve->low_end <= PAGE_DMA_PAGES);
    EXPECT(t, reserve->device_end <= PAGE_DEVICE_BYTES / PAGE_BYTES);
    EXPECT(t, device == 0 || heap->page_limit > PAGE_DEVICE_BYTES / PAGE_BYTES);
}

TEST(page_reserve, sizes_make_sense)
{
    for (unsigned node = 0; node < port_node_count(); node++)
        check_reserve(t, &page_heaps[node]);
    if (port_setting_dmareserve() == PORT_SETTING_AUTO &&
        port_setting_reserve() == PORT_SETTING_AUTO)
        EXPECT(t, page_stats().reserved_pages <= page_stats().ram_pages / 16);
}

TEST(page_reserve, serves_when_the_rest_is_full)
{
    size_t all = page_free_count(), pages;
    struct chain *ordinary = take_all(0, 0, &pages);

    EXPECT(t, page_alloc(1, 0) == NULL && page_alloc(1, PAGE_ZERO) == NULL);
    EXPECT(t, page_free_count() == all - pages);
    EXPECT(t, page_free_count() == page_stats().reserved_pages);
    if (port_setting_dmareserve() != 0) {
        EXPECT(t, reserve_low_chunks() > 0);

        void *low = page_alloc_aligned(64, 16, MM_DMA_BYTES, 0);
        void *device = page_alloc_aligned(64, 1, PAGE_DEVICE_BYTES, PAGE_ZERO);

        EXPECT(t, is_below(low, 64, MM_DMA_BYTES) && is_below(device, 64, PAGE_DEVICE_BYTES));
        page_free(low, 64);
        page_free(device, 64);
    }
    if (reserve_pages() > 0) {
        void *reserved = page_alloc(1, PAGE_RESERVE);

        EXPECT(t, reserved != NULL && page_alloc(1, 0) == NULL);
        page_free(reserved, 1);
    }
    EXPECT(t, page_free_count() == all - pages);
    EXPECT(t, chain_free(ordinary) == pages);
    EXPECT(t, page_free_count() == all);
    page_check();
}

/* That a page is known to be zero gives who asks for PAGE_ZERO no claim to it. */
TEST(page_reserve, zero_pages_are_not_for_all)
{
    void *zero = page_alloc(1, PAGE_ZERO);
    struct page_heap *heap = zero_heap_of(zero);
    size_t number = zero_number_of(zero), pages;

    if (page_debug_is_on() || !zero_is_near(zero) || heap->reserve.pages == 0 ||
        number < heap->reserve.device_end) {
        test_skip(t, "no reserve, or no zero pages");
        page_free(zero, 1);
        return;
    }

    struct chain *ordinary = take_all(0, 0, &pages);
    void *reserved = page_alloc(1, PAGE_RESERVE); /* and that one is the reserve's in its place */

    EXPECT(t, reserved != NULL);
    page_free(zero, 1);
    page_drain_all();

    unsigned long irq_state = page_heap_lock(heap);

    page_zero_note(heap, number, 1);
    page_heap_unlock(heap, irq_state);
    EXPECT(t, page_alloc(1, PAGE_ZERO) == NULL);

    uint64_t known = zero_count_of("zero_known");

    zero = page_alloc(1, PAGE_ZERO | PAGE_RESERVE);
    EXPECT(t, zero != NULL && zero_count_of("zero_known") == known + 1);
    page_free(zero, 1);
    page_free(reserved, 1);
    chain_free(ordinary);
    page_check();
}

/* Each takes its own part to the last page, and no more. */
TEST(page_reserve, claims_do_not_mix)
{
    size_t ordinary_pages, device_pages, kept_pages;
    struct chain *ordinary = take_all(0, 0, &ordinary_pages);
    struct chain *device = take_all(PAGE_DEVICE_BYTES, 0, &device_pages);

    EXPECT(t, page_free_count() == reserve_pages());

    struct chain *reserve = take_all(0, PAGE_RESERVE, &kept_pages);

    EXPECT(t, kept_pages == reserve_pages() && page_free_count() == 0);
    EXPECT(t, page_alloc(1, PAGE_RESERVE) == NULL);
    EXPECT(t, page_alloc_aligned(1, 1, MM_DMA_BYTES, PAGE_RESERVE) == NULL);
    EXPECT(t, chain_free(device) == device_pages);

    /* What devices gave back is not for others. */
    EXPECT(t, page_alloc(1, 0) == NULL && page_alloc(1, PAGE_RESERVE) == NULL);
    chain_free(reserve);
    chain_free(ordinary);
    page_check();
}

/* What is said to be held back, while part of the devices' memory is in use. */
TEST(page_reserve, counts_what_devices_have_left)
{
    size_t reserved = page_stats().reserved_pages, lengths[] = {1, 63, 1, 512, 700};
    size_t taken = 0, holes = lengths[0] + lengths[2];
    void *runs[ARRAY_COUNT(lengths)];
    size_t pages;
    struct chain *ordinary = take_all(0, 0, &pages);

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        runs[i] = page_alloc_aligned(lengths[i], 1, MM_DMA_BYTES, 0);
        taken += runs[i] != NULL ? lengths[i] : 0;
        EXPECT(t, page_stats().reserved_pages == reserved - taken);
        EXPECT(t, page_free_count() == reserved - taken);
    }
    /* Two holes in one chunk: its longest run is not all that is free in it. */
    if (runs[2] != NULL) {
        page_free(runs[0], lengths[0]);
        page_free(runs[2], lengths[2]);
        runs[0] = runs[2] = NULL;
        page_drain_all();
        EXPECT(t, page_stats().reserved_pages == reserved - taken + holes);
    }
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        page_free(runs[i], lengths[i]);
    chain_free(ordinary);
    page_drain_all();
    EXPECT(t, page_stats().reserved_pages == reserved);
}

/* What dmareserve= and reserve= have come to; said: what was printed. */
static const char *reserve_with(uint64_t dmareserve, uint64_t reserve)
{
    uint64_t dmareserve_before = settings.dmareserve_bytes;
    uint64_t reserve_before = settings.reserve_bytes;

    page_drain_all();
    capture_begin();
    settings.dmareserve_bytes = dmareserve;
    settings.reserve_bytes = reserve;
    page_reserve_init();
    settings.dmareserve_bytes = dmareserve_before;
    settings.reserve_bytes = reserve_before;
    return capture_end();
}

TEST(page_reserve, settings_leave_most_of_memory)
{
    struct page_reserve before[PORT_NODE_MAX];
    size_t memory = page_nodes_memory();

    for (unsigned node = 0; node < port_node_count(); node++)
        before[node] = page_heaps[node].reserve;

    const char *said = reserve_with(16 * MIB, memory * PAGE_BYTES);

    EXPECT(t, strstr(said, " reserve=") != NULL);
    EXPECT(t, (strstr(said, "dmareserve=") != NULL) == (16 * MIB > memory * PAGE_BYTES / 4));
    EXPECT(t, reserve_pages() <= memory / 4);
    EXPECT(t, page_stats().reserved_pages <= memory / 2 + CHUNK_PAGES);

    void *page = page_alloc(1, 0);

    EXPECT(t, page != NULL);
    page_free(page, 1);
    said = reserve_with(0, memory * PAGE_BYTES / 5);
    EXPECT(t, strlen(said) == 0 && reserve_low_chunks() == 0);
    for (unsigned node = 0; node < port_node_count(); node++)
        page_heaps[node].reserve = before[node];
}

/* The windows of CPUs do not eat into it either: page by page as run by run. */
TEST(page_reserve, single_pages_stop_where_runs_do)
{
    size_t all = page_free_count(), pages, count = 0;
    struct chain *ordinary = take_all(0, 0, &pages), *last = ordinary;

    REQUIRE(t, ordinary != NULL);
    ordinary = last->next;
    page_free(last, last->pages);
    for (last = NULL;; count++) {
        struct chain *page = page_alloc(1, 0);

        if (page == NULL)
            break;
        *page = (struct chain){last, 1};
        last = page;
    }
    EXPECT(t, page_free_count() == all - pages);
    chain_free(last);
    chain_free(ordinary);
    EXPECT(t, count > 0 && page_free_count() == all);
}

TEST(page_reserve, every_acquisition_can_fail)
{
    static const struct {
        size_t align;
        uintptr_t limit;
        unsigned flags;
    } requests[] = {{1, 0, PAGE_RESERVE},
                    {1, MM_DMA_BYTES, 0},
                    {1, PAGE_DEVICE_BYTES, PAGE_ZERO},
                    {4, 0, 0},
                    {256, 0, PAGE_ZERO}};

    for (size_t i = 0; i < ARRAY_COUNT(requests); i++)
        for (unsigned nth = 1; nth <= 2; nth++) {
            size_t before = page_free_count();

            fault_fail_nth(nth);
            void *run =
                page_alloc_aligned(3, requests[i].align, requests[i].limit, requests[i].flags);
            bool has_fired = fault_disarm();

            EXPECT(t, has_fired == (nth == 1) && (run == NULL) == has_fired);
            page_free(run, 3);
            EXPECT(t, page_free_count() == before);
        }
}

/* A CPU keeps the last chunk that it has freed: not one of devices. */
TEST(page_reserve, a_kept_chunk_is_not_devices)
{
    size_t pages;
    struct chain *ordinary = take_all(0, 0, &pages);
    void *device = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, MM_DMA_BYTES, 0);

    if (device != NULL) {
        page_free(device, CHUNK_PAGES);
        EXPECT(t, page_alloc(CHUNK_PAGES, 0) == NULL);
    } else {
        test_skip(t, "no chunk is devices'");
    }
    chain_free(ordinary);
    page_check();
}

/* Nor does an ordinary request get it when all that is left is PAGE_RESERVE's. */
TEST(page_reserve, a_kept_chunk_is_not_for_all)
{
    void *chunk = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    if (chunk == NULL) {
        test_skip(t, "no chunk is free");
        return;
    }

    struct page_heap *heap = page_heap_of(((uintptr_t)chunk - port_direct_base()) / PAGE_BYTES);
    size_t reserve_before = heap->reserve.pages;
    unsigned long irq_state = port_irq_save();

    page_free(chunk, CHUNK_PAGES); /* kept, if it is this node's */
    heap->reserve.pages = heap->present_pages;

    void *run = page_alloc(CHUNK_PAGES, 0);

    heap->reserve.pages = reserve_before;
    port_irq_restore(irq_state);
    EXPECT(t, run != chunk);
    page_free(run, CHUNK_PAGES);
    page_check();
}

/* Which pages a run may grow by, on a machine that keeps memory at both places for devices. */
TEST(page_reserve, runs_do_not_grow_into_devices)
{
    static struct page_heap heap;
    size_t low = CHUNK_PAGES, high = PAGE_DMA_PAGES + CHUNK_PAGES;

    heap.reserve = (struct page_reserve){.low_end = low, .device_end = high};
    EXPECT(t, !page_reserve_is_ordinary(&heap, low - 1, low + 1));
    EXPECT(t, page_reserve_is_ordinary(&heap, low, PAGE_DMA_PAGES));
    EXPECT(t, !page_reserve_is_ordinary(&heap, PAGE_DMA_PAGES - 1, PAGE_DMA_PAGES + 1));
    EXPECT(t, !page_reserve_is_ordinary(&heap, PAGE_DMA_PAGES, PAGE_DMA_PAGES + 1));
    EXPECT(t, !page_reserve_is_ordinary(&heap, high - 1, high + 1));
    EXPECT(t, page_reserve_is_ordinary(&heap, high, high + 1));
    heap.reserve.device_end = PAGE_DMA_PAGES; /* nothing is kept there */
    EXPECT(t, page_reserve_is_ordinary(&heap, PAGE_DMA_PAGES - 1, PAGE_DMA_PAGES + 1));
}
