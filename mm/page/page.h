/*
 * The page heap: layer 1, speaks pages.  (The theory stands in mm/page/page_heap.c.)
 */
#pragma once

#include "mm/mm.h"

#define PAGE_DEVICE_BYTES (4ul << 30) /* what devices of 32-bit buses reach */

#define PAGE_RUN_MAX (MM_PHYS_BYTES / PAGE_BYTES) /* pages in one run, at most */

enum page_flags {
    PAGE_ZERO = 1 << 0,    /* contents are zero */
    PAGE_RESERVE = 1 << 1, /* may use the last of memory: the collector, growing stacks */
};

/*
 * page_alloc -- take n physically contiguous pages.
 *   pages    1 .. PAGE_RUN_MAX, in pages of 4 KiB
 *   flags    enum page_flags
 *   returns  address of the first byte in the direct map; contents undefined unless PAGE_ZERO;
 *            NULL when no such run is free but what is reserved (mm/page/reserve.h), or pages is 0
 *            or too large (nothing changed)
 *   context  irq; O(log memory); takes a page heap's lock on a window miss.  Where there is no run,
 *            in ordinary context: has all CPUs give their windows back, waits for them, and calls
 *            shrinkers (mm/page/shrink.h) before it returns NULL
 *   pairs    page_free(addr, n) with the same n
 *   source   Go 1.12 page allocator design (radix summaries), Go's page cache (windows)
 */
void *page_alloc(size_t pages, unsigned flags);

/*
 * page_free -- give back what page_alloc or page_alloc_aligned gave.
 *   addr, pages  as allocated; NULL does nothing
 *   context      irq
 * An address outside the heap, unaligned, inside a run, another length, or a page that is free
 * already: report and panic.
 */
void page_free(void *addr, size_t pages);

/*
 * page_alloc_aligned -- take a run at an aligned address below a limit.
 *   align_pages  a power of two, in pages; 1: any
 *   limit        physical; the run ends at or below it; UINTPTR_MAX or 0: none
 *   otherwise as page_alloc; NULL too when align_pages is not a power of two; O(memory) where the
 *   only runs that are long enough are many and stand at other addresses
 */
void *page_alloc_aligned(size_t pages, size_t align_pages, uintptr_t limit, unsigned flags);

/*
 * page_extend -- take the free pages behind a run, which is then one run with them.
 *   addr, pages  a run as it was handed out, or extended
 *   more         pages
 *   returns      false: they are not free, or not in the heap's tables (a window has them, or a CPU's
 *                pending frees); nothing has changed.  Their contents are undefined
 *   context      irq
 * Panics if that is not a run, whole, that is handed out.
 */
bool page_extend(void *addr, size_t pages, size_t more);

/*
 * Free pages now, those in CPUs' windows and those in reserves included: so page_alloc may fail
 * although there are some.  irq; exact when nothing else runs.
 */
size_t page_free_count(void);

struct page_stats {
    size_t ram_pages;       /* pages that the heap manages */
    size_t free_pages;      /* windows included */
    size_t window_pages;    /* of these: in CPUs' windows */
    size_t pending_pages;   /* of these: freed, and not yet back in the heap's tables */
    size_t whole_chunks;    /* chunks that are free as a whole */
    size_t scavenged_pages; /* of the free ones: given back to the host below */
    size_t largest_run;     /* pages in the longest free run outside windows */
    size_t reserved_pages;  /* free pages that requests without a claim to them cannot have */
    size_t zero_pages;      /* pages in the heap that are known to be zero */
    size_t meta_bytes;      /* bitmaps and summaries, windows */
    uint64_t heap_locks;    /* acquisitions of the heap's lock */
};
struct page_stats page_stats(void);

/* Of one node's memory, 0 .. port_node_count() - 1; meta_bytes is 0. */
struct page_stats page_node_stats(unsigned node);

/*
 * page_scavenge_start -- from now on idle CPUs give free memory back by port_release_pages; see
 * mm/page/scavenge.c.
 *   traces   print Go's scavtrace line, once a second while there is work
 *   context  ordinary, once
 */
void page_scavenge_start(bool traces);

/*
 * page_scavenge_all -- give back all free memory now, and print Go's scavtrace line.
 *   returns  false: nobody takes it
 *   context  ordinary; waits for the host
 */
bool page_scavenge_all(void);

/* ---- For the rest of mm/ ---- */

/*
 * mm_init, in this order: addresses for tables; when all tables are known, memory enough to start
 * with, and early_alloc is closed.  mm_open: all that is left.
 */
void page_heap_init(void);
void page_heap_start(void);
void page_heap_open(void);           /* ordinary; on several CPUs at once; see mm_open */
size_t page_opened_by(unsigned cpu); /* pages that a CPU has opened; when all is open */
size_t page_heap_give(uint64_t base, uint64_t bytes); /* see mm_give */
void page_drain_this_cpu(void *unused);               /* this CPU's window back to the heap; irq */
void page_drain_all(void);                            /* every CPU's; ordinary */

/*
 * page_scavenge_hold -- until page_scavenge_release the scavenger has no page in flight: for an
 * allocation that has failed to try again.  Ordinary context; waits for the host.  Nests.
 */
void page_scavenge_hold(void);
void page_scavenge_release(void);

void page_check(void); /* panics on a broken invariant; nothing else running */
