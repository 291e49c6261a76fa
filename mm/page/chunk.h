/*
 * The summary of a chunk, kept right from that of its blocks, which are bytes of it (summary.h).
 *
 * A run that does not reach an edge of its block is no news to other blocks.  One that does goes on
 * with the free pages at the neighbours' edges: bytes too.  So a change to the bits of one block
 * looks at that word and at this line, and at no other block.
 *
 * The longest run is inside a block, or joins the end of one with the start of the next; eight
 * candidates of each kind, which are compared all at once.  Blocks that are wholly free join more
 * than two; they are rare where memory is in use, and take a walk along the bytes.
 *
 * Locks: PAGE_HEAP, the caller's.
 */
#pragma once

#include "mm/page/page_heap.h"

#define PAGE_PIECES_MAX 4u

_Static_assert(PAGE_CHUNK_BLOCKS == sizeof(union bytes), "a byte for each block of a chunk");
_Static_assert(2 * PAGE_BLOCK_PAGES <= 128, "two blocks' pages fit a byte of bytes_at_least");

/* The chunk that a page is in; and which block of it. */
static inline struct summary *page_chunk(const struct page_heap *heap, size_t page)
{
    return &heap->levels[0][page / CHUNK_PAGES];
}

static inline unsigned page_chunk_block(size_t page)
{
    return page / PAGE_BLOCK_PAGES % PAGE_CHUNK_BLOCKS;
}

/* By block: the run across its end, into the next one. */
static inline uint64_t page_chunk_joints(const struct summary *chunk)
{
    return chunk->block_end.word + (chunk->block_start.word >> 8);
}

size_t page_chunk_longest_full(const struct summary *chunk); /* with blocks that are wholly free */

/* The longest run of a chunk; known to be `most` at most. */
static inline size_t page_chunk_longest(const struct summary *chunk, size_t most)
{
    uint64_t inside = chunk->block_max.word, across = page_chunk_joints(chunk);

    if (inside == 0)
        return 0;
    if (UNLIKELY((inside & PAGE_BLOCK_PAGES * BYTES_ONE) != 0))
        return page_chunk_longest_full(chunk);
    if (most < 128 && (bytes_at_least(inside, most) | bytes_at_least(across, most)) != 0)
        return most;
    return bytes_largest(bytes_max(inside, across));
}

/* Free pages at the end of the blocks below block i, and at the start of those above it. */
static inline size_t page_chunk_below(const struct summary *chunk, unsigned i)
{
    size_t pages = 0, more = PAGE_BLOCK_PAGES;

    while (i > 0 && more == PAGE_BLOCK_PAGES) {
        more = chunk->block_end.at[--i];
        pages += more;
    }
    return pages;
}

static inline size_t page_chunk_above(const struct summary *chunk, unsigned i)
{
    size_t pages = 0, more = PAGE_BLOCK_PAGES;

    while (i < PAGE_CHUNK_BLOCKS - 1 && more == PAGE_BLOCK_PAGES) {
        more = chunk->block_start.at[++i];
        pages += more;
    }
    return pages;
}

/*
 * Of block i, `left` pages just below bit `bit`, or `right` just above it, are free: as many with
 * the blocks beside it.  If they reach the block's edge, it has `start`, or `end`, pages free there
 * now.
 */
static inline size_t page_chunk_left(struct summary *chunk, unsigned i, size_t left, unsigned bit,
                                     size_t start)
{
    if (left != bit)
        return left;
    chunk->block_start.at[i] = (uint8_t)start;
    return left + page_chunk_below(chunk, i);
}

static inline size_t page_chunk_right(struct summary *chunk, unsigned i, size_t right, unsigned bit,
                                      size_t end)
{
    if (bit + right != PAGE_BLOCK_PAGES - 1)
        return right;
    chunk->block_end.at[i] = (uint8_t)end;
    return right + page_chunk_above(chunk, i);
}

/* Block i has these free pages, whatever it had. */
static inline void page_chunk_set(struct summary *chunk, unsigned i, uint64_t free)
{
    chunk->block_start.at[i] = (uint8_t)bits_low_run(free);
    chunk->block_end.at[i] = (uint8_t)bits_high_run(free);
    chunk->block_max.at[i] = (uint8_t)bits_longest_run(free);
}

/* All else from the blocks' bytes. */
static inline void page_chunk_sum(struct summary *chunk)
{
    chunk->start = chunk->block_start.at[0];
    if (chunk->start == PAGE_BLOCK_PAGES)
        chunk->start += page_chunk_above(chunk, 0);
    chunk->end = chunk->block_end.at[PAGE_CHUNK_BLOCKS - 1];
    if (chunk->end == PAGE_BLOCK_PAGES)
        chunk->end += page_chunk_below(chunk, PAGE_CHUNK_BLOCKS - 1);
    chunk->max = page_chunk_longest(chunk, CHUNK_PAGES);
    chunk->whole = chunk->start == CHUNK_PAGES;
}

/* Of a chunk whose blocks have all the same, none (0) or all (PAGE_BLOCK_PAGES) of their pages. */
static inline void page_chunk_fill(struct summary *chunk, size_t block_pages)
{
    uint64_t bytes = block_pages * BYTES_ONE;

    chunk->start = block_pages * PAGE_CHUNK_BLOCKS;
    chunk->max = block_pages * PAGE_CHUNK_BLOCKS;
    chunk->end = block_pages * PAGE_CHUNK_BLOCKS;
    chunk->whole = block_pages != 0;
    chunk->block_start.word = bytes;
    chunk->block_max.word = bytes;
    chunk->block_end.word = bytes;
}

/* ---- Pieces of runs that lie in one chunk ---- */

/* Where the piece of [page, end) ends that begins at `page`. */
static inline size_t page_chunk_end(size_t page, size_t end)
{
    return MIN(end, ALIGN_DOWN(page, CHUNK_PAGES) + CHUNK_PAGES);
}

/* Whether a run is in few pieces; with more of them, to count summaries anew costs less. */
static inline bool page_run_is_short(size_t page, size_t end)
{
    return (end - 1) / CHUNK_PAGES - page / CHUNK_PAGES < PAGE_PIECES_MAX;
}

/* Free pages just below `page`, and from `end` on, as far as the chunk of [page, end). */
static inline size_t page_free_below(const struct page_heap *heap, size_t page)
{
    unsigned bit = page % PAGE_BLOCK_PAGES;
    size_t below = bits_run_below(page_block_free(&heap->blocks[page / PAGE_BLOCK_PAGES]), bit);

    return below < bit ? below
                       : below + page_chunk_below(page_chunk(heap, page), page_chunk_block(page));
}

static inline size_t page_free_above(const struct page_heap *heap, size_t end)
{
    size_t last = end - 1;
    unsigned bit = last % PAGE_BLOCK_PAGES;
    size_t above = bits_run_above(page_block_free(&heap->blocks[last / PAGE_BLOCK_PAGES]), bit);

    return bit + above < PAGE_BLOCK_PAGES - 1
               ? above
               : above + page_chunk_above(page_chunk(heap, last), page_chunk_block(last));
}
