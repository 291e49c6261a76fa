/*
 * mm/ -- physical memory, from the firmware's ranges to objects.
 *
 *     ranges        normalised: sorted, clipped, page-aligned, reserved wins     mm/page/ranges.h
 *       | early_alloc: tables, before the page heap opens                        mm/page/early.h
 *     page heap     bitmaps + radix tree of summaries; per-CPU windows           mm/page/page.h
 *       | runs of pages
 *     span          a run of granules with one purpose; any address finds it     mm/span/span.h
 *       | slots of one span class
 *     central       the spans of a class, for all CPUs; depot of full magazines  mm/slab/central.h
 *       | magazines
 *     magazine      this CPU's free slots of a class                             mm/slab/magazine.h
 *       |
 *     kmalloc, kmem_cache_alloc                                                  mm/slab/slab.h
 *
 *     stacks        addresses of their own, backed page by page                  mm/stack/stack.h
 *     collected     typed objects in spans of their own; marked and swept        mm/gc/gc.h
 *       heap        while the kernel runs
 *
 * Glossary: the words of the whole folder, one per thing.
 *   page      4 KiB of physical memory; the unit of the page heap
 *   granule   8 KiB, two pages; spans start on a granule and are whole granules
 *   chunk     512 pages = 2 MiB: the leaf of the page heap's radix tree
 *   arena     64 MiB, aligned: the unit in which tables are mapped
 *   node      memory and CPUs that are near each other; each has a page heap of its own
 *   span      a run of granules with one purpose
 *   slot      an equal piece of a span; an object is a slot in use
 *   magazine  an array of free slots of one span class; a CPU has two of each
 *   central   the spans of one span class, and its depots, in shards
 *   depot     full magazines of one span class, for any CPU
 *   token     what a free slot holds in its first word, and no object does
 *   kind      the spans of one size class whose slots have pointers at the same places (mm/gc)
 *   cycle     one collection: mark what can be reached, sweep what is not marked
 *   handshake each CPU in turn answers the collector, in an interrupt of its own
 *   drain     give back what caches hold: magazines to spans, empty spans and windows to the heap
 */
#pragma once

#include "kernel/base/base.h"

#define PAGE_BYTES    4096ul
#define GRANULE_PAGES 2ul
#define GRANULE_BYTES (GRANULE_PAGES * PAGE_BYTES)
#define CHUNK_PAGES   512ul
#define CHUNK_BYTES   (CHUNK_PAGES * PAGE_BYTES)
#define ARENA_BYTES   (64ul << 20)

/* The physical addresses that mm/ can manage: 46 bits. */
#define MM_PHYS_BITS  46
#define MM_PHYS_BYTES (1ul << MM_PHYS_BITS)

/* What old DMA engines reach: memory below is handed out last, unless asked for by a limit. */
#define MM_DMA_BYTES (16ul << 20)

enum mm_range_kind { MM_RANGE_USABLE, MM_RANGE_RESERVED };

/* A piece of the physical address space.  Bytes, as found: unsorted, unaligned, overlapping. */
struct mm_range {
    uint64_t base;
    uint64_t bytes;
    enum mm_range_kind kind;
};

/*
 * mm_early_init -- normalise `ranges` and open the early allocator.  Boot CPU, once, first.
 *   ranges    count as found; normalised in place into at most `capacity` usable ranges
 *   capacity  entries that the array has room for, >= 2 * count + 1
 * Panics with what is wrong when no usable page is left.
 */
void mm_early_init(struct mm_range *ranges, size_t count, size_t capacity);

/*
 * mm_init -- tables, page heap, spans, slab.  Boot CPU, once, after mm_early_init and when
 * port_table_reserve works.  Afterwards all of mm/ works and early_alloc is closed; of memory, as
 * much is open as start-up needs.
 */
void mm_init(void);

/*
 * mm_open -- open the memory that is left.  Once after mm_init, by as many CPUs as there are, each
 * of which calls this and does a share; when all have returned, all of memory is open.  Until then
 * the array given to mm_early_init stays.  Ordinary context.
 */
void mm_open(void);

/*
 * mm_give -- add physical [base, base + bytes) to the page heap: loader memory, boot-only sections.
 * Whole pages inside the range; in arenas that had usable memory (others are skipped).  When all of
 * memory is open.
 *   returns  pages added
 */
size_t mm_give(uint64_t base, uint64_t bytes);

/*
 * mm_drain -- give back all that caches hold on every CPU: magazines, empty spans, page windows,
 * empty descriptor pages.  Afterwards page_free_count() depends only on what is live.
 * Ordinary context.
 */
void mm_drain(void);

/*
 * mm_check -- walk every structure of mm/ and panic on a broken invariant.  Ordinary context, while
 * no other CPU allocates or frees.
 */
void mm_check(void);

/* Where memory is, in bytes.  ram = free + spans + pages + stacks + guards + descriptors + early +
   tables. */
struct mm_stats {
    size_t ram_bytes;        /* usable memory given to mm/, early part included */
    size_t free_bytes;       /* in the page heap, windows included */
    size_t window_bytes;     /* of these: in CPUs' page windows */
    size_t pending_bytes;    /* of these: freed, and not collected yet */
    size_t whole_chunks;     /* of these: chunks of 2 MiB that are free as a whole */
    size_t page_alloc_bytes; /* handed out by page_alloc to users other than mm/ */
    size_t stack_bytes;      /* stacks' pages, in use, kept and in reserve, and their tables */
    size_t span_bytes;       /* in spans: slots and large objects */
    size_t object_bytes;     /* of these: slots and large objects in use (slot sizes) */
    size_t magazine_bytes;   /* of these: free slots in CPUs' magazines, large objects kept */
    size_t depot_bytes;      /* of these: free slots in depots' magazines */
    size_t central_bytes;    /* of these: free slots in spans, tails included */
    size_t guard_objects;    /* in use in the guard pool: a number */
    size_t guard_bytes;      /* the guard pool: its pages, used or not, and its records */
    size_t meta_bytes;       /* tables, bitmaps, summaries, descriptors, magazines: all layers */
};
struct mm_stats mm_stats(void); /* ordinary; exact when nothing else runs */
