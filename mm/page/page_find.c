/*
 * Finding a run in the page heap's tree: address-ordered first fit.
 *
 * The walk goes over the entries of a level from low to high addresses and carries the free run
 * that ends where it stands.  An entry's start lengthens that run, which may now be long enough;
 * if not, and the entry's max is, the run is inside: the walk goes down.  Otherwise the run
 * continues with the entry's end.
 *
 *     carried run  |  entry: ####......######..##   ->  carried run is now its end
 *     ........#####|#### joined: long enough?
 *
 * Without alignment, going down always succeeds: O(log memory), plus one word per root entry.
 *
 * With alignment, max does not say whether a run inside is aligned.  An entry no larger than the
 * alignment can hold an aligned run only at its very start, which the carried run covers, so the
 * walk never goes down there.  In others a search may fail.  After FIND_TRIES such failures the
 * walk looks for a run that is long enough whatever its address (pages + align - 1), again
 * O(log memory).  Only where there is none, and memory is thus almost exhausted in this shape,
 * does it look at every candidate: what is free is found.  After the change to long runs, the
 * result need not be the lowest.
 */
#include "mm/page/page_heap.h"

#define FIND_TRIES 32u /* chunks searched in vain before settling for a longer run */

struct find {
    const struct page_heap *heap;
    size_t pages;    /* wanted */
    size_t align;    /* pages */
    size_t from;     /* 0 or PAGE_DMA_PAGES: the run starts at or above */
    size_t limit;    /* no use in looking at or above this page */
    size_t run_base; /* the carried run: its first page, if run > 0 */
    size_t run;      /* and its length */
    unsigned tries;  /* searches that may still fail; 0: given up */
};

/* Where in the free run the wanted pages fit; PAGE_NONE: nowhere. */
static inline size_t find_fit(const struct find *find, size_t run_base, size_t run)
{
    size_t at = ALIGN_UP(run_base, find->align);

    return at + find->pages <= run_base + run ? at : PAGE_NONE;
}

/* The same walk, over the words of one chunk. */
static size_t find_in_chunk(struct find *find, size_t chunk)
{
    const struct page_block *blocks = &find->heap->blocks[chunk * PAGE_CHUNK_BLOCKS];
    uint64_t aligned = bits_aligned(MIN(find->align, PAGE_BLOCK_PAGES));
    size_t run_base = 0, run = 0;

    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        uint64_t free = page_block_free(&blocks[i]);
        size_t base = chunk * CHUNK_PAGES + i * PAGE_BLOCK_PAGES;

        if (free == 0) {
            run = 0;
            continue;
        }
        if (run == 0)
            run_base = base;

        size_t at = find_fit(find, run_base, run + bits_low_run(free));

        if (at != PAGE_NONE)
            return at;
        if (~free == 0) {
            run += PAGE_BLOCK_PAGES;
            continue;
        }
        if (find->pages < PAGE_BLOCK_PAGES && find->align < PAGE_BLOCK_PAGES) {
            uint64_t starts = bits_run_starts(free, find->pages) & aligned;

            if (starts != 0)
                return base + (unsigned)__builtin_ctzll(starts);
        }
        run = bits_high_run(free);
        run_base = base + PAGE_BLOCK_PAGES - run;
    }
    find->tries--;
    return PAGE_NONE;
}

/* Entries [first, first + count) of a level. */
static size_t find_in_level(struct find *find, unsigned level, size_t first, size_t count)
{
    const summary_t *level_base = find->heap->levels[level];
    unsigned shift = page_level_shift(level);
    size_t full = 1ul << shift;

    for (size_t i = first; i < first + count && i << shift < find->limit; i++) {
        summary_t summary = level_base[i];
        size_t base = i << shift;
        size_t start = summary_start(summary);
        size_t at;

        if (summary == 0 || base + full <= find->from) {
            find->run = 0;
            continue;
        }
        if (base < find->from) { /* part of it does not count: ask below */
            at = find_in_level(find, level - 1, i << PAGE_FANOUT_SHIFT, PAGE_FANOUT);
            if (at != PAGE_NONE || find->tries == 0)
                return at;
            continue;
        }
        if (find->run == 0)
            find->run_base = base;
        at = find_fit(find, find->run_base, find->run + start);
        if (at != PAGE_NONE)
            return at;
        if (start == full) {
            find->run += full;
            continue;
        }
        if (summary_max(summary) >= find->pages && find->align < full) {
            at = level == 0 ? find_in_chunk(find, i)
                            : find_in_level(find, level - 1, i << PAGE_FANOUT_SHIFT, PAGE_FANOUT);
            if (at != PAGE_NONE || find->tries == 0)
                return at;
        }
        find->run = summary_end(summary);
        find->run_base = base + full - find->run;
    }
    return PAGE_NONE;
}

/* One walk over the root; *tries as struct find has it. */
static size_t find_walk(const struct page_heap *heap, size_t pages, size_t align, size_t from,
                        size_t limit, unsigned *tries)
{
    struct find find = {heap, pages, align, from, limit, 0, 0, *tries};
    size_t first = from == 0 ? 0 : heap->low >> page_level_shift(heap->top);
    size_t count = heap->level_counts[heap->top];
    size_t at = PAGE_NONE;

    if (first < count)
        at = find_in_level(&find, heap->top, first, count - first);
    *tries = find.tries;
    return at != PAGE_NONE && at + pages <= limit ? at : PAGE_NONE;
}

/* The first run at or above `from` that ends at or below `limit`. */
static size_t find_above(const struct page_heap *heap, size_t pages, size_t align, size_t from,
                         size_t limit)
{
    unsigned tries = FIND_TRIES;
    size_t at = find_walk(heap, pages, align, from, limit, &tries);

    if (at != PAGE_NONE || tries > 0)
        return at;

    size_t longer = pages + align - 1;

    tries = FIND_TRIES;
    at = find_walk(heap, longer, 1, from, limit, &tries);
    if (at != PAGE_NONE)
        return ALIGN_UP(at, align);

    tries = UINT32_MAX;
    return find_walk(heap, pages, align, from, limit, &tries);
}

size_t page_heap_find(struct page_heap *heap, size_t pages, size_t align, size_t limit)
{
    size_t at = PAGE_NONE;

    DCHECK(port_lock_is_held(&heap->lock));
    align = MIN(align, MM_PHYS_BYTES / PAGE_BYTES); /* beyond, only page 0 is aligned, as here */
    limit = MIN(limit, heap->page_limit);
    if (pages == 0 || pages > limit || pages > heap->free_pages)
        return PAGE_NONE;
    if (limit > PAGE_DMA_PAGES)
        at = find_above(heap, pages, align, PAGE_DMA_PAGES, limit);
    if (at == PAGE_NONE)
        return find_above(heap, pages, align, 0, limit);
    if (pages == 1 && align == 1)
        heap->low = at;
    return at;
}
