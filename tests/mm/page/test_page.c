/* page_alloc and page_free as their users see them. */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/page/page_heap.h"
#include "mm/port.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define HELD_MAX     600u
#define SCARCE_PAGES 300u

TEST(page, alloc_refuses_what_makes_no_sense)
{
    EXPECT(t, page_alloc(0, 0) == NULL);
    EXPECT(t, page_alloc(PAGE_RUN_MAX + 1, 0) == NULL);
    EXPECT(t, page_alloc(SIZE_MAX, PAGE_ZERO) == NULL);
    EXPECT(t, page_alloc(page_free_count() + 1, 0) == NULL);
    EXPECT(t, page_alloc_aligned(1, 0, 0, 0) == NULL);
    EXPECT(t, page_alloc_aligned(1, 3, 0, 0) == NULL);
    EXPECT(t, page_alloc_aligned(1, 1, 1, 0) == NULL);
    page_free(NULL, 1);
}

TEST(page, zeroed_pages_are_zero)
{
    static const size_t lengths[] = {1, 2, 15, 16, 100};

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        size_t bytes = lengths[i] * PAGE_BYTES;
        char *run = page_alloc(lengths[i], 0);

        REQUIRE(t, run != NULL);
        memset(run, 0xa5, bytes);
        page_free(run, lengths[i]);
        run = page_alloc(lengths[i], PAGE_ZERO);
        REQUIRE(t, run != NULL);
        for (size_t byte = 0; byte < bytes; byte++)
            REQUIRE(t, run[byte] == 0);
        page_free(run, lengths[i]);
    }
}

TEST(page, runs_are_aligned_and_below_their_limit)
{
    for (size_t align = 1; align <= 1024; align *= 2)
        for (size_t pages = 1; pages <= 64; pages *= 2) {
            uintptr_t limit = pages * align <= 512 ? MM_DMA_BYTES : UINTPTR_MAX;
            char *run = page_alloc_aligned(pages, align, 0, 0);
            char *low = page_alloc_aligned(pages, align, limit, 0);

            REQUIRE(t, run != NULL && low != NULL);
            EXPECT(t, IS_ALIGNED((uintptr_t)run - port_direct_base(), align * PAGE_BYTES));
            EXPECT(t, IS_ALIGNED((uintptr_t)low - port_direct_base(), align * PAGE_BYTES));
            EXPECT(t, (uintptr_t)low + pages * PAGE_BYTES - port_direct_base() <= limit);
            page_free(run, pages);
            page_free(low, pages);
        }
}

/* Every run carries its index in each of its pages: overlap or loss shows when it is freed. */
TEST(page, runs_do_not_overlap)
{
    static struct {
        uint64_t *run;
        size_t pages;
    } held[HELD_MAX];
    size_t count = 0;
    uint64_t state = test_seed(t);
    size_t free_before = page_free_count(), held_pages = 0;

    for (unsigned i = 0; i < 20000; i++) {
        if (count < HELD_MAX && (count == 0 || random_next(&state) % 9 < 5)) {
            size_t pages = 1 + random_next(&state) % (random_next(&state) % 8 ? 15 : 80);
            size_t align = 1ul << random_next(&state) % 4;
            uint64_t *run = page_alloc_aligned(pages, align, 0, 0);

            REQUIRE(t, run != NULL);
            for (size_t page = 0; page < pages; page++)
                run[page * PAGE_BYTES / sizeof(*run)] = (uintptr_t)run;
            held[count].run = run;
            held[count++].pages = pages;
            held_pages += pages;
        } else {
            size_t pick = random_next(&state) % count;
            uint64_t *run = held[pick].run;

            for (size_t page = 0; page < held[pick].pages; page++)
                REQUIRE(t, run[page * PAGE_BYTES / sizeof(*run)] == (uintptr_t)run);
            page_free(run, held[pick].pages);
            held_pages -= held[pick].pages;
            held[pick] = held[--count];
        }
        EXPECT(t, page_free_count() + held_pages == free_before);
    }
    while (count-- > 0)
        page_free(held[count].run, held[count].pages);
}

TEST(page, windows_count_as_free_and_drain)
{
    void *pages[PAGE_BLOCK_PAGES];
    size_t count = 0, free_before = page_free_count();

    /* The first free block may have too few pages to be worth it. */
    do
        REQUIRE(t, (pages[count++] = page_alloc(1, 0)) != NULL);
    while (count < ARRAY_COUNT(pages) && page_stats().window_pages == 0);
    EXPECT(t, page_stats().window_pages > 0);
    EXPECT(t, page_free_count() == free_before - count);
    page_drain_all();
    EXPECT(t, page_stats().window_pages == 0);
    EXPECT(t, page_free_count() == free_before - count);
    while (count > 0)
        page_free(pages[--count], 1);
    EXPECT(t, page_free_count() == free_before);
    page_check();
}

/* A hit takes no lock, neither for the allocation nor for the free. */
TEST(page, window_hits_take_no_lock)
{
    unsigned long irq_state = port_irq_save();

    for (unsigned i = 0; i < 4; i++) /* of one block, which is the window at last */
        page_free(page_alloc_aligned(15, 16, 0, 0), 15);

    uint64_t locks = page_stats().heap_locks;

    for (size_t pages = 1; pages <= 8; pages++)
        page_free(page_alloc(pages, 0), pages);
    EXPECT(t, page_stats().heap_locks == locks + port_node_count()); /* page_stats' own */
    port_irq_restore(irq_state);
}

/* ---- Windows of other CPUs, and exhaustion ---- */

static void fill_window(void *unused)
{
    (void)unused;
    page_free(page_alloc(1, 0), 1);
}

/* Every CPU's window holds pages when memory runs out: they are handed out too. */
TEST(page, exhaustion_gives_null_and_changes_nothing)
{
    static void *last[SCARCE_PAGES];
    size_t count = 0, all = page_free_count();
    struct hoard *hoard = hoard_all_but(SCARCE_PAGES);

    cpu_run_all(port_cpu_count(), fill_window, NULL);
    EXPECT(t, page_stats().window_pages > 0);
    while (count < SCARCE_PAGES && (last[count] = page_alloc(1, 0)) != NULL)
        count++;
    EXPECT(t, count == SCARCE_PAGES);
    EXPECT(t, page_free_count() == 0);
    EXPECT(t, page_alloc(1, 0) == NULL && page_alloc(16, 0) == NULL);
    while (count > 0)
        page_free(last[--count], 1);
    hoard_free(hoard);
    page_drain_all();
    page_check();
    EXPECT(t, page_free_count() == all);
}

/* The last free page is in this CPU's window, which a request with a limit does not look at. */
TEST(page, own_window_serves_what_goes_to_the_heap)
{
    void *last = page_alloc(1, 0);
    struct hoard *hoard = hoard_all_but(0);

    REQUIRE(t, last != NULL);
    page_free(last, 1);
    EXPECT(t, page_alloc(1, 0) == last);
    page_free(last, 1);
    EXPECT(t, page_stats().window_pages == 1);

    unsigned long irq_state = port_irq_save();
    void *page = page_alloc_aligned(1, 1, MM_PHYS_BYTES, 0);

    port_irq_restore(irq_state);
    EXPECT(t, page == last);
    page_free(page, 1);
    hoard_free(hoard);
}

struct handover {
    char *page;  /* in the window of CPU 0 */
    void *again; /* what CPU 1 got after it had freed it */
};

static void free_and_alloc_on_cpu_1(void *arg)
{
    struct handover *handover = arg;

    if (port_cpu_id() != 1)
        return;
    page_free(handover->page, 1);
    handover->again = page_alloc(1, 0);
}

/* What CPU 1 frees of CPU 0's window is CPU 0's to hand out, once it has given the window back. */
TEST(page, a_block_is_in_one_window_at_most)
{
    struct handover handover = {NULL, NULL};
    size_t all = page_free_count();

    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    page_drain_all();
    handover.page = page_alloc(1, 0);
    REQUIRE(t, handover.page != NULL);
    cpu_run_all(2, free_and_alloc_on_cpu_1, &handover);
    REQUIRE(t, handover.again != NULL);

    size_t block_bytes = PAGE_BLOCK_PAGES * PAGE_BYTES;

    EXPECT(t, (uintptr_t)handover.again / block_bytes != (uintptr_t)handover.page / block_bytes);
    EXPECT(t, page_free_count() == all - 1);
    page_check();
    page_drain_all();
    page_check();
    EXPECT(t, page_alloc(1, 0) == handover.page);
    page_free(handover.page, 1);
    page_free(handover.again, 1);
    page_check();
}

TEST(page, every_acquisition_can_fail)
{
    static const size_t lengths[] = {1, 15, 16, 600};

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        for (unsigned nth = 1;; nth++) {
            size_t free_before = page_free_count();

            fault_fail_nth(nth);
            void *run = page_alloc(lengths[i], 0);
            bool has_fired = fault_disarm();

            EXPECT(t, (run == NULL) == has_fired);
            page_free(run, lengths[i]);
            EXPECT(t, page_free_count() == free_before);
            if (!has_fired)
                break;
            EXPECT(t, nth == 1); /* one acquisition, asked once */
        }
}
