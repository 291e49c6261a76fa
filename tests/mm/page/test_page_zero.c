/* Zero pages: what PAGE_ZERO gives, and where it takes it from. */
#include "kernel/base/string.h"
#include "kernel/fault.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"
#include "tests/mm/page/hoard.h"
#include "tests/mm/page/private_heap.h"
#include "tests/mm/page/zero_pages.h"
#include "tests/test.h"

#define HELD_MAX 64u

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
        uint64_t dice = random_next(&state);

        if (count < HELD_MAX && dice % 2 == 0) {
            size_t pages = 1 + (dice >> 8) % (dice >> 4 & 7 ? 4 : 100);
            size_t align = 1ul << (dice >> 16) % 8;
            unsigned flags = dice >> 24 & 1 ? PAGE_ZERO : 0;
            uintptr_t limit = (dice >> 32) % 16 == 0 ? MM_DMA_BYTES : 0;
            void *run = page_alloc_aligned(pages, align, limit, flags);

            REQUIRE(t, run != NULL || limit != 0);
            if (run == NULL)
                continue;
            EXPECT(t, flags == 0 || zero_is_zero(run, pages));
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

/* A window's zero pages are kept for those who ask for them. */
TEST(page_zero, windows_keep_zero_pages)
{
    char *run = page_alloc_aligned(64, 64, 0, 0);

    REQUIRE(t, run != NULL);
    if (zero_heap_of(run)->zero_limit < 64 || page_debug_is_on()) {
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
    uint64_t known = zero_count_of("zero_known");
    char *zero = page_alloc(2, PAGE_ZERO);

    port_irq_restore(irq_state);
    EXPECT(t, dirty == run && zero == run + 32 * PAGE_BYTES);
    EXPECT(t, zero_count_of("zero_known") == known + 2);

    /* They are no way around an injected fault. */
    fault_fail_nth(1);
    EXPECT(t, page_alloc(1, PAGE_ZERO) == NULL);
    EXPECT(t, fault_disarm());
    page_drain_all();
    EXPECT(t, zero_count() == 30);
    page_check();
    page_free(dirty, 1);
    page_free(zero, 2);
    hoard_free(hoard);
}

/* The one zero page of the heap, wherever it is, before a dirty one of the window. */
TEST(page_zero, goes_before_a_dirty_page_of_the_window)
{
    char *run = page_alloc_aligned(10 * CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    REQUIRE(t, run != NULL);
    if (page_debug_is_on() || !zero_is_near(run)) {
        test_skip(t, "no windows, or the memory is far");
        page_free(run, 10 * CHUNK_PAGES);
        return;
    }

    struct hoard *hoard = hoard_all_but(0);
    char *zero = run + 9 * CHUNK_BYTES + 77 * PAGE_BYTES;
    struct page_heap *heap = zero_heap_of(run);

    page_free(run, 10 * CHUNK_PAGES);
    memset(zero, 0, PAGE_BYTES);

    unsigned long irq_state = page_heap_lock(heap);

    page_zero_note(heap, zero_number_of(zero), 1);
    page_heap_unlock(heap, irq_state);
    irq_state = port_irq_save();

    void *dirty = page_alloc(1, 0); /* fills the window */
    void *given = page_alloc(1, PAGE_ZERO);

    EXPECT(t, given == zero && zero_count() == 0);
    port_irq_restore(irq_state);
    hoard_free(hoard);
    page_free(dirty, 1);
    page_free(given, 1);
    page_check();
}

/* ---- Faults, and a broken invariant ---- */

/* The heap's zero pages are no way around an injected fault. */
TEST(page_zero, every_acquisition_can_fail)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        size_t before = page_free_count();

        fault_fail_nth(nth);

        void *run = page_alloc(2, PAGE_ZERO);
        bool has_fired = fault_disarm();

        EXPECT(t, has_fired == (nth == 1) && (run == NULL) == has_fired);
        EXPECT(t, run == NULL || zero_is_zero(run, 2));
        page_free(run, 2);
        EXPECT(t, page_free_count() == before);
    }
}

static struct page_heap *heap_to_break(void)
{
    static struct private_heap private;

    CHECK(private_heap_create(&private, PAGE_ARENA_PAGES));
    private_heap_add(&private, 256, PAGE_ARENA_PAGES - 300);
    page_heap_lock(&private.heap);
    page_zero_note(&private.heap, 300, 10);
    page_zero_check(&private.heap);
    return &private.heap;
}

static void break_p9_bits(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_block_write_zero(&heap->blocks[0], 1);
    page_zero_check(heap);
}

static void break_p9_count(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->zero_pages++;
    page_zero_check(heap);
}

static void note_what_is_taken(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_take(heap, 312, 1);
    page_zero_note(heap, 310, 5);
    page_zero_check(heap);
    port_panic("%zu noted", page_heap_zero_pages(heap));
}

TEST(page_zero, notes_only_what_is_free)
{
    EXPECT_PANIC(t, note_what_is_taken, NULL, "14 noted");
}

TEST(page_zero, check_names_the_broken_invariant)
{
    EXPECT_PANIC(t, break_p9_bits, NULL, "page heap: P9");
    EXPECT_PANIC(t, break_p9_count, NULL, "page heap: P9");
}
