/*
 * Hints: where there is no use in looking for a run.
 *
 * First fit fills memory from below, so what a search passes is mostly full of shorter runs than it
 * wants, and the next one need not pass it again.  For each of PAGE_HINTS lengths a heap remembers
 * the chunk below which no free run so long starts.
 *
 *     length   1 2 3 ... 15 16 20 24 28 32 40 48 56 64 80 ... 448 512 pages
 *     chunk    8 8 9      9 12 12 12 12 31 31 ...                             only ever grows along
 *
 * A search begins at the hint for the longest of these lengths that is not above its own, and then
 * raises those for its own and longer ones to where it has found something.  A free lowers the hints
 * for the length of the run that has come to be, and for shorter ones, to where that starts.  Both
 * look at few of them: once one needs no change, none of the others does.
 *
 * Hints are about memory from the floor on.  A run across the floor starts there, for them.
 *
 * Locks: PAGE_HEAP, the caller's.
 */
#pragma once

#include "mm/page/page_heap.h"

_Static_assert(MM_PHYS_BYTES / CHUNK_BYTES < UINT32_MAX, "a hint holds any chunk");

/* The longest length that is at most `pages`, 1 or more. */
static inline unsigned page_hint_of(size_t pages)
{
    if (pages < 16)
        return (unsigned)pages - 1;
    if (pages >= CHUNK_PAGES)
        return PAGE_HINTS - 1;

    unsigned log2 = BITS_PER_WORD - 1 - (unsigned)__builtin_clzll(pages);

    return 4 * log2 - 1 + (pages >> (log2 - 2) & 3);
}

static inline size_t page_hint_pages(unsigned k)
{
    return k < 15 ? k + 1 : (4 + (k + 1) % 4) << ((k + 1) / 4 - 2);
}

/* No run of `pages` or more starts in a chunk below `chunk`. */
static inline void page_hint_raise(struct page_heap *heap, size_t pages, size_t chunk)
{
    unsigned k = pages == 1 ? 0 : page_hint_of(pages - 1) + 1; /* the shortest not below `pages` */

    for (; k < PAGE_HINTS && heap->hints[k] < chunk; k++)
        heap->hints[k] = (uint32_t)chunk;
}

/* The run [page, end) has come to be free; or somewhere in it one has. */
static inline void page_hint_lower(struct page_heap *heap, size_t page, size_t end)
{
    if (UNLIKELY(page < heap->floor)) {
        if (end <= heap->floor)
            return;
        page = heap->floor;
    }

    size_t chunk = page / CHUNK_PAGES;

    for (unsigned k = page_hint_of(end - page); heap->hints[k] > chunk; k--) {
        heap->hints[k] = (uint32_t)chunk;
        if (k == 0)
            break;
    }
}
