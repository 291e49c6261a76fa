/*
 * What the page heap knows of pages, for reports: right at the time of asking, what CPUs have in
 * their windows and take from them included; counts are so chunk by chunk.  irq; takes heaps' locks.
 */
#pragma once

#include "mm/page/page_heap.h"

enum page_state {
    PAGE_ABSENT, /* no memory of the heap's */
    PAGE_FREE,
    PAGE_IN_WINDOW, /* free, in a CPU's window */
    PAGE_TAKEN,
};

struct page_view {
    enum page_state state;
    unsigned cpu;      /* PAGE_IN_WINDOW: whose */
    bool is_zero;      /* free, and known to be zero */
    bool is_scavenged; /* free, and given to the hypervisor */
    size_t first;      /* PAGE_TAKEN: the run's first page and its length */
    size_t pages;
};

struct page_view page_view(size_t page); /* by number; any is allowed */

/* Pages of a stretch, by what is known of them. */
struct page_counts {
    size_t present;
    size_t free;      /* of these, in windows too */
    size_t zero;      /* of those free */
    size_t scavenged; /* likewise */
};

struct page_counts page_count_chunks(size_t chunk, size_t chunks);

/*
 * page_chunk_taken -- the pages of a chunk that are handed out, by block, a bit for each.
 *   returns  false: none, and all bits are 0
 */
bool page_chunk_taken(size_t chunk, uint64_t bits[PAGE_CHUNK_BLOCKS]);

size_t page_chunk_limit(void); /* number above the highest chunk, in whole arenas */
