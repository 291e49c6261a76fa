/*
 * A page heap: bitmaps and the tree of summaries over them, for pages that are numbers.  Nothing
 * here touches the pages themselves, so tests build heaps over memory that does not exist.  The
 * kernel has one, `page_heap`, behind mm/page/page.h; the theory stands in page_heap.c.
 */
#pragma once

#include <stdatomic.h>
#include "mm/mm.h"
#include "mm/page/bits.h"
#include "mm/page/summary.h"
#include "mm/port.h"

#define PAGE_BLOCK_PAGES  64ul                             /* pages in a block: one word */
#define PAGE_CHUNK_BLOCKS (CHUNK_PAGES / PAGE_BLOCK_PAGES) /* 8 */
#define PAGE_ARENA_PAGES  (ARENA_BYTES / PAGE_BYTES)
#define PAGE_DMA_PAGES    (MM_DMA_BYTES / PAGE_BYTES)

#define PAGE_FANOUT_SHIFT 3u /* a summary covers 8 of the level below */
#define PAGE_FANOUT       (1ul << PAGE_FANOUT_SHIFT)
#define PAGE_CHUNK_SHIFT  9u /* log2 CHUNK_PAGES */
#define PAGE_LEVELS       5u /* 9 + 4 * 3 = 21 bits of pages: what a summary can say */

#define PAGE_NONE SIZE_MAX /* no page */

/*
 * (B to A: your proposal is taken.  Strict rule: free pages are NOT joined, take and put write
 * joined; take_block/put_block as they were, put_block clears joined of its bits.  Checked free:
 * bool page_heap_put(heap, page, pages): false, nothing changed; then page_heap_fault(heap, page,
 * pages, &run) gives the text and the right run.  page_heap_first_not_taken goes away.  I sync
 * about 00:25 and adapt page_free_slow of page_window.c to that, nothing else.)
 *
 * 64 pages, in one cache line.  A page is free, or taken, or absent: no memory of the heap's.  To
 * the heap, what a window took is taken.  16 KiB an arena, 0.024 % of memory.
 *
 * joined: this page continues the run of the page before it.  Of a run that is handed out the first
 * page is not joined and all others are; free pages are not.  So a free is right when it is of a
 * page that is not joined, of all that follow and are, and of no more and no fewer: anything else
 * shows, a wrong length too.
 */
struct page_block {
    _Atomic uint64_t free;      /* [A] bit: in the heap, P1; written under the lock, relaxed */
    _Atomic uint64_t present;   /* [A] bit: belongs to the heap; written under the lock, relaxed */
    _Atomic uint64_t joined;    /* [A] bit: as said above, P5; written under the lock, relaxed */
    _Atomic uint64_t zero;      /* [A] bit: known to be zero, if free; relaxed */
    _Atomic uint64_t scavenged; /* [A] bit: given to the hypervisor, if free; relaxed */
    _Atomic uint64_t holder;    /* [A] CPU + 1 whose window has pages of it; 0: none; relaxed */
    uint64_t spare[2];
};

/*
 * Lock letters: [C] constant once placed; [L] lock.
 *
 * Invariants, each tested by page_heap_check() under its own name:
 *   P1  a free page is present
 *   P2  every summary says what the bits, or the summaries, below it say
 *   P3  free_pages and present_pages are the numbers of those bits
 *   P4  no page in [PAGE_DMA_PAGES, low) is free
 */
struct page_heap {
    port_lock_t lock;
    struct page_block *blocks;        /* [C] by page number / 64 */
    summary_t *levels[PAGE_LEVELS];   /* [C] [0] by chunk, [top]: the root's entries */
    size_t level_counts[PAGE_LEVELS]; /* [C] entries, in whole groups of PAGE_FANOUT */
    unsigned top;                     /* [C] the root's level */
    size_t page_limit;                /* [C] above the highest page, whole arenas */
    size_t low;                       /* [L] page number, P4 */
    size_t free_pages;                /* [L] P3 */
    size_t present_pages;             /* [L] P3 */
    size_t scavenged_pages;           /* [L] P6 */
    size_t flight_pages;              /* [L] taken by the scavenger, and soon free again */
    uint64_t lock_count;              /* [L] acquisitions of the lock */
};

/* The kernel's heap, and what its tables take, page tables included. */
extern struct page_heap page_heap;
size_t page_table_bytes(void);

/*
 * page_heap_shape -- decide the height of the tree and the sizes of the tables.
 *   page_limit  number above the highest page
 */
void page_heap_shape(struct page_heap *heap, size_t page_limit);
size_t page_heap_blocks_bytes(const struct page_heap *heap);
size_t page_heap_summaries_bytes(const struct page_heap *heap);

/*
 * page_heap_place -- the tables are here, zero; no page is present.  Of them, what covers an arena
 * must be writable before a page of it is added; the rest is only read.
 */
void page_heap_place(struct page_heap *heap, void *blocks, void *summaries);

unsigned long page_heap_lock(struct page_heap *heap);
void page_heap_unlock(struct page_heap *heap, unsigned long irq_state);

/* ---- With the lock held ---- */

/* Pages [page, page + pages), absent so far, are the heap's and free. */
void page_heap_add(struct page_heap *heap, size_t page, size_t pages);

/*
 * page_heap_find -- the first free run, by address, memory below 16 MiB last.
 *   align    a power of two, in pages
 *   limit    page number at or below which the run ends; PAGE_NONE: anywhere
 *   returns  its first page, or PAGE_NONE
 */
size_t page_heap_find(struct page_heap *heap, size_t pages, size_t align, size_t limit);

void page_heap_take(struct page_heap *heap, size_t page, size_t pages); /* all free; CHECKed */

/* All free pages of a block at once: take gives their bits, put gives such bits back. */
uint64_t page_heap_take_block(struct page_heap *heap, size_t index);
void page_heap_put_block(struct page_heap *heap, size_t index, uint64_t bits);

/*
 * page_heap_first_not_taken -- the first page of [page, page + pages), all below page_limit, that
 * is free or absent; PAGE_NONE: none, page_heap_put is in order.
 */
size_t page_heap_first_not_taken(const struct page_heap *heap, size_t page, size_t pages);
void page_heap_put(struct page_heap *heap, size_t page, size_t pages);

void page_heap_check(const struct page_heap *heap); /* panics, naming the invariant */
size_t page_heap_whole_chunks(const struct page_heap *heap);
size_t page_heap_largest_run(const struct page_heap *heap);

/* ---- Inline ---- */

static inline unsigned page_level_shift(unsigned level)
{
    return PAGE_CHUNK_SHIFT + level * PAGE_FANOUT_SHIFT;
}

static inline uint64_t page_block_free(const struct page_block *block)
{
    return atomic_load_explicit(&block->free, memory_order_relaxed);
}

static inline uint64_t page_block_present(const struct page_block *block)
{
    return atomic_load_explicit(&block->present, memory_order_relaxed);
}

static inline void page_block_set_free(struct page_block *block, uint64_t bits)
{
    atomic_store_explicit(&block->free, bits, memory_order_relaxed);
}

static inline uint64_t page_block_scavenged(const struct page_block *block)
{
    return atomic_load_explicit(&block->scavenged, memory_order_relaxed);
}

/* Free pages of a block have been given back; the lock is held, none of them is scavenged. */
static inline void page_block_scavenge(struct page_heap *heap, struct page_block *block,
                                       uint64_t mask)
{
    atomic_store_explicit(&block->scavenged, page_block_scavenged(block) | mask,
                          memory_order_relaxed);
    heap->scavenged_pages += bits_count(mask);
}

/* Pages of a block are taken from the heap; the lock is held. */
static inline void page_block_unscavenge(struct page_heap *heap, struct page_block *block,
                                         uint64_t mask)
{
    uint64_t scavenged = page_block_scavenged(block);

    if (LIKELY((scavenged & mask) == 0))
        return;
    atomic_store_explicit(&block->scavenged, scavenged & ~mask, memory_order_relaxed);
    heap->scavenged_pages -= bits_count(scavenged & mask);
}

/* Whether pages of a block are known to be zero; the lock is held, they are free. */
static inline void page_block_set_zero(struct page_block *block, uint64_t mask, bool is_zero)
{
    uint64_t zero = atomic_load_explicit(&block->zero, memory_order_relaxed);

    atomic_store_explicit(&block->zero, is_zero ? zero | mask : zero & ~mask, memory_order_relaxed);
}

/* A piece of a run of pages that lies in one block. */
struct page_piece {
    size_t block;
    size_t pages;
    uint64_t mask;
};

/* The piece of [page, end) that holds `page`; page < end. */
static inline struct page_piece page_piece(size_t page, size_t end)
{
    unsigned bit = page % PAGE_BLOCK_PAGES;
    size_t pages = MIN(PAGE_BLOCK_PAGES - bit, end - page);

    return (struct page_piece){page / PAGE_BLOCK_PAGES, pages, bits_mask(bit, pages)};
}
