/*
 * Runs out of the page heap (page_heap_take).
 *
 * A run is cut out of one free run.  Its bits are cleared; then the bytes of its blocks in the
 * summary of its chunk follow (chunk.h), then what the summary says of the chunk, and if that has
 * changed, what is above (page_tree.c).  Of blocks only those are looked at that the run lies in.
 *
 *     chunk   ..##|#####RRR|RR###...|....     R: handed out; the free run is the 13 pages around
 *                   left      right
 *
 * A run across chunks goes piece by piece, as if it were several.  A long one takes the plain way:
 * all summaries of its chunks, and above, are counted anew.
 *
 * Cost: some 150 instructions where no summary above the chunk changes; 50 to 100 more for each
 * level that does.  Locks: the caller's, PAGE_HEAP.
 */
#include "mm/page/chunk.h"

/*
 * [page, end) of a chunk is free no longer, and its blocks' bytes say so: now the rest.  Of the run
 * that it was cut out of, `left` pages are below it and `right` above, as far as the chunk.
 */
static ALWAYS_INLINE void page_heap_cut(struct page_heap *heap, struct summary *chunk, size_t page,
                                        size_t end, size_t left, size_t right)
{
    size_t pages = left + (end - page) + right, longer = MAX(left, right);
    bool is_first = (page - left) % CHUNK_PAGES == 0, is_last = (end + right) % CHUNK_PAGES == 0;

    if (pages < chunk->max && !(is_first | is_last))
        return;
    if (is_first)
        chunk->start = left;
    if (is_last)
        chunk->end = right;
    if (pages == chunk->max) {
        /* Another run is no longer than all that is not this one. */
        chunk->max = longer + pages >= CHUNK_PAGES ? longer : page_chunk_longest(chunk, pages);
        if (pages == chunk->max && !(is_first | is_last))
            return;
    }
    chunk->whole = 0;
    page_tree_shrink(heap, (struct page_run){page - left, end + right}, page, end);
}

/* Clear the bits of a free run; all its pages but `first`, a bit in the first block, are joined. */
static size_t page_heap_clear_free(struct page_heap *heap, size_t page, size_t end, uint64_t first)
{
    size_t zero = 0;

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];
        uint64_t free = page_block_free(block);

        CHECK((~free & walk.mask) == 0);
        page_check_freed_once(heap, block, walk.mask);
        page_block_set_free(block, free & ~walk.mask);
        page_block_set_joined(block, page_block_joined(block) | (walk.mask & ~first));
        page_block_unscavenge(heap, block, walk.mask);
        zero += page_block_unzero(heap, block, walk.mask);
        first = 0;
    }
    return zero;
}

/* A whole chunk, of which its summary says that it is free. */
static NOINLINE size_t page_heap_take_chunk(struct page_heap *heap, size_t page, uint64_t first)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t remote = 0;
    size_t zero = 0;

#pragma GCC unroll 8
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        remote |= page_block_remote(&block[i]);
        page_block_set_free(&block[i], 0);
        page_block_set_joined(&block[i], ~0ull);
    }
    for (size_t i = 0; UNLIKELY(remote != 0) && i < PAGE_CHUNK_BLOCKS; i++)
        page_check_freed_once(heap, &block[i], ~0ull);
    page_block_set_joined(block, ~first);
    heap->free_pages -= CHUNK_PAGES;
    if (heap->scavenged_pages != 0)
        for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
            page_block_unscavenge(heap, &block[i], ~0ull);
    if (page_heap_zero_pages(heap) != 0)
        for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
            zero += page_block_unzero(heap, &block[i], ~0ull);
    page_chunk_fill(page_chunk(heap, page), 0);
    page_tree_shrink(heap, (struct page_run){page, page + CHUNK_PAGES}, page, page + CHUNK_PAGES);
    return zero;
}

/* Within one block. */
static NOINLINE size_t page_heap_take_in_block(struct page_heap *heap, size_t page, size_t pages,
                                               uint64_t first)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    struct summary *chunk = page_chunk(heap, page);
    unsigned bit = page % PAGE_BLOCK_PAGES, i = page_chunk_block(page);
    uint64_t mask = bits_mask(bit, pages), free = page_block_free(block);

    CHECK((~free & mask) == 0);
    page_check_freed_once(heap, block, mask);
    free &= ~mask;
    page_block_set_free(block, free);
    page_block_set_joined(block, page_block_joined(block) | (mask & ~first));
    page_block_unscavenge(heap, block, mask);
    heap->free_pages -= pages;

    size_t zero = page_block_unzero(heap, block, mask);
    size_t left = bits_run_below(free, bit);
    size_t right = bits_run_above(free, bit + (unsigned)pages - 1);

    if (left + pages + right == chunk->block_max.at[i])
        chunk->block_max.at[i] = (uint8_t)bits_longest_run(free);
    left = page_chunk_left(chunk, i, left, bit, left);
    right = page_chunk_right(chunk, i, right, bit + (unsigned)pages - 1, right);
    page_heap_cut(heap, chunk, page, page + pages, left, right);
    return zero;
}

/* Across blocks of one chunk. */
static size_t page_heap_take_across(struct page_heap *heap, size_t page, size_t end, uint64_t first)
{
    size_t zero = page_heap_clear_free(heap, page, end, first);
    struct summary *chunk = page_chunk(heap, page);
    unsigned low = page_chunk_block(page), high = page_chunk_block(end - 1), i;
    unsigned bit = page % PAGE_BLOCK_PAGES, last = (end - 1) % PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(&heap->blocks[page / PAGE_BLOCK_PAGES]);
    size_t left = bits_run_below(free, bit), right;

    /* What is left of the first block, of those between, and of the last. */
    if (left + PAGE_BLOCK_PAGES - bit == chunk->block_max.at[low])
        chunk->block_max.at[low] = (uint8_t)bits_longest_run(free);
    chunk->block_end.at[low] = 0;
    left = page_chunk_left(chunk, low, left, bit, left);
    for (i = low + 1; i < high; i++)
        page_chunk_set(chunk, i, 0);
    free = page_block_free(&heap->blocks[(end - 1) / PAGE_BLOCK_PAGES]);
    right = bits_run_above(free, last);
    if (right + last + 1 == chunk->block_max.at[high])
        chunk->block_max.at[high] = (uint8_t)bits_longest_run(free);
    chunk->block_start.at[high] = 0;
    right = page_chunk_right(chunk, high, right, last, right);
    heap->free_pages -= end - page;
    page_heap_cut(heap, chunk, page, end, left, right);
    return zero;
}

static size_t page_heap_take_piece(struct page_heap *heap, size_t page, size_t end, uint64_t first)
{
    if (page % PAGE_BLOCK_PAGES + (end - page) <= PAGE_BLOCK_PAGES)
        return page_heap_take_in_block(heap, page, end - page, first);
    if (end - page == CHUNK_PAGES && page_chunk(heap, page)->max == CHUNK_PAGES)
        return page_heap_take_chunk(heap, page, first);
    return page_heap_take_across(heap, page, end, first);
}

static NOINLINE size_t page_heap_take_long(struct page_heap *heap, size_t page, size_t end)
{
    uint64_t first = 1ull << page % PAGE_BLOCK_PAGES; /* not joined */
    size_t zero = 0;

    if (page_chunk_end(page, end) == end)
        return page_heap_take_piece(heap, page, end, first);
    if (!page_run_is_short(page, end)) {
        zero = page_heap_clear_free(heap, page, end, first);
        heap->free_pages -= end - page;
        page_tree_recompute(heap, page, end - page);
        return zero;
    }
    for (size_t at = page; at < end; at = page_chunk_end(at, end)) {
        zero += page_heap_take_piece(heap, at, page_chunk_end(at, end), first);
        first = 0;
    }
    return zero;
}

/* Most runs lie in one block. */
size_t page_heap_take(struct page_heap *heap, size_t page, size_t pages)
{
    unsigned bit = page % PAGE_BLOCK_PAGES;

    DCHECK(port_lock_is_held(&heap->lock));
    return LIKELY(bit + pages <= PAGE_BLOCK_PAGES)
               ? page_heap_take_in_block(heap, page, pages, 1ull << bit)
           : pages == CHUNK_PAGES && page_chunk(heap, page)->start == CHUNK_PAGES &&
                   page % CHUNK_PAGES == 0
               ? page_heap_take_chunk(heap, page, 1)
               : page_heap_take_long(heap, page, page + pages);
}
