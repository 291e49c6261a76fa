/*
 * The tree of summaries: keeping it true at the price of what changes.
 *
 * Idea.  Freeing pages makes one free run longer and leaves all others alone; taking pages cuts
 * one.  So nothing need be counted anew: it is enough to know that run.
 *
 *     chunk      ..##.....##RRRR##....     R: freed; the run is the 8 pages around
 *     summary    start, end: if the run reaches there; max: if the run is longer
 *
 * Then one level up.  Where the run ends within the stretch, it is the same run there; where it
 * reaches the stretch's edge, it goes on with the end, or the start, of the neighbours, which are
 * children of the same node.  As soon as a summary stays as it was, so do all above.
 *
 * Taking is the same with the run as it was before: start and end are cut, and max is counted anew
 * only if that run was as long as max, looking at the 16 children, and no further than until another
 * run of that length shows up.  Pages that are handed out singly, by address, mostly leave max alone.
 * Another run cannot be longer than all that this one leaves; where it was most of the stretch,
 * nobody has to look.  Where nothing is left in a node, there is nothing to count.
 *
 * The chunk's own summary is changed by those who change its bits (page_take.c, page_put.c, chunk.h);
 * here is what follows above it.  Bits here and there in a block change a chunk in whatever way, and
 * a node is counted anew where that shows.  A run of many chunks takes the plain way: what lies
 * wholly inside is a constant, the rest is recomputed from below.
 *
 * Cost, with 16 children a node and at most seven levels: grow some 60 instructions a level, mostly
 * one level; shrink as many, and up to 130 more where it counts.  Locks: the caller's, PAGE_HEAP.
 */
#include "mm/page/chunk.h"

/* ---- Recomputing ---- */

size_t page_chunk_longest_full(const struct summary *chunk)
{
    size_t max = 0, run = 0;

    for (unsigned i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        run += chunk->block_start.at[i];
        max = MAX(max, run);
        if (chunk->block_start.at[i] == PAGE_BLOCK_PAGES)
            continue;
        max = MAX(max, chunk->block_max.at[i]);
        run = chunk->block_end.at[i];
    }
    return max;
}

static struct summary page_chunk_summary(const struct page_block *blocks)
{
    struct summary chunk = {.start = 0};
    uint64_t any = 0, all = ~0ull;

    for (unsigned i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        any |= page_block_free(&blocks[i]);
        all &= page_block_free(&blocks[i]);
    }
    if (any == 0 || ~all == 0) {
        page_chunk_fill(&chunk, any == 0 ? 0 : PAGE_BLOCK_PAGES);
        return chunk;
    }
    for (unsigned i = 0; i < PAGE_CHUNK_BLOCKS; i++)
        page_chunk_set(&chunk, i, page_block_free(&blocks[i]));
    page_chunk_sum(&chunk);
    return chunk;
}

struct summary page_tree_summary(const struct page_heap *heap, unsigned level, size_t index)
{
    if (level == 0)
        return page_chunk_summary(&heap->blocks[index * PAGE_CHUNK_BLOCKS]);
    return summary_merge(&heap->levels[level - 1][index << PAGE_FANOUT_SHIFT], PAGE_FANOUT,
                         1ul << page_level_shift(level - 1));
}

void page_tree_recompute(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    for (unsigned level = 0; level <= heap->top; level++) {
        size_t first = page >> page_level_shift(level);
        size_t last = (end - 1) >> page_level_shift(level);
        bool has_changed = false;

        for (size_t i = first; i <= last; i++) {
            struct summary *summary = &heap->levels[level][i];
            struct summary now = page_tree_summary(heap, level, i);

            has_changed |= !summary_is_equal(summary, &now);
            *summary = now;
        }
        if (!has_changed)
            return;
    }
}

/*
 * Longest run below a node, whose level below is right.  At least `least`, from [known.page,
 * known.end), where nobody need look; not worth to look on once it is `most`.
 */
static size_t page_node_longest(const struct page_heap *heap, unsigned level, size_t index,
                                size_t least, size_t most, struct page_run known)
{
    const struct summary *child = &heap->levels[level - 1][index << PAGE_FANOUT_SHIFT];
    size_t max = least, run = 0;

    if (heap->levels[level][index].whole == 0) {
        /* None of the children is free as a whole: a run has part in two of them at most. */
#pragma GCC unroll 4
        for (unsigned i = 0; i < PAGE_FANOUT; i++, child++) {
            max = MAX(max, run + child->start);
            if (child->max > max) {
                max = child->max;
                if (max >= most)
                    break;
            }
            run = child->end;
        }
        return max;
    }

    unsigned shift = page_level_shift(level - 1);
    size_t page = index << page_level_shift(level), end = page + (PAGE_FANOUT << shift);

    known.page = ALIGN_UP(known.page, 1ul << shift);
    for (; page < end && max < most; page += 1ul << shift, child++) {
        if (page == known.page && page + (1ul << shift) <= known.end) {
            size_t children = (known.end - page) >> shift;

            page += (children - 1) << shift;
            child += children - 1;
            run = 0;
            continue;
        }
        run += child->start;
        max = MAX(max, run);
        if (child->start == 1ul << shift)
            continue;
        max = MAX(max, child->max);
        run = child->end;
    }
    return max;
}

/* ---- Runs ---- */

/* Free pages just below an entry, and just above it, as far as siblings are free as a whole. */
static NOINLINE size_t page_free_below_entry(const struct summary *entry, size_t full)
{
    size_t pages = 0;

    do
        pages += (--entry)->end;
    while (entry->end == full);
    return pages;
}

static NOINLINE size_t page_free_above_entry(const struct summary *entry, size_t full)
{
    size_t pages = 0;

    do
        pages += (++entry)->start;
    while (entry->start == full);
    return pages;
}

/* The same, mostly at once: the sibling is not free as a whole. */
static inline size_t page_below_entry(const struct summary *entry, size_t full)
{
    return LIKELY(entry[-1].end != full) ? entry[-1].end : page_free_below_entry(entry, full);
}

static inline size_t page_above_entry(const struct summary *entry, size_t full)
{
    return LIKELY(entry[1].start != full) ? entry[1].start : page_free_above_entry(entry, full);
}

struct page_run page_tree_extend(const struct page_heap *heap, struct page_run run)
{
    unsigned level = 0, shift = PAGE_CHUNK_SHIFT;

    /* By entries that are free as a whole, the larger the better; then part of one. */
    while (run.page > 0 && IS_ALIGNED(run.page, 1ul << shift)) {
        size_t more = heap->levels[level][(run.page >> shift) - 1].end;

        run.page -= more;
        if (more < 1ul << shift)
            break;
        if (level < heap->top && IS_ALIGNED(run.page, PAGE_FANOUT << shift)) {
            level++;
            shift += PAGE_FANOUT_SHIFT;
        }
    }
    if (run.end - run.page < CHUNK_PAGES && run.end % CHUNK_PAGES == 0 &&
        run.end < heap->page_limit)
        run.end += heap->levels[0][run.end / CHUNK_PAGES].start;
    return run;
}

/* ---- Upwards from a chunk ---- */

/* On each level the run reaches the edge of its node if what was free at that edge reaches the run. */
void page_tree_grow(struct page_heap *heap, struct page_run run)
{
    uint32_t whole = run.end - run.page == CHUNK_PAGES;
    size_t index = run.page >> PAGE_CHUNK_SHIFT, full = CHUNK_PAGES;

    for (unsigned level = 0; level < heap->top; level++, full <<= PAGE_FANOUT_SHIFT) {
        const struct summary *entry = &heap->levels[level][index];
        struct summary *node = &heap->levels[level + 1][index >> PAGE_FANOUT_SHIFT];
        size_t base = ALIGN_DOWN(run.page, full << PAGE_FANOUT_SHIFT);
        size_t top = base + (full << PAGE_FANOUT_SHIFT);
        bool is_first = node->start >= run.page - base, is_last = node->end >= top - run.end;
        uint32_t some = node->some | 1u << index % PAGE_FANOUT;

        if (is_first)
            run.page = base;
        else if (IS_ALIGNED(run.page, full))
            run.page -= page_below_entry(entry, full);
        if (is_last)
            run.end = top;
        else if (IS_ALIGNED(run.end, full))
            run.end += page_above_entry(entry, full);

        size_t pages = run.end - run.page;
        bool is_changed = is_first | is_last | (some ^ node->some) | whole;

        if (is_first)
            node->start = pages;
        if (is_last)
            node->end = pages;
        node->whole += whole;
        node->some = some;
        if (pages > node->max)
            node->max = pages;
        else if (!is_changed)
            return;
        index >>= PAGE_FANOUT_SHIFT;
    }
}

/*
 * Entry *index of a level, in which nothing is free now, was the last with anything free below its
 * node; likewise that one, and so on.  Returns the level of the first of which that is not so, and
 * its index; the root's level: none.
 */
static inline unsigned page_tree_empty(struct page_heap *heap, size_t *index)
{
    unsigned level = 0;

    for (; level < heap->top; level++) {
        struct summary *parent = &heap->levels[level + 1][*index >> PAGE_FANOUT_SHIFT];

        parent->some &= ~(1u << *index % PAGE_FANOUT);
        if (parent->some != 0)
            break;
        parent->start = 0;
        parent->max = 0;
        parent->end = 0;
        parent->whole = 0;
        *index >>= PAGE_FANOUT_SHIFT;
    }
    return level;
}

/* Chunks that lie in [page, end) as a whole. */
static inline size_t page_chunks_in(size_t page, size_t end)
{
    size_t first = (page + CHUNK_PAGES - 1) / CHUNK_PAGES, last = end / CHUNK_PAGES;

    return last > first ? last - first : 0;
}

/*
 * What runs of a node other than `run`, of which [page, end) is free no longer, cannot exceed: the
 * whole chunks that are not this run's, and a part of a chunk on either side.
 */
static inline size_t page_other_runs(const struct summary *node, struct page_run run, size_t page,
                                     size_t end)
{
    size_t others = node->whole - page_chunks_in(run.page, page) - page_chunks_in(end, run.end);

    return (others + 2) * CHUNK_PAGES;
}

void page_tree_shrink(struct page_heap *heap, struct page_run run, size_t page, size_t end)
{
    uint32_t whole = run.end - run.page == CHUNK_PAGES;
    size_t index = page >> PAGE_CHUNK_SHIFT;
    unsigned level = heap->levels[0][index].max == 0 ? page_tree_empty(heap, &index) : 0;

    for (size_t full = 1ul << page_level_shift(level); level < heap->top;
         level++, full <<= PAGE_FANOUT_SHIFT) {
        const struct summary *entry = &heap->levels[level][index];
        struct summary *node = &heap->levels[level + 1][index >> PAGE_FANOUT_SHIFT];
        size_t base = ALIGN_DOWN(page, full << PAGE_FANOUT_SHIFT);
        size_t top = base + (full << PAGE_FANOUT_SHIFT);
        bool is_changed = whole;

        if (node->start > page - base) {
            node->start = page - base;
            run.page = base;
            is_changed = true;
        } else if (IS_ALIGNED(run.page, full)) {
            run.page -= page_below_entry(entry, full);
        }
        if (node->end > top - end) {
            node->end = top - end;
            run.end = top;
            is_changed = true;
        } else if (IS_ALIGNED(run.end, full)) {
            run.end += page_above_entry(entry, full);
        }
        index >>= PAGE_FANOUT_SHIFT;
        node->whole -= whole;

        size_t pages = run.end - run.page;

        if (pages == node->max) {
            size_t longer = MAX(page - run.page, run.end - end);

            /* Another run is no longer than all that is not this one. */
            if (longer + pages < top - base && longer < page_other_runs(node, run, page, end))
                longer = page_node_longest(heap, level + 1, index, longer, pages, run);
            node->max = longer;
            is_changed |= longer != pages;
        }
        if (!is_changed)
            return;
    }
}

void page_tree_change(struct page_heap *heap, size_t chunk, const struct summary *was)
{
    struct summary before = *was;
    size_t index = chunk;

    for (unsigned level = 0; level < heap->top; level++, index >>= PAGE_FANOUT_SHIFT) {
        const struct summary *now = &heap->levels[level][index];
        struct summary *parent = &heap->levels[level + 1][index >> PAGE_FANOUT_SHIFT];
        struct summary parent_before = *parent;
        uint32_t some = 1u << index % PAGE_FANOUT;

        if (summary_is_equal(now, &before))
            return;
        if (now->start != before.start || now->end != before.end) {
            *parent = page_tree_summary(heap, level + 1, index >> PAGE_FANOUT_SHIFT);
        } else {
            parent->whole += now->whole - before.whole;
            parent->some = now->max != 0 ? parent->some | some : parent->some & ~some;
            if (now->max >= parent->max)
                parent->max = now->max;
            else if (before.max == parent->max)
                parent->max = page_node_longest(heap, level + 1, index >> PAGE_FANOUT_SHIFT, 0,
                                                before.max, (struct page_run){0, 0});
        }
        before = parent_before;
    }
}
