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
 * Without alignment, going down always succeeds: O(log memory), at most 16 entries a level.  Hints
 * say which chunks need no look for runs of this length (hints.h): the walk starts behind them, and
 * mostly ends in the chunk where it starts.  Within a chunk the bytes of its blocks lead to the run
 * at once (chunk.h).  One page, the commonest request, needs no carried run: the first entry of each
 * level with anything free is the one.
 *
 * A run of 512 pages is a whole chunk where there is one, and `whole` leads to the first: so a huge
 * page is cheap, breaks one chunk and makes one whole again.  Only then does it go where it fits.
 *
 * With alignment, max does not say whether a run inside is aligned.  An entry no larger than the
 * alignment can hold an aligned run only at its very start, which the carried run covers, so the
 * walk never goes down there.  In others a search may fail.  After FIND_TRIES such failures the
 * walk looks for a run that is long enough whatever its address (pages + align - 1), again
 * O(log memory).  Only where there is none, and memory is thus almost exhausted in this shape,
 * does it look at every candidate: what is free is found.  After the change to long runs, the
 * result need not be the lowest.
 */
#include "mm/page/chunk.h"
#include "mm/page/hints.h"

#define FIND_TRIES 32u /* chunks searched in vain before settling for a longer run */

struct find {
    const struct page_heap *heap;
    size_t pages;    /* wanted */
    size_t align;    /* pages */
    size_t from;     /* whole chunks: the run starts at or above */
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
    const struct summary *level_base = find->heap->levels[level];
    unsigned shift = page_level_shift(level);
    size_t full = 1ul << shift;

    for (size_t i = MAX(first, find->from >> shift); i < first + count && i << shift < find->limit;
         i++) {
        const struct summary *summary = &level_base[i];
        size_t base = i << shift;
        size_t at;

        if (summary->max == 0) {
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
        at = find_fit(find, find->run_base, find->run + summary->start);
        if (at != PAGE_NONE)
            return at;
        if (summary->start == full) {
            find->run += full;
            continue;
        }
        if (summary->max >= find->pages && find->align < full) {
            at = level == 0 ? find_in_chunk(find, i)
                            : find_in_level(find, level - 1, i << PAGE_FANOUT_SHIFT, PAGE_FANOUT);
            if (at != PAGE_NONE || find->tries == 0)
                return at;
        }
        find->run = summary->end;
        find->run_base = base + full - find->run;
    }
    return PAGE_NONE;
}

/* One walk over the root; *tries as struct find has it. */
static size_t find_walk(const struct page_heap *heap, size_t pages, size_t align, size_t from,
                        size_t limit, unsigned *tries)
{
    struct find find = {heap, pages, align, from, limit, 0, 0, *tries};
    size_t at = find_in_level(&find, heap->top, 0, heap->level_counts[heap->top]);

    *tries = find.tries;
    return at != PAGE_NONE && at + pages <= limit ? at : PAGE_NONE;
}

/* The first root entry from `i` on with anything free. */
static inline size_t find_root(const struct page_heap *heap, size_t i)
{
    const struct summary *root = heap->levels[heap->top];

    while (i < heap->level_counts[heap->top] && root[i].max == 0)
        i++;
    return i;
}

/*
 * The lowest chunk from `chunk` on with anything free; PAGE_NONE: none.  Down along the path to that
 * chunk, noting the last way off it to the right, until there is nothing on the path, or in it.
 */
static size_t find_some(const struct page_heap *heap, size_t chunk)
{
    unsigned level = heap->top, off_level = level;
    size_t here = chunk >> level * PAGE_FANOUT_SHIFT;
    size_t i = find_root(heap, here), off = here + 1;

    for (; i == here && level > 0; level--) {
        unsigned child = chunk >> (level - 1) * PAGE_FANOUT_SHIFT & (PAGE_FANOUT - 1);
        uint32_t some = heap->levels[level][i].some >> child;

        here = i << PAGE_FANOUT_SHIFT | child;
        if (some > 1) {
            off_level = level - 1;
            off = here + 1 + (unsigned)__builtin_ctz(some >> 1);
        }
        if ((some & 1) == 0)
            break;
        i = here;
    }
    if (i == here && level == 0)
        return chunk;
    if (i <= chunk >> level * PAGE_FANOUT_SHIFT) {
        level = off_level;
        i = level == heap->top ? find_root(heap, off) : off;
    }
    if (i == heap->level_counts[level])
        return PAGE_NONE;
    for (; level > 0; level--)
        i = i << PAGE_FANOUT_SHIFT | (unsigned)__builtin_ctz(heap->levels[level][i].some);
    return i;
}

/* The same with a chunk that is wholly free. */
static size_t find_whole(const struct page_heap *heap, size_t chunk)
{
    unsigned level = 0;
    size_t i = chunk;

    /* Upwards past what has none, each time to the right; then down to the first. */
    for (;; level++, i >>= PAGE_FANOUT_SHIFT) {
        size_t end = level < heap->top ? ALIGN_UP(i + 1, PAGE_FANOUT) : heap->level_counts[level];

        while (i < end && heap->levels[level][i].whole == 0)
            i++;
        if (i < end)
            break;
        if (i == heap->level_counts[level])
            return PAGE_NONE;
    }
    while (level > 0) {
        i <<= PAGE_FANOUT_SHIFT;
        level--;
        while (heap->levels[level][i].whole == 0)
            i++;
    }
    return i;
}

/* The first run of a chunk whose max is no less. */
static size_t find_long_in_chunk(const struct summary *chunk, size_t pages)
{
    size_t page = 0, run = 0; /* free pages below `page` */

    for (unsigned i = 0;; i++) {
        if (run + chunk->block_start.at[i] >= pages)
            return page - run;
        page += PAGE_BLOCK_PAGES;
        run = chunk->block_end.at[i] + (chunk->block_start.at[i] == PAGE_BLOCK_PAGES ? run : 0);
    }
}

static inline size_t find_run_in_chunk(const struct page_heap *heap, size_t index, size_t pages)
{
    const struct summary *chunk = &heap->levels[0][index];

    if (UNLIKELY(pages > PAGE_BLOCK_PAGES))
        return index * CHUNK_PAGES + find_long_in_chunk(chunk, pages);

    /* Of a block, what is inside comes before what goes across its end. */
    uint64_t inside = bytes_at_least(chunk->block_max.word, pages);
    uint64_t across = bytes_at_least(page_chunk_joints(chunk), pages);
    uint64_t here = inside | across;
    unsigned i = (unsigned)__builtin_ctzll(here) / 8;
    size_t block = index * PAGE_CHUNK_BLOCKS + i;

    if ((inside & here & -here) == 0)
        return (block + 1) * PAGE_BLOCK_PAGES - chunk->block_end.at[i];

    uint64_t starts = bits_run_starts(page_block_free(&heap->blocks[block]), pages);

    return block * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(starts);
}

struct find_at {
    unsigned level;
    size_t i;   /* the entry of that level where the walk stands */
    size_t run; /* the carried run: free pages below it */
};

/* Along entries [at->i, end) of one level; true: the run is carried or inside, at->i. */
static ALWAYS_INLINE bool find_along(const struct page_heap *heap, struct find_at *at, size_t end,
                                     size_t pages)
{
    const struct summary *summary = &heap->levels[at->level][at->i];
    size_t full = 1ul << page_level_shift(at->level);

    for (; at->i < end; at->i++, summary++) {
        if (at->run + summary->start >= pages || summary->max >= pages)
            return true;
        at->run = summary->end + (summary->end == full ? at->run : 0);
    }
    return false;
}

/* The walk for runs at any address, from page `from` on, the first of a chunk that has none. */
static NOINLINE size_t find_run_on(const struct page_heap *heap, size_t pages, size_t from)
{
    struct find_at at = {.level = heap->top};

    if (pages == 1) {
        size_t chunk = find_some(heap, from >> PAGE_CHUNK_SHIFT);

        return chunk == PAGE_NONE ? PAGE_NONE : find_run_in_chunk(heap, chunk, 1);
    }

    /* From the root towards `from` as far as there is hope; on from there, to the right and up. */
    while (at.level > 0 && heap->levels[at.level][from >> page_level_shift(at.level)].max >= pages)
        at.level--;
    at.i = from >> page_level_shift(at.level);
    at.run =
        MIN(heap->levels[at.level][at.i].end, ((at.i + 1) << page_level_shift(at.level)) - from);
    at.i++;
    while (!find_along(heap, &at,
                       at.level == heap->top ? heap->level_counts[at.level]
                                             : ALIGN_UP(at.i, PAGE_FANOUT),
                       pages)) {
        if (at.level == heap->top)
            return PAGE_NONE;
        at.level++;
        at.i >>= PAGE_FANOUT_SHIFT;
    }

    /* Down to where it is, which is certain now. */
    for (;;) {
        if (at.run + heap->levels[at.level][at.i].start >= pages)
            return (at.i << page_level_shift(at.level)) - at.run;
        if (at.level == 0)
            return find_run_in_chunk(heap, at.i, pages);
        at.level--;
        at.i <<= PAGE_FANOUT_SHIFT;
        find_along(heap, &at, SIZE_MAX, pages);
    }
}

/* The first run at or above page `from`, the first of a chunk. */
static inline size_t find_run(const struct page_heap *heap, size_t pages, size_t from)
{
    size_t chunk = from >> PAGE_CHUNK_SHIFT;

    return heap->levels[0][chunk].max >= pages ? find_run_in_chunk(heap, chunk, pages)
                                               : find_run_on(heap, pages, from);
}

/* Likewise, at any alignment, and where it ends counts. */
static NOINLINE size_t find_aligned(const struct page_heap *heap, size_t pages, size_t align,
                                    size_t from, size_t limit)
{
    unsigned tries = FIND_TRIES;
    size_t at = find_walk(heap, pages, align, from, limit, &tries);
    if (at != PAGE_NONE || tries > 0)
        return at;
    at = find_run(heap, pages + align - 1, from);
    if (at != PAGE_NONE && ALIGN_UP(at, align) + pages <= limit)
        return ALIGN_UP(at, align);
    tries = UINT32_MAX;
    return find_walk(heap, pages, align, from, limit, &tries);
}

size_t page_heap_find_above(struct page_heap *heap, size_t pages, size_t align, size_t from,
                            size_t limit)
{
    bool is_lowest = from == heap->floor && align == 1;
    size_t at;

    DCHECK(port_lock_is_held(&heap->lock));
    limit = MIN(limit, heap->page_limit);
    if (pages == 0 || pages > limit || pages > heap->free_pages)
        return PAGE_NONE;
    if (from >= heap->floor)
        from = MAX(from, heap->hints[page_hint_of(pages)] * CHUNK_PAGES);
    if (from >= limit)
        return PAGE_NONE;
    if (pages == CHUNK_PAGES && align <= CHUNK_PAGES && from >= PAGE_DMA_PAGES) {
        at = find_whole(heap, from / CHUNK_PAGES);
        if (at < limit / CHUNK_PAGES)
            return at * CHUNK_PAGES;
    }
    if (align > 1) {
        align = MIN(align, MM_PHYS_BYTES / PAGE_BYTES); /* beyond, only page 0 is, as here */
        return find_aligned(heap, pages, align, from, limit);
    }
    at = find_run(heap, pages, from);
    if (is_lowest && at - from >= CHUNK_PAGES)
        page_hint_raise(heap, pages, MIN(at, heap->page_limit) / CHUNK_PAGES);
    return at != PAGE_NONE && at + pages <= limit ? at : PAGE_NONE;
}

size_t page_heap_find(struct page_heap *heap, size_t pages, size_t align, size_t limit)
{
    size_t at = page_heap_find_above(heap, pages, align, PAGE_DMA_PAGES, limit);

    return at != PAGE_NONE ? at : page_heap_find_above(heap, pages, align, 0, limit);
}
