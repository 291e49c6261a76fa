/* The page heap's edges, each by itself, in heaps over memory that does not exist. */
#include "mm/page/hints.h"
#include "tests/mm/page/private_heap.h"
#include "tests/test.h"

#define ARENA PAGE_ARENA_PAGES
#define ROOT  (8 * GIB / PAGE_BYTES) /* a root entry of 64 GiB */

/* A run across every kind of boundary is found whole, and found again after it was given back. */
TEST(page, runs_cross_every_boundary)
{
    static const size_t boundaries[] = {
        PAGE_BLOCK_PAGES,  CHUNK_PAGES, 16 * CHUNK_PAGES,  ARENA,
        256 * CHUNK_PAGES, 8 * ARENA,   512 * CHUNK_PAGES, PAGE_DMA_PAGES,
    };
    struct private_heap private;

    for (size_t i = 0; i < ARRAY_COUNT(boundaries); i++) {
        size_t edge = 2 * boundaries[i], pages = 100;

        REQUIRE(t, private_heap_create(&private, 40 * ARENA));
        private_heap_add(&private, edge - 37, pages);
        EXPECT(t, private_heap_alloc(&private, pages + 1, 1, PAGE_NONE) == PAGE_NONE);
        EXPECT(t, private_heap_alloc(&private, pages, 1, PAGE_NONE) == edge - 37);
        page_heap_check(&private.heap);
        private_heap_free(&private, edge - 37, pages);
        page_heap_check(&private.heap);
        EXPECT(t, private_heap_alloc(&private, 63, 64, PAGE_NONE) == edge);
        private_heap_destroy(&private);
    }
}

TEST(page, all_memory_is_one_run)
{
    struct private_heap private;
    size_t limit = 5 * ROOT, pages = limit - 256;

    REQUIRE(t, private_heap_create(&private, limit));
    private_heap_add(&private, 256, pages);
    page_heap_check(&private.heap);
    EXPECT(t, page_heap_largest_run(&private.heap) == pages);
    EXPECT(t, page_heap_whole_chunks(&private.heap) == pages / CHUNK_PAGES);
    EXPECT(t, private_heap_alloc(&private, pages + 1, 1, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, SIZE_MAX, 1, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, pages, 1, PAGE_NONE) == 256);
    EXPECT(t, private.heap.free_pages == 0);
    EXPECT(t, private_heap_alloc(&private, 1, 1, PAGE_NONE) == PAGE_NONE);
    private_heap_free(&private, 256, pages);
    page_heap_check(&private.heap);

    /* All above 16 MiB: the summaries that hold memory below it do not mislead. */
    EXPECT(t, private_heap_alloc(&private, limit - PAGE_DMA_PAGES, 1, PAGE_NONE) == PAGE_DMA_PAGES);
    private_heap_free(&private, PAGE_DMA_PAGES, limit - PAGE_DMA_PAGES);

    /* The root's whole entries, and the largest alignments. */
    EXPECT(t, private_heap_alloc(&private, ROOT, ROOT, PAGE_NONE) == ROOT);
    EXPECT(t, private_heap_alloc(&private, 1, 1ul << 60, PAGE_NONE) == PAGE_NONE);
    private_heap_destroy(&private);
}

TEST(page, tree_is_as_high_as_memory_asks_for)
{
    static const struct {
        size_t page_limit;
        unsigned top;
    } cases[] = {
        {1, 1},                     /* an arena is 32 chunks */
        {256 * CHUNK_PAGES, 1},     /* 16 entries of 16 chunks */
        {256 * CHUNK_PAGES + 1, 2}, /* one more */
        {ROOT, 2},                  /* 8 GiB: 16 entries of 512 MiB */
        {ROOT + 1, 3},              /* 17, so 2 of 8 GiB */
        {TIB / PAGE_BYTES, 4},      /* 8 entries of 128 GiB */
        {PAGE_RUN_MAX, 6},          /* 2 entries of 32 TiB */
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct page_heap heap;

        page_heap_shape(&heap, cases[i].page_limit);
        EXPECT(t, heap.top == cases[i].top);
        EXPECT(t, heap.page_limit == ALIGN_UP(cases[i].page_limit, ARENA));
    }
}

/* 0.5 % is the budget of this layer and the span table (0.1 %), at every size. */
TEST(page, tables_stay_within_their_budget)
{
    for (size_t bytes = 64 * MIB; bytes <= TIB; bytes *= 2) {
        struct page_heap heap;

        page_heap_shape(&heap, bytes / PAGE_BYTES);
        EXPECT(t, page_heap_blocks_bytes(&heap) + page_heap_summaries_bytes(&heap) + PAGE_BYTES <=
                      bytes / 250);
    }
}

TEST(page, first_fit_is_by_address_and_spares_dma)
{
    struct private_heap private;

    REQUIRE(t, private_heap_create(&private, ARENA));
    private_heap_add(&private, 256, ARENA - 256);
    EXPECT(t, private_heap_alloc(&private, 3, 1, PAGE_NONE) == PAGE_DMA_PAGES);
    EXPECT(t, private_heap_alloc(&private, 1, 1, PAGE_NONE) == PAGE_DMA_PAGES + 3);
    private_heap_free(&private, PAGE_DMA_PAGES, 3);
    EXPECT(t, private_heap_alloc(&private, 4, 1, PAGE_NONE) == PAGE_DMA_PAGES + 4);
    EXPECT(t, private_heap_alloc(&private, 2, 1, PAGE_NONE) == PAGE_DMA_PAGES);
    EXPECT(t, private_heap_alloc(&private, 1, 1, PAGE_DMA_PAGES) == 256);

    /* What is left above is too short: the run may begin below 16 MiB, or cross it. */
    size_t above = ARENA - PAGE_DMA_PAGES - 8;

    EXPECT(t, private_heap_alloc(&private, above + 1, 1, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, above, 1, PAGE_NONE) == PAGE_DMA_PAGES + 8);
    private_heap_free(&private, PAGE_DMA_PAGES, 2);
    EXPECT(t, private_heap_alloc(&private, 9, 1, PAGE_NONE) == 257);
    EXPECT(t, private_heap_alloc(&private, PAGE_DMA_PAGES - 266 + 2, 1, PAGE_NONE) == 266);
    page_heap_check(&private.heap);
    private_heap_destroy(&private);
}

TEST(page, limits_hold)
{
    struct private_heap private;

    REQUIRE(t, private_heap_create(&private, 4 * ARENA));
    private_heap_add(&private, 1000, 4 * ARENA - 1000);
    EXPECT(t, private_heap_alloc(&private, 1, 1, 1000) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, 1, 1, 1001) == 1000);
    EXPECT(t, private_heap_alloc(&private, PAGE_DMA_PAGES, 1, PAGE_DMA_PAGES) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, 64, 64, 1024 + 63) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, 64, 64, 1024 + 64) == 1024);
    EXPECT(t, private_heap_alloc(&private, 1, 1, 0) == PAGE_NONE);
    private_heap_destroy(&private);
}

/*
 * Memory in which every free pair of pages lies across granules: looking for a granule fails in
 * more chunks than the search tries, then the long run far above is found; without that one the
 * answer is still exact.
 */
TEST(page, misaligned_holes_do_not_hide_what_is_free)
{
    struct private_heap private;
    size_t first = PAGE_DMA_PAGES, last = 4 * ARENA - 8;

    REQUIRE(t, private_heap_create(&private, 4 * ARENA));
    for (size_t page = first; page < last; page += 4)
        private_heap_add(&private, page + 1, 2);
    EXPECT(t, private_heap_alloc(&private, 2, 2, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, 2, 1, PAGE_NONE) == first + 1);
    private_heap_add(&private, last, 2);
    EXPECT(t, private_heap_alloc(&private, 2, 2, PAGE_NONE) == last);
    private_heap_free(&private, last, 2);
    private_heap_add(&private, last + 2, 2);
    EXPECT(t, private_heap_alloc(&private, 2, 2, PAGE_NONE) == last);
    page_heap_check(&private.heap);
    private_heap_destroy(&private);
}

/* A terabyte of addresses of which an arena in 64 is there. */
TEST(page, sparse_terabyte)
{
    struct private_heap private;
    size_t limit = TIB / PAGE_BYTES, stride = 64 * ARENA, added = 0;

    if (!private_heap_create(&private, limit)) {
        test_skip(t, "no memory for the tables of a terabyte");
        return;
    }
    for (size_t page = 0; page < limit; page += stride, added++)
        private_heap_add(&private, page + 1, ARENA - 1);
    EXPECT(t, private.heap.free_pages == added * (ARENA - 1));
    EXPECT(t, page_heap_whole_chunks(&private.heap) == added * 31);
    EXPECT(t, private_heap_alloc(&private, ARENA, 1, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, private_heap_alloc(&private, ARENA - 1, 1, PAGE_NONE) == stride + 1);
    for (size_t i = 2; i < added; i++)
        EXPECT(t, private_heap_alloc(&private, ARENA - CHUNK_PAGES, 8 * CHUNK_PAGES, PAGE_NONE) ==
                      PAGE_NONE);
    for (size_t i = 2; i < added; i++)
        EXPECT(t, private_heap_alloc(&private, ARENA - CHUNK_PAGES, CHUNK_PAGES, PAGE_NONE) ==
                      i * stride + CHUNK_PAGES);
    page_heap_check(&private.heap);
    private_heap_destroy(&private);
}

TEST(page, hint_lengths_are_in_order)
{
    for (unsigned k = 0; k < PAGE_HINTS; k++) {
        EXPECT(t, page_hint_of(page_hint_pages(k)) == k);
        EXPECT(t, k == 0 || page_hint_of(page_hint_pages(k) - 1) == k - 1);
    }
    EXPECT(t, page_hint_pages(0) == 1 && page_hint_pages(PAGE_HINTS - 1) == CHUNK_PAGES);
    EXPECT(t, page_hint_of(PAGE_RUN_MAX) == PAGE_HINTS - 1);
}

static size_t hint_chunk(const struct private_heap *private, size_t pages)
{
    return private->heap.hints[page_hint_of(pages)];
}

/* Hints rise to where a search has found something, and fall to what is freed below. */
TEST(page, hints_rise_and_fall)
{
    struct private_heap private;
    size_t first = PAGE_DMA_PAGES / CHUNK_PAGES, all = 4 * ARENA - PAGE_DMA_PAGES;

    REQUIRE(t, private_heap_create(&private, 4 * ARENA));
    EXPECT(t, hint_chunk(&private, 1) == 4 * ARENA / CHUNK_PAGES);
    private_heap_add(&private, PAGE_DMA_PAGES, all);
    for (size_t page = PAGE_DMA_PAGES; page < 4 * ARENA; page += 32)
        EXPECT(t, private_heap_alloc(&private, 32, 1, PAGE_NONE) == page);
    EXPECT(t, private_heap_alloc(&private, 1, 1, PAGE_NONE) == PAGE_NONE);

    /* Runs of 32 in chunks from the 20th on, and one of 64 in the 40th. */
    for (size_t page = (first + 20) * CHUNK_PAGES; page < (first + 60) * CHUNK_PAGES; page += 128)
        private_heap_free(&private, page, 32);
    EXPECT(t, private_heap_alloc(&private, 1, 1, PAGE_NONE) == (first + 20) * CHUNK_PAGES);
    private_heap_free(&private, (first + 20) * CHUNK_PAGES, 1);
    private_heap_free(&private, (first + 40) * CHUNK_PAGES + 32, 32);
    EXPECT(t, hint_chunk(&private, 1) == first + 20 && hint_chunk(&private, 32) == first + 20);
    EXPECT(t, hint_chunk(&private, 40) == first + 40 && hint_chunk(&private, 64) == first + 40);
    EXPECT(t, hint_chunk(&private, 100) > first + 40);
    page_heap_check(&private.heap);

    /* The run is used up: a search for 64 looks on, one for 32 need not. */
    EXPECT(t, private_heap_alloc(&private, 64, 1, PAGE_NONE) == (first + 40) * CHUNK_PAGES);
    EXPECT(t, private_heap_alloc(&private, 64, 1, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, hint_chunk(&private, 64) == 4 * ARENA / CHUNK_PAGES);
    EXPECT(t, hint_chunk(&private, 32) == first + 20);
    page_heap_check(&private.heap);

    /* What is freed lower joins what is free across the edge of a chunk, and begins there. */
    private_heap_free(&private, (first + 20) * CHUNK_PAGES - 32, 32);
    EXPECT(t, hint_chunk(&private, 64) == first + 19 && hint_chunk(&private, 1) == first + 19);
    EXPECT(t, private_heap_alloc(&private, 64, 1, PAGE_NONE) == (first + 20) * CHUNK_PAGES - 32);
    page_heap_check(&private.heap);
    private_heap_destroy(&private);
}

/* Below the floor nothing has hints, and a run across it begins there for who asks from there on. */
TEST(page, hints_are_about_what_is_above_the_floor)
{
    struct private_heap private;
    size_t floor = ARENA, floor_chunk = floor / CHUNK_PAGES;

    REQUIRE(t, private_heap_create(&private, 3 * ARENA));
    private_heap_add(&private, PAGE_DMA_PAGES, 3 * ARENA - PAGE_DMA_PAGES);

    unsigned long irq_state = page_heap_lock(&private.heap);

    page_heap_set_floor(&private.heap, floor);
    EXPECT(t, page_heap_find_above(&private.heap, 1, 1, floor, PAGE_NONE) == floor);
    EXPECT(t,
           page_heap_find_above(&private.heap, 1, 1, PAGE_DMA_PAGES, PAGE_NONE) == PAGE_DMA_PAGES);
    page_heap_take(&private.heap, PAGE_DMA_PAGES + 1, 3 * ARENA - PAGE_DMA_PAGES - 1);
    EXPECT(t, page_heap_find_above(&private.heap, 1, 1, floor, PAGE_NONE) == PAGE_NONE);
    EXPECT(t, hint_chunk(&private, 1) == 3 * floor_chunk);
    EXPECT(t, page_heap_put(&private.heap, PAGE_DMA_PAGES + 1, 3 * ARENA - PAGE_DMA_PAGES - 1));
    EXPECT(t, hint_chunk(&private, 1) == floor_chunk);
    page_heap_check(&private.heap);

    page_heap_take(&private.heap, PAGE_DMA_PAGES, 3 * ARENA - PAGE_DMA_PAGES - 5);
    EXPECT(t, page_heap_find_above(&private.heap, 1, 1, floor, PAGE_NONE) == 3 * ARENA - 5);
    EXPECT(t, hint_chunk(&private, 1) == 3 * floor_chunk - 1);
    page_heap_check(&private.heap);
    page_heap_unlock(&private.heap, irq_state);
    private_heap_destroy(&private);
}

/* What page_heap_take says of zero pages, and forgets, in each of its ways. */
TEST(page, taking_counts_zero_pages)
{
    static const size_t runs[][2] = {
        {10, 20}, {50, 300}, {CHUNK_PAGES, CHUNK_PAGES}, {1000, 2000}, {100, 8 * CHUNK_PAGES}};
    struct private_heap private;
    struct page_heap *heap = &private.heap;

    for (size_t i = 0; i < ARRAY_COUNT(runs); i++) {
        size_t page = PAGE_DMA_PAGES + runs[i][0], last = page + runs[i][1] - 1;

        REQUIRE(t, private_heap_create(&private, 2 * ARENA));
        private_heap_add(&private, PAGE_DMA_PAGES, ARENA);
        page_block_write_zero(&heap->blocks[page / PAGE_BLOCK_PAGES],
                              1ull << page % PAGE_BLOCK_PAGES);
        page_block_write_zero(&heap->blocks[last / PAGE_BLOCK_PAGES],
                              page_block_zero(&heap->blocks[last / PAGE_BLOCK_PAGES]) |
                                  1ull << last % PAGE_BLOCK_PAGES);
        heap->zero_pages = 2;

        unsigned long irq_state = page_heap_lock(heap);

        EXPECT(t, page_heap_take(heap, page, runs[i][1]) == 2 && heap->zero_pages == 0);
        EXPECT(t, page_block_zero(&heap->blocks[page / PAGE_BLOCK_PAGES]) == 0);
        page_heap_check(heap);
        page_heap_unlock(heap, irq_state);
        private_heap_destroy(&private);
    }
}
