/*
 * Reserves: what requests without a claim to it cannot take.  (The theory stands in
 * mm/page/reserve.c.)  Called with the heap's lock held, but page_reserve_init.
 */
#pragma once

#include "mm/page/page_heap.h"

void page_reserve_init(void); /* from the settings and the memory that there is */

/*
 * page_reserve_find -- page_heap_find, less what the request may not have.
 *   limit, flags  as in page_alloc_aligned, the limit as a page number
 */
size_t page_reserve_find(struct page_heap *heap, size_t pages, size_t align, size_t limit,
                         unsigned flags);

/*
 * Whether ordinary requests may have so many pages more, for certain: though all that is kept for
 * devices were free.
 */
static inline bool page_reserve_is_far(const struct page_heap *heap, size_t pages)
{
    const struct page_reserve *reserve = &heap->reserve;

    return heap->free_pages >=
           pages + reserve->pages + reserve->low_end + reserve->device_end - PAGE_DMA_PAGES;
}

/* The same, exactly. */
bool page_reserve_has_room(const struct page_heap *heap, size_t pages);

/* Whether pages [page, end), where ordinary memory goes on, are all ordinary. */
static inline bool page_reserve_is_ordinary(const struct page_heap *heap, size_t page, size_t end)
{
    const struct page_reserve *reserve = &heap->reserve;

    return page >= reserve->low_end && (page >= reserve->device_end || end <= PAGE_DMA_PAGES ||
                                        reserve->device_end <= PAGE_DMA_PAGES);
}

/* Free pages that ordinary requests cannot have. */
size_t page_reserve_held_back(const struct page_heap *heap);
