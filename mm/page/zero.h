/*
 * Zero pages: which free pages are known to be zero, and making more of them on idle CPUs.  (The
 * theory stands in mm/page/zero.c.)
 *
 * page_block.zero says it of pages in the heap, a word of the window of those in a CPU's window.
 * Invariant, tested by page_check:
 *   P9  a page that is known to be zero is free; those in the heap are zero_pages
 * Where nothing else is said, functions are called with the heap's lock held.
 */
#pragma once

#include "mm/page/page_heap.h"

void page_zero_init(void); /* the share that idle CPUs may zero, from the size of memory */

/* Free pages in the heap that are known to be zero from now on; others of the run are ignored. */
void page_zero_note(struct page_heap *heap, size_t page, size_t pages);

/*
 * A block goes into a window: take gives its zero pages, of which the heap then knows nothing.  It
 * has come back: give says which of its pages are zero, all of them free in the heap.
 */
uint64_t page_zero_take_block(struct page_heap *heap, size_t index);
void page_zero_give_block(struct page_heap *heap, size_t index, uint64_t zero);

/*
 * page_zero_alloc -- a run of pages that are known to be zero, from this CPU's node.
 *   pages, align  as in page_alloc_aligned; a run of at most PAGE_BLOCK_PAGES, in one block
 *   flags         PAGE_RESERVE counts
 *   returns       NULL: none in reach, ask for any run and clear it
 *   context       irq; takes the heap's lock if there may be one, for one look (zero.c)
 */
void *page_zero_alloc(size_t pages, size_t align, unsigned flags);

/*
 * page_zero_ahead -- a piece of idle work.
 *   returns  true: more can be done at once; false: not before the next tick
 *   context  ordinary; takes the heap's lock, unless there is nothing to do
 */
bool page_zero_ahead(struct page_heap *heap);

void page_zero_check(const struct page_heap *heap); /* P9; nothing else running */
