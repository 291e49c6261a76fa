/*
 * Runs back into the page heap: whether they are right, and what they join (page_heap_put,
 * page_heap_add; page_heap_join_bits for those that others have set free).
 *
 * A run that comes back joins what is free on its two sides.  Its bits are set; then the bytes of its
 * blocks in the summary of its chunk follow (chunk.h), then what the summary says of the chunk, and
 * if that has changed, what is above (page_tree.c); then the hints for runs of the length that has
 * come to be (hints.h).
 *
 * Runs that lie in one block, in one chunk, or are one chunk, have ways of their own; all others
 * take the general one.
 *
 * Cost: some 100 instructions in one block, if no summary above the chunk changes.  Locks: the
 * caller's, PAGE_HEAP.
 */
#include "mm/page/chunk.h"
#include "mm/page/hints.h"

#define JOIN_RUNS_MAX 2u /* of a block; with more, to count it anew costs less */

/* ---- Joining what is free ---- */

/*
 * [page, end) of a chunk has become free, and its blocks' bytes say so: now the rest.  `left` free
 * pages are below it and `right` above, as far as the chunk.
 */
static ALWAYS_INLINE void page_heap_join(struct page_heap *heap, struct summary *chunk, size_t page,
                                         size_t end, size_t left, size_t right)
{
    struct page_run run = {page - left, end + right};
    size_t pages = run.end - run.page;
    bool is_first = run.page % CHUNK_PAGES == 0, is_last = run.end % CHUNK_PAGES == 0;

    if (pages > chunk->max || (is_first | is_last)) {
        chunk->max = MAX(chunk->max, pages);
        chunk->whole = pages == CHUNK_PAGES;
        if (is_first)
            chunk->start = pages;
        if (is_last)
            chunk->end = pages;
        page_tree_grow(heap, run);
        if (is_first | is_last)
            run = page_tree_extend(heap, run);
    }
    page_hint_lower(heap, run.page, run.end);
}

/* The hints alone, after [page, end) has become free, or parts of it. */
static void page_heap_hint(struct page_heap *heap, size_t page, size_t end)
{
    struct page_run run = {page - page_free_below(heap, page), end + page_free_above(heap, end)};

    run = page_tree_extend(heap, run);
    page_hint_lower(heap, run.page, run.end);
}

/* [page, page + pages) of one block, of which `free` is free now. */
static ALWAYS_INLINE void page_heap_join_in_block(struct page_heap *heap, size_t page, size_t pages,
                                                  uint64_t free)
{
    struct summary *chunk = page_chunk(heap, page);
    unsigned bit = page % PAGE_BLOCK_PAGES, i = page_chunk_block(page);
    size_t left = bits_run_below(free, bit);
    size_t right = bits_run_above(free, bit + (unsigned)pages - 1);
    size_t run = left + pages + right;

    if (run > chunk->block_max.at[i])
        chunk->block_max.at[i] = (uint8_t)run;
    left = page_chunk_left(chunk, i, left, bit, run);
    right = page_chunk_right(chunk, i, right, bit + (unsigned)pages - 1, run);
    page_heap_join(heap, chunk, page, page + pages, left, right);
}

/* Hints, after bits of a block have become free. */
static void page_heap_hint_bits(struct page_heap *heap, size_t page, uint64_t bits, size_t longest)
{
    size_t first = page + (unsigned)__builtin_ctzll(bits), end = page + PAGE_BLOCK_PAGES;

    page_hint_lower(heap, first, first + longest);
    if ((bits & 1) != 0)
        page_heap_hint(heap, page, page + 1);
    if (bits >> (PAGE_BLOCK_PAGES - 1) != 0)
        page_heap_hint(heap, end - 1, end);
}

void page_heap_join_bits(struct page_heap *heap, size_t index, uint64_t before, uint64_t bits)
{
    size_t page = index * PAGE_BLOCK_PAGES;
    struct summary *chunk = page_chunk(heap, page);
    uint64_t free = before;

    if (bits == 0)
        return;
    if (bits_has_more_runs(bits, JOIN_RUNS_MAX)) {
        struct summary was = *chunk;

        page_chunk_set(chunk, page_chunk_block(page), before | bits);
        page_chunk_sum(chunk);
        page_tree_change(heap, page / CHUNK_PAGES, &was);
        page_heap_hint_bits(heap, page, before | bits, chunk->block_max.at[page_chunk_block(page)]);
        return;
    }
    while (bits != 0) {
        unsigned bit = (unsigned)__builtin_ctzll(bits), pages = bits_low_run(bits >> bit);

        free |= bits_mask(bit, pages);
        bits &= ~bits_mask(bit, pages);
        page_heap_join_in_block(heap, page + bit, pages, free);
    }
}

/* ---- A run that comes back ---- */

/* Within a block that is not held, of a run that is right. */
static ALWAYS_INLINE void page_heap_put_bits(struct page_heap *heap, size_t page, size_t pages)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t mask = bits_mask(page % PAGE_BLOCK_PAGES, pages), free = page_block_free(block) | mask;

    page_block_set_free(block, free);
    page_block_set_joined(block, page_block_joined(block) & ~mask);
    page_heap_count_free(heap, pages);
    page_heap_join_in_block(heap, page, pages, free);
}

/* Across blocks of one chunk that are not held, of a run that is right. */
static void page_heap_put_across(struct page_heap *heap, size_t page, size_t end)
{
    struct summary *chunk = page_chunk(heap, page);
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    unsigned low = page_chunk_block(page), high = page_chunk_block(end - 1), i = low;
    unsigned bit = page % PAGE_BLOCK_PAGES, last = (end - 1) % PAGE_BLOCK_PAGES;
    uint64_t mask = ~0ull << bit, free = page_block_free(block) | mask;
    size_t left = bits_run_below(free, bit), right;

    page_block_set_free(block, free);
    page_block_set_joined(block, page_block_joined(block) & ~mask);
    chunk->block_end.at[low] = (uint8_t)(left + PAGE_BLOCK_PAGES - bit);
    chunk->block_max.at[low] = MAX(chunk->block_max.at[low], chunk->block_end.at[low]);
    left = page_chunk_left(chunk, low, left, bit, PAGE_BLOCK_PAGES);
    for (block++, i++; i < high; block++, i++) {
        page_block_set_free(block, ~0ull);
        page_block_set_joined(block, 0);
        page_chunk_set(chunk, i, ~0ull);
    }
    mask = ~0ull >> (PAGE_BLOCK_PAGES - 1 - last);
    free = page_block_free(block) | mask;
    page_block_set_free(block, free);
    page_block_set_joined(block, page_block_joined(block) & ~mask);
    right = bits_run_above(free, last);
    chunk->block_start.at[high] = (uint8_t)(last + 1 + right);
    chunk->block_max.at[high] = MAX(chunk->block_max.at[high], chunk->block_start.at[high]);
    right = page_chunk_right(chunk, high, right, last, PAGE_BLOCK_PAGES);
    page_heap_count_free(heap, end - page);
    page_heap_join(heap, chunk, page, end, left, right);
}

/* In any blocks: pages become free, or remote where a block is held; they are joined no longer. */
static void page_heap_set_free(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages, remote = 0;

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];

        if (UNLIKELY(page_block_is_held(block))) {
            atomic_fetch_or_explicit(&block->remote, walk.mask, memory_order_acq_rel);
            remote += bits_count(walk.mask);
        } else {
            page_block_set_joined(block, page_block_joined(block) & ~walk.mask);
            page_block_set_free(block, page_block_free(block) | walk.mask);
        }
    }
    heap->remote_pages += remote;
    if (remote == pages)
        return;
    page_heap_count_free(heap, pages - remote);
    page_tree_recompute(heap, page, pages);
    page_heap_hint(heap, page, end);
}

void page_heap_add(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(pages > 0 && page < end && end <= heap->page_limit);
    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];
        uint64_t present = page_block_present(block);

        CHECK((present & walk.mask) == 0);
        atomic_store_explicit(&block->present, present | walk.mask, memory_order_relaxed);
    }
    heap->present_pages += pages;
    page_heap_set_free(heap, page, pages);
}

bool page_heap_is_run(const struct page_heap *heap, size_t page, size_t pages, bool *is_held)
{
    size_t end = page + pages;
    uint64_t first = 1ull << page % PAGE_BLOCK_PAGES, held = 0;

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        const struct page_block *block = &heap->blocks[walk.index];
        uint64_t right = page_block_taken(block) & (page_block_joined(block) ^ first);

        if ((~right & walk.mask) != 0)
            return false;
        held |= atomic_load_explicit(&block->holder, memory_order_relaxed);
        first = 0;
    }
    *is_held = held != 0;
    return end == heap->page_limit || !page_continues_run(heap, end);
}

/* Whether a chunk is one run, and none of it is held.  P7: pages that are joined are present. */
bool page_heap_is_chunk(const struct page_heap *heap, size_t page)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    size_t end = page + CHUNK_PAGES;
    uint64_t joined = page_block_joined(block) ^ 1, held = 0, remote = 0;

    if (page % CHUNK_PAGES != 0 || page_chunk(heap, page)->max != 0 ||
        (page_block_taken(block) & 1) == 0)
        return false;
#pragma GCC unroll 8
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        held |= atomic_load_explicit(&block[i].holder, memory_order_relaxed);
        remote |= page_block_remote(&block[i]); /* joined may be what it was before that free */
        if (i > 0)
            joined &= page_block_joined(&block[i]);
    }
    return ~joined == 0 && (held | remote) == 0 &&
           (end == heap->page_limit || !page_continues_run(heap, end));
}

/* A chunk, not held, of a run that is right. */
static void page_heap_put_chunk(struct page_heap *heap, size_t page)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    struct page_run run = {page, page + CHUNK_PAGES};

#pragma GCC unroll 8
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        page_block_set_free(&block[i], ~0ull);
        page_block_set_joined(&block[i], 0);
    }
    page_heap_count_free(heap, CHUNK_PAGES);
    page_chunk_fill(page_chunk(heap, page), PAGE_BLOCK_PAGES);
    page_tree_grow(heap, run);
    run = page_tree_extend(heap, run);
    page_hint_lower(heap, run.page, run.end);
}

bool page_heap_put_whole(struct page_heap *heap, size_t page)
{
    DCHECK(port_lock_is_held(&heap->lock));
    if (!page_heap_is_chunk(heap, page))
        return false;
    page_heap_put_chunk(heap, page);
    return true;
}

/* [page, end) of a chunk, not held, of a run that is right. */
static void page_heap_put_piece(struct page_heap *heap, size_t page, size_t end)
{
    if (end - page == CHUNK_PAGES)
        page_heap_put_chunk(heap, page);
    else if (page / PAGE_BLOCK_PAGES != (end - 1) / PAGE_BLOCK_PAGES)
        page_heap_put_across(heap, page, end);
    else
        page_heap_put_bits(heap, page, end - page);
}

static NOINLINE bool page_heap_put_slow(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;
    bool is_held;

    if (UNLIKELY(!page_heap_is_run(heap, page, pages, &is_held)))
        return false;
    if (is_held || !page_run_is_short(page, end)) {
        page_heap_set_free(heap, page, pages);
        return true;
    }
    for (size_t at = page; at < end; at = page_chunk_end(at, end))
        page_heap_put_piece(heap, at, page_chunk_end(at, end));
    return true;
}

/* Within one block that is not held, with a page after it. */
static NOINLINE bool page_heap_put_in_block(struct page_heap *heap, size_t page, size_t pages)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t mask = bits_mask(page % PAGE_BLOCK_PAGES, pages);
    uint64_t joined = page_block_joined(block), free = page_block_free(block);

    /* The first is not joined, the rest is, the page after is not. */
    if (UNLIKELY((page_block_present(block) & ~(free | page_block_remote(block)) & mask) != mask ||
                 !page_bits_are_run(joined, mask)))
        return false;
    page_heap_put_bits(heap, page, pages);
    return true;
}

/* Most runs lie in one block. */
bool page_heap_put(struct page_heap *heap, size_t page, size_t pages)
{
    DCHECK(port_lock_is_held(&heap->lock));
    if (LIKELY(pages < PAGE_BLOCK_PAGES - page % PAGE_BLOCK_PAGES &&
               !page_block_is_held(&heap->blocks[page / PAGE_BLOCK_PAGES])))
        return page_heap_put_in_block(heap, page, pages);
    return (pages == CHUNK_PAGES && page_heap_put_whole(heap, page)) ||
           page_heap_put_slow(heap, page, pages);
}
