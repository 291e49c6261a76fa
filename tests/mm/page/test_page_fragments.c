/*
 * Fragmentation at its worst: memory of which every so many-th page is taken, so that half of it or
 * nearly all is free, and no run that is one page longer.
 */
#include "tests/mm/page/private_heap.h"
#include "tests/test.h"

/* In a process 4 GiB; where instructions are dear, less. */
#define COMB_PAGES ((__STDC_HOSTED__ && !CONFIG_DEBUG ? 4 * GIB : 256 * MIB) / PAGE_BYTES)

static const size_t gaps[] = {1, 2, 15, 63, 64, 65, 511, 512, 513, 8191, 8192};

/* Take all, then free all but every (gap + 1)th page. */
static void comb_cut(struct private_heap *private, size_t gap)
{
    struct page_heap *heap = &private->heap;
    unsigned long irq_state = page_heap_lock(heap);

    for (size_t page = PAGE_DMA_PAGES; page < COMB_PAGES; page++)
        page_heap_take(heap, page, 1);
    for (size_t page = PAGE_DMA_PAGES; page < COMB_PAGES; page++)
        if ((page - PAGE_DMA_PAGES) % (gap + 1) != gap)
            CHECK(page_heap_put(heap, page, 1));
    page_heap_unlock(heap, irq_state);
}

/* Free what is left; all is one run again. */
static void comb_mend(struct private_heap *private, size_t gap)
{
    for (size_t page = PAGE_DMA_PAGES + gap; page < COMB_PAGES; page += gap + 1)
        private_heap_free(private, page, 1);
}

TEST(page, combs_have_their_gaps_and_no_more)
{
    static struct private_heap private;

    if (!private_heap_create(&private, COMB_PAGES)) {
        test_skip(t, "no memory for the tables");
        return;
    }
    private_heap_add(&private, PAGE_DMA_PAGES, COMB_PAGES - PAGE_DMA_PAGES);
    for (size_t i = 0; i < ARRAY_COUNT(gaps); i++) {
        size_t gap = gaps[i], last = COMB_PAGES - (COMB_PAGES - PAGE_DMA_PAGES) % (gap + 1);

        comb_cut(&private, gap);
        page_heap_check(&private.heap);
        EXPECT(t, page_heap_largest_run(&private.heap) == gap);
        EXPECT(t, private_heap_alloc(&private, gap + 1, 1, PAGE_NONE) == PAGE_NONE);
        EXPECT(t, private_heap_alloc(&private, COMB_PAGES / 2, 1, PAGE_NONE) == PAGE_NONE);

        size_t page = private_heap_alloc(&private, gap, 1, PAGE_NONE);

        EXPECT(t, gap == CHUNK_PAGES || page == PAGE_DMA_PAGES);
        private_heap_free(&private, page, gap);

        /* The last gap alone, where there is none below: its first page, at an odd place. */
        unsigned long irq_state = page_heap_lock(&private.heap);

        page = page_heap_find_above(&private.heap, gap, 1, ALIGN_DOWN(last - gap - 1, CHUNK_PAGES),
                                    PAGE_NONE);
        page_heap_unlock(&private.heap, irq_state);
        EXPECT(t, page != PAGE_NONE && page + gap <= COMB_PAGES);
        comb_mend(&private, gap);
        EXPECT(t, page_heap_largest_run(&private.heap) == COMB_PAGES - PAGE_DMA_PAGES);
    }
    page_heap_check(&private.heap);
    private_heap_destroy(&private);
}
