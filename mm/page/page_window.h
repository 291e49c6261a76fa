/*
 * Page windows: what page_slow.c needs of page_window.c.
 *
 * Each function that ends in _locked is called with the lock of the heap concerned, interrupts off.
 */
#pragma once

#include "mm/page/page_heap.h"

/* Pages in a request that a window serves. */
#define PAGE_WINDOW_RUN_MAX ((size_t)SEQ_WINDOW_RUN_MAX)

/*
 * page_window_is_worth_locked -- after a miss: whether the block of the free run [page, page + pages)
 * is better than the window that this CPU has.
 * page_window_may_take_locked -- whether it may be the window.
 * page_window_take_locked -- hand out that run; the rest of its block is this CPU's window, and the
 * one it had goes back.  True: the run is known to be zero.
 */
bool page_window_is_worth_locked(const struct page_heap *heap, size_t page, size_t pages);
bool page_window_may_take_locked(const struct page_heap *heap, size_t page, size_t pages);
bool page_window_take_locked(struct page_heap *heap, size_t page, size_t pages);

/*
 * page_window_search -- take any run of 1 .. PAGE_WINDOW_RUN_MAX pages from this CPU's window, at a
 * multiple of `align` pages.  NULL: it has none.  irq; takes no lock.
 */
void *page_window_search(size_t pages, size_t align);

void *page_window_search_zero(size_t pages, size_t align); /* likewise, pages known to be zero */

/* What is free in this CPU's window, by bit.  Interrupts off. */
uint64_t page_window_free(void);

/* The heap of which this CPU holds a window; NULL: none.  Interrupts off. */
struct page_heap *page_window_heap(void);

/* This CPU's window, if it has one, back to its heap, which is locked; or is locked here: irq. */
void page_window_return_locked(void);
void page_window_return(void);

/*
 * Around page_heap_put(heap, page, pages), whose pages may be in windows: before, so that the heap
 * knows what they say; behind, so that they know what has become remote, which is only called for if
 * publish returns true: some of these pages, or the one behind, are in a block that is held.
 */
bool page_window_publish_locked(struct page_heap *heap, size_t page, size_t pages);
void page_window_notify_locked(struct page_heap *heap, size_t page, size_t pages);

size_t page_window_count_locked(const struct page_heap *heap); /* its pages, free in windows */
void page_window_check(void);                                  /* P6; nothing else running */
size_t page_window_bytes(void);                                /* of all CPUs' windows */

/*
 * Where a CPU's window stands, and its size in bytes: what it holds are addresses of pages that need
 * not be free, and no references to them.  Any context.
 */
const void *page_window_of_cpu(unsigned cpu, size_t *bytes);

/* What page_alloc (page_slow.c) and page_free (pending.c) call where the window does not serve. */
void *page_alloc_slow(size_t pages, size_t align, size_t limit, unsigned flags);
void page_free_slow(void *addr, size_t pages);
void page_free_locked(const void *addr, size_t pages); /* and last: by the heap's lock */

static inline void *page_address(size_t page)
{
    return (void *)(port_direct_base() + page * PAGE_BYTES);
}
