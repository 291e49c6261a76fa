/*
 * A page heap: bitmaps and the tree of summaries over them, for pages that are numbers.  Nothing
 * here touches the pages themselves, so tests build heaps over memory that does not exist.  The
 * kernel has one for each node (nodes.h), behind mm/page/page.h; the theory stands in page_heap.c.
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

#define PAGE_FANOUT_SHIFT 4u /* a summary covers 16 of the level below */
#define PAGE_FANOUT       (1ul << PAGE_FANOUT_SHIFT)
#define PAGE_CHUNK_SHIFT  9u /* log2 CHUNK_PAGES */
#define PAGE_LEVELS       7u /* the highest has at most 16 entries, each of 2^(9 + 6 * 4) pages */

#define PAGE_HINTS 36u /* lengths of which a heap remembers where no run is (hints.h) */

#define PAGE_NONE SIZE_MAX /* no page */

/*
 * 64 pages, in one cache line.  A page is free (in the heap, or in a window), or taken, or absent:
 * no memory of the heap's.  16 KiB an arena, 0.024 % of memory.
 *
 * A block is held while a CPU has its free pages in its window (page_window.c): `free` is 0, the
 * heap hands out nothing of it.  Which pages are free in the window, and what is joined, is what the
 * holder has published last.
 *
 * Pages that are freed without the heap's lock (pending.c), or to the heap while their block is
 * held, are remote until somebody collects them: any who has the lock, the holder of a held block.
 *
 * joined: this page continues the run of the page before it.  Of a run that is handed out the first
 * page is not joined and all others are; free pages are not (remote ones may be).  So a free is
 * right when it is of a page that is not joined, of all that follow and are, and of no more and no
 * fewer: anything else shows, a wrong length too.
 */
struct page_block {
    _Atomic uint64_t free;    /* [A] bit: in the heap, P1; written under the lock, relaxed */
    _Atomic uint64_t present; /* [A] bit: belongs to the heap; written under the lock, relaxed */
    _Atomic uint64_t
        joined; /* [A] bit: as said above, P7; under the lock, relaxed; held: as published last */
    _Atomic uint64_t zero;      /* [A] bit: known to be zero, if free; relaxed */
    _Atomic uint64_t scavenged; /* [A] bit: given to the hypervisor, P8; under the lock, relaxed */
    _Atomic uint64_t window; /* [A] bit: free in the holder's window, as published last; relaxed */
    _Atomic uint64_t remote; /* [A] bit: freed, not collected; set by any, acquire / release */
    _Atomic uint64_t holder; /* [A] CPU + 1 whose window this is, 0: none; under the lock,
                                   release / acquire: publishes joined */
};

/* What requests without a claim to it cannot take (reserve.h). */
struct page_reserve {
    size_t pages;      /* PAGE_RESERVE's: free pages that ordinary requests leave */
    size_t low_end;    /* pages [0, low_end): devices', below 16 MiB; whole chunks */
    size_t device_end; /* pages [PAGE_DMA_PAGES, device_end): devices', below 4 GiB; likewise */
};

/* What idle CPUs have seen of the heap in search of pages to clear (zero.c). */
enum page_zero_news {
    PAGE_ZERO_SEEN,  /* nothing has become free since all was looked at */
    PAGE_ZERO_LOOKS, /* nothing since the pass began that is under way */
    PAGE_ZERO_NEWS,  /* something has */
};

struct page_zero_pass {
    _Atomic uint8_t news; /* [L] enum page_zero_news; read by any, relaxed */
    size_t next, end;     /* [L] chunks [next, end) are to be looked at */
    size_t start;         /* [L] then those below, from the lowest that is not devices' */
};

/*
 * Lock letters: [C] constant once placed; [L] lock.
 *
 * Invariants, each tested by page_heap_check() under its own name:
 *   P1  a free page is present, and free in one of `free`, `window` and `remote`
 *   P2  every summary says what the bits, or the summaries, below it say
 *   P3  free_pages and present_pages are the numbers of those bits
 *   P4  no free run of page_hint_pages(k) pages or more starts in chunks from the floor to below
 *       hints[k], which grow with k (hints.h); what lies below the floor does not count
 *   P5  a block that is held has no bit in `free`, one that is not has none in `window`
 *   P6  is the windows' (page_window.c)
 *   P7  a free page is not joined, and one that is joined is present
 *   P8  a scavenged page is free in the heap, and scavenged_pages is the number of those bits
 */
struct page_heap {
    port_lock_t lock;
    struct page_block *blocks;           /* [C] by page number / 64 */
    struct summary *levels[PAGE_LEVELS]; /* [C] [0] by chunk, [top]: the root's entries */
    size_t level_counts[PAGE_LEVELS];    /* [C] entries, in whole groups of PAGE_FANOUT */
    unsigned top;                        /* [C] the root's level */
    size_t page_limit;                   /* [C] above the highest page, whole arenas */
    size_t floor;                        /* [C] after start-up: ordinary memory, whole chunks */
    uint32_t hints[PAGE_HINTS];          /* [L] chunks, P4 */
    size_t free_pages;                   /* [L] P3; held blocks do not count */
    size_t present_pages;                /* [L] P3 */
    size_t scavenged_pages;              /* [L] P8 */
    size_t flight_pages;                 /* [L] taken by the scavenger, and soon free again */
    size_t remote_pages;             /* [L] P10 (pending.c), less what CPUs count; modulo 2^64 */
    uint64_t lock_count;             /* [L] acquisitions of the lock */
    struct page_reserve reserve;     /* [C] after start-up */
    _Atomic size_t zero_pages;       /* [L] known to be zero (zero.h); read by any, relaxed */
    _Atomic size_t zero_low;         /* [L] block: none is looked for below; likewise */
    size_t zero_limit;               /* [C] after start-up: idle CPUs clear no more than that */
    struct page_zero_pass zero_pass; /* [L] of idle CPUs over the heap */
};

size_t page_table_bytes(
    void); /* what the tables of the kernel's heaps take, page tables included */

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

static inline unsigned long page_heap_lock(struct page_heap *heap)
{
    unsigned long irq_state = port_lock(&heap->lock);

    heap->lock_count++;
    return irq_state;
}

static inline void page_heap_unlock(struct page_heap *heap, unsigned long irq_state)
{
    port_unlock(&heap->lock, irq_state);
}

/* ---- With the lock held ---- */

/* Ordinary requests are served from here on, the first page of a chunk; at first 16 MiB. */
void page_heap_set_floor(struct page_heap *heap, size_t page);

/* Pages [page, page + pages), absent so far, are the heap's and free. */
void page_heap_add(struct page_heap *heap, size_t page, size_t pages);

/*
 * page_heap_find -- the first free run, by address, memory below 16 MiB last.
 *   align    a power of two, in pages
 *   limit    page number at or below which the run ends; PAGE_NONE: anywhere
 *   returns  its first page, or PAGE_NONE
 */
size_t page_heap_find(struct page_heap *heap, size_t pages, size_t align, size_t limit);

/* The same, of runs that start at or above `from`, the first page of a chunk. */
size_t page_heap_find_above(struct page_heap *heap, size_t pages, size_t align, size_t from,
                            size_t limit);

/*
 * page_heap_take -- hand out pages [page, page + pages), all of them free (CHECKed), as one run.
 *   returns  how many of them were known to be zero, of which the heap knows nothing any more
 */
size_t page_heap_take(struct page_heap *heap, size_t page, size_t pages);

/*
 * page_heap_put -- take back a run that page_heap_take handed out.
 *   page, pages  below page_limit, pages > 0
 * Those of its pages that lie in blocks that are held become remote there.
 *   returns      false, and nothing has changed: this is not one run, whole; page_heap_fault says why
 */
bool page_heap_put(struct page_heap *heap, size_t page, size_t pages);

/* Whether that is one run, whole; *is_held: some of it lies in blocks that are (published). */
bool page_heap_is_run(const struct page_heap *heap, size_t page, size_t pages, bool *is_held);

/* page_heap_put of a run that is a whole chunk; false: it is not (is_chunk), or some of it is held. */
bool page_heap_put_whole(struct page_heap *heap, size_t page);
bool page_heap_is_chunk(const struct page_heap *heap, size_t page);

/*
 * page_heap_hold -- a CPU's window takes all free pages of a block, not held so far (CHECKed): they
 * are its `window` now.
 * page_heap_release -- it gives them back, as `window` has them, and the remote ones with them.
 */
void page_heap_hold(struct page_heap *heap, size_t index, unsigned cpu);
void page_heap_release(struct page_heap *heap, size_t index);

/* The remote pages of a block, if it is not held, are free in the heap. */
void page_heap_collect(struct page_heap *heap, size_t index);

/* Pages [page, end). */
struct page_run {
    size_t page, end;
};

/*
 * page_heap_fault -- why [page, page + pages) is not a run that may be freed, in a few words; NULL:
 * it is one.
 *   run  receives the run that `page` belongs to; empty when it is not handed out
 */
const char *page_heap_fault(const struct page_heap *heap, size_t page, size_t pages,
                            struct page_run *run);

void page_heap_check(const struct page_heap *heap); /* panics, naming the invariant */
size_t page_heap_whole_chunks(const struct page_heap *heap);
size_t page_heap_largest_run(const struct page_heap *heap);

/*
 * Bits of a block, not held, have become free in the heap and are in its `free`, which was `before`:
 * summaries and hints (page_put.c).
 */
void page_heap_join_bits(struct page_heap *heap, size_t index, uint64_t before, uint64_t bits);

/* ---- Summaries (page_tree.c); the lock is held ---- */

/*
 * The summary of a chunk has changed, as bits of it were set, or cleared: the same above it.
 *   run        the free run that came to be, or that was cut, as far as the chunk
 *   page, end  the part of it that is free no longer
 */
void page_tree_grow(struct page_heap *heap, struct page_run run);
void page_tree_shrink(struct page_heap *heap, struct page_run run, size_t page, size_t end);

/* The summary of a chunk was `was`, and has changed in whatever way: the same above it. */
void page_tree_change(struct page_heap *heap, size_t chunk, const struct summary *was);

/* Bits of [page, page + pages) have changed in whatever way: all of it. */
void page_tree_recompute(struct page_heap *heap, size_t page, size_t pages);

/*
 * The whole free run of which `run`, as far as its chunks, is a part; or from its beginning as much
 * of it as a chunk.
 */
struct page_run page_tree_extend(const struct page_heap *heap, struct page_run run);

/* What the level below says that entry `index` of `level` is. */
struct summary page_tree_summary(const struct page_heap *heap, unsigned level, size_t index);

/* ---- Inline ---- */

/* Known to be zero; windows' do not count.  Any context. */
static inline size_t page_heap_zero_pages(const struct page_heap *heap)
{
    return atomic_load_explicit(&heap->zero_pages, memory_order_relaxed);
}

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

static inline uint64_t page_block_joined(const struct page_block *block)
{
    return atomic_load_explicit(&block->joined, memory_order_relaxed);
}

static inline uint64_t page_block_window(const struct page_block *block)
{
    return atomic_load_explicit(&block->window, memory_order_relaxed);
}

static inline uint64_t page_block_remote(const struct page_block *block)
{
    return atomic_load_explicit(&block->remote, memory_order_acquire);
}

static inline uint64_t page_block_scavenged(const struct page_block *block)
{
    return atomic_load_explicit(&block->scavenged, memory_order_relaxed);
}

static inline uint64_t page_block_zero(const struct page_block *block)
{
    return atomic_load_explicit(&block->zero, memory_order_relaxed);
}

static inline void page_block_write_zero(struct page_block *block, uint64_t bits)
{
    atomic_store_explicit(&block->zero, bits, memory_order_relaxed);
}

static inline void page_block_set_free(struct page_block *block, uint64_t bits)
{
    atomic_store_explicit(&block->free, bits, memory_order_relaxed);
}

static inline void page_block_set_joined(struct page_block *block, uint64_t bits)
{
    atomic_store_explicit(&block->joined, bits, memory_order_relaxed);
}

static inline void page_block_set_window(struct page_block *block, uint64_t bits)
{
    atomic_store_explicit(&block->window, bits, memory_order_relaxed);
}

static inline bool page_block_is_held(const struct page_block *block)
{
    return atomic_load_explicit(&block->holder, memory_order_acquire) != 0;
}

/* Pages that are handed out. */
static inline uint64_t page_block_taken(const struct page_block *block)
{
    return page_block_present(block) &
           ~(page_block_free(block) | page_block_window(block) | page_block_remote(block));
}

/* Whether the pages of `mask`, side by side, and none behind, are one run, by these joined bits. */
static inline bool page_bits_are_run(uint64_t joined, uint64_t mask)
{
    return (joined & (mask | mask << 1)) == (mask & mask << 1);
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

/* So many pages have become free; the lock is held. */
static inline void page_heap_count_free(struct page_heap *heap, size_t pages)
{
    heap->free_pages += pages;
    atomic_store_explicit(&heap->zero_pass.news, PAGE_ZERO_NEWS, memory_order_relaxed);
}

/* The same, of what is known to be zero: how many of them were. */
static inline size_t page_block_unzero(struct page_heap *heap, struct page_block *block,
                                       uint64_t mask)
{
    uint64_t zero = page_block_zero(block);

    if (LIKELY((zero & mask) == 0))
        return 0;

    size_t pages = bits_count(zero & mask);

    page_block_write_zero(block, zero & ~mask);
    atomic_store_explicit(&heap->zero_pages, page_heap_zero_pages(heap) - pages,
                          memory_order_relaxed);
    return pages;
}

/* A page that is free has been freed once more, by a CPU that did not see that it was (pending.c). */
NORETURN void page_freed_twice(const struct page_heap *heap, const struct page_block *block,
                               uint64_t twice);

static inline void page_check_freed_once(const struct page_heap *heap,
                                         const struct page_block *block, uint64_t free)
{
    if (UNLIKELY((free & page_block_remote(block)) != 0))
        page_freed_twice(heap, block, free & page_block_remote(block));
}

/* Take the pages of a block's `remote`, none of which is in `free` (else a panic); returns them. */
static inline uint64_t page_heap_fetch_remote(struct page_heap *heap, struct page_block *block,
                                              uint64_t free)
{
    uint64_t remote = atomic_exchange_explicit(&block->remote, 0, memory_order_acq_rel);

    if (UNLIKELY((free & remote) != 0))
        page_freed_twice(heap, block, free & remote);
    heap->remote_pages -= bits_count(remote);
    return remote;
}

/* Whether a page is handed out, in the run of the page before it. */
static inline bool page_continues_run(const struct page_heap *heap, size_t page)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];

    return (page_block_taken(block) & page_block_joined(block)) >> page % PAGE_BLOCK_PAGES & 1;
}

/*
 * The blocks of pages [page, end), page < end:
 *     for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk))
 */
struct page_walk {
    size_t index, last; /* blocks */
    uint64_t mask;      /* the pages of block `index` */
    uint64_t last_mask;
};

static inline struct page_walk page_walk(size_t page, size_t end)
{
    struct page_walk walk = {page / PAGE_BLOCK_PAGES, (end - 1) / PAGE_BLOCK_PAGES,
                             ~0ull << page % PAGE_BLOCK_PAGES,
                             ~0ull >> (PAGE_BLOCK_PAGES - 1 - (end - 1) % PAGE_BLOCK_PAGES)};

    if (walk.index == walk.last)
        walk.mask &= walk.last_mask;
    return walk;
}

static inline bool page_walk_on(const struct page_walk *walk)
{
    return walk->index <= walk->last;
}

static inline void page_walk_next(struct page_walk *walk)
{
    walk->mask = ++walk->index == walk->last ? walk->last_mask : ~0ull;
}
