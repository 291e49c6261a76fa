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
 * only if that run was as long as max, looking at the 16 children (or 8 words), and no further
 * than until another run of that length shows up.  Pages that are handed out singly, by address,
 * mostly leave max alone.
 *
 * What happens to more than one chunk, or to bits here and there in a block, takes the plain way:
 * what lies wholly inside is a constant, the rest is recomputed from below.
 *
 * Another run cannot be longer than all that this one leaves; where it was most of the stretch,
 * nobody has to look.
 *
 * Cost, with 16 children a node and at most seven levels: grow some 50 instructions a level, mostly
 * one level; shrink at most 16 children a level.  Locks: the caller's, PAGE_HEAP.
 */
#include "mm/page/page_heap.h"

/* ---- Recomputing ---- */

/*
 * Longest run in a chunk, as summary_merge does it for children.  At least `least`; not worth to
 * look on once it is `most`.
 */
static size_t page_chunk_longest(const struct page_block *block, size_t least, size_t most)
{
    const struct page_block *end = block + PAGE_CHUNK_BLOCKS;
    size_t max = least, run = 0;

    for (; block < end; block++) {
        uint64_t free = page_block_free(block);

        if (free == 0) {
            run = 0;
            continue;
        }
        run += bits_low_run(free);
        max = MAX(max, run);
        if (~free == 0)
            continue;
        if (max < PAGE_BLOCK_PAGES && bits_run_starts(free, max + 1) != 0)
            max = bits_longest_run(free);
        if (max >= most)
            break;
        run = bits_high_run(free);
    }
    return max;
}

static struct summary page_chunk_summary(const struct page_block *blocks)
{
    struct summary sum = {.start = 0};
    size_t i = 0;

    while (i < PAGE_CHUNK_BLOCKS && ~page_block_free(&blocks[i]) == 0)
        i++;
    if (i == PAGE_CHUNK_BLOCKS)
        return (struct summary){CHUNK_PAGES, CHUNK_PAGES, CHUNK_PAGES, 1, 0};
    sum.start = i * PAGE_BLOCK_PAGES + bits_low_run(page_block_free(&blocks[i]));
    for (i = PAGE_CHUNK_BLOCKS - 1; ~page_block_free(&blocks[i]) == 0; i--)
        sum.end += PAGE_BLOCK_PAGES;
    sum.end += bits_high_run(page_block_free(&blocks[i]));
    sum.max = page_chunk_longest(blocks, MAX(sum.start, sum.end), CHUNK_PAGES);
    return sum;
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

/* Longest run below a node, whose level below is right; `least` and `most` as above. */
static size_t page_node_longest(const struct page_heap *heap, unsigned level, size_t index,
                                size_t least, size_t most)
{
    const struct summary *child = &heap->levels[level - 1][index << PAGE_FANOUT_SHIFT];
    const struct summary *end = child + PAGE_FANOUT;
    size_t full = 1ul << page_level_shift(level - 1);
    size_t max = least, run = 0;

    for (; child < end; child++) {
        if (child->max == 0) {
            run = 0;
            continue;
        }
        run += child->start;
        max = MAX(max, run);
        if (child->start == full)
            continue;
        if (child->max > max) {
            max = child->max;
            if (max >= most)
                break;
        }
        run = child->end;
    }
    return max;
}

/* ---- Runs ---- */

/* Free pages just below `page`, and from `page` on, in its chunk. */
static inline size_t page_free_below(const struct page_block *blocks, size_t page)
{
    size_t block = page / PAGE_BLOCK_PAGES;
    unsigned bit = page % PAGE_BLOCK_PAGES;
    size_t pages = 0;

    if (bit > 0) {
        pages = (unsigned)__builtin_clzll(
            ~(page_block_free(&blocks[block]) << (PAGE_BLOCK_PAGES - bit)));
        if (pages < bit)
            return pages;
    }
    while (block % PAGE_CHUNK_BLOCKS != 0) {
        uint64_t free = page_block_free(&blocks[--block]);

        if (~free != 0)
            return pages + bits_high_run(free);
        pages += PAGE_BLOCK_PAGES;
    }
    return pages;
}

static inline size_t page_free_above(const struct page_block *blocks, size_t page)
{
    size_t block = page / PAGE_BLOCK_PAGES;
    unsigned bit = page % PAGE_BLOCK_PAGES;
    size_t pages = 0;

    if (page % CHUNK_PAGES == 0)
        return 0;
    if (bit > 0) {
        pages = (unsigned)__builtin_ctzll(~(page_block_free(&blocks[block++]) >> bit));
        if (pages < PAGE_BLOCK_PAGES - bit)
            return pages;
    }
    for (; block % PAGE_CHUNK_BLOCKS != 0; block++) {
        uint64_t free = page_block_free(&blocks[block]);

        if (~free != 0)
            return pages + bits_low_run(free);
        pages += PAGE_BLOCK_PAGES;
    }
    return pages;
}

struct page_run page_tree_run(const struct page_heap *heap, size_t page, size_t end)
{
    return (struct page_run){page - page_free_below(heap->blocks, page),
                             end + page_free_above(heap->blocks, end)};
}

/*
 * The end of a run that reaches the end, `end`, of entry `index`, as far as its parent goes; then
 * its first page likewise.  The parent's own end, or start, often tells.
 */
static inline size_t page_run_end(const struct page_heap *heap, unsigned level, size_t index,
                                  size_t end)
{
    const struct summary *parent = &heap->levels[level + 1][index >> PAGE_FANOUT_SHIFT];
    const struct summary *sibling = &heap->levels[level][index];
    size_t full = 1ul << page_level_shift(level);
    size_t parent_end = ((index | (PAGE_FANOUT - 1)) + 1) * full;

    if (parent->end >= parent_end - end)
        return parent_end;
    do
        end += (++sibling)->start;
    while (sibling->start == full);
    return end;
}

static inline size_t page_run_page(const struct page_heap *heap, unsigned level, size_t index,
                                   size_t page)
{
    const struct summary *parent = &heap->levels[level + 1][index >> PAGE_FANOUT_SHIFT];
    const struct summary *sibling = &heap->levels[level][index];
    size_t full = 1ul << page_level_shift(level);
    size_t parent_page = ALIGN_DOWN(index, PAGE_FANOUT) * full;

    if (parent->start >= page - parent_page)
        return parent_page;
    do
        page -= (--sibling)->end;
    while (sibling->end == full);
    return page;
}

void page_tree_grow(struct page_heap *heap, struct page_run run)
{
    uint32_t whole = run.end - run.page == CHUNK_PAGES;
    size_t index = run.page >> PAGE_CHUNK_SHIFT;
    unsigned shift = PAGE_CHUNK_SHIFT;
    uint32_t some = 0; /* the bit of the child that the run is in */

    for (unsigned level = 0;; level++) {
        struct summary *summary = &heap->levels[level][index];
        size_t pages = run.end - run.page;
        bool is_first = run.page == index << shift;
        bool is_last = run.end == (index + 1) << shift;

        if (pages <= summary->max && !(is_first | is_last | whole | (some & ~summary->some)))
            return;
        if (level < heap->top) {
            if (is_first)
                run.page = page_run_page(heap, level, index, run.page);
            if (is_last)
                run.end = page_run_end(heap, level, index, run.end);
        }
        summary->max = MAX(summary->max, pages);
        summary->whole += whole;
        summary->some |= some;
        if (is_first)
            summary->start = pages;
        if (is_last)
            summary->end = pages;
        if (level == heap->top)
            return;
        some = 1u << index % PAGE_FANOUT;
        index >>= PAGE_FANOUT_SHIFT;
        shift += PAGE_FANOUT_SHIFT;
    }
}

/*
 * max of an entry without the part of `run` that was cut out; `longer` is the longer of what is
 * left of it.
 */
static inline size_t page_longest_after(const struct page_heap *heap, unsigned level, size_t index,
                                        size_t longer, size_t pages)
{
    /* Another run is no longer than all that is not this one. */
    if (longer + pages >= 1ul << page_level_shift(level))
        return longer;
    if (level == 0)
        return page_chunk_longest(&heap->blocks[index * PAGE_CHUNK_BLOCKS], longer, pages);
    if (heap->levels[level][index].some == 0)
        return 0;
    return page_node_longest(heap, level, index, longer, pages);
}

void page_tree_shrink(struct page_heap *heap, struct page_run run, size_t page, size_t end)
{
    uint32_t whole = run.end - run.page == CHUNK_PAGES;
    size_t index = page >> PAGE_CHUNK_SHIFT;
    unsigned shift = PAGE_CHUNK_SHIFT;
    uint32_t none = 0; /* the bit of the child that the run is in, if nothing is free there now */

    for (unsigned level = 0;; level++) {
        struct summary *summary = &heap->levels[level][index];
        size_t pages = run.end - run.page;
        bool is_first = run.page == index << shift;
        bool is_last = run.end == (index + 1) << shift;
        size_t left = page - run.page, right = run.end - end;

        if (pages < summary->max && !(is_first | is_last | whole | none))
            return;
        summary->whole -= whole;
        summary->some &= ~none;
        if (is_first)
            summary->start = left;
        if (is_last)
            summary->end = right;
        if (pages == summary->max) {
            summary->max = page_longest_after(heap, level, index, MAX(left, right), pages);
            if (pages == summary->max && !(is_first | is_last | whole | none))
                return;
        }
        if (level == heap->top)
            return;
        if (is_first)
            run.page = page_run_page(heap, level, index, run.page);
        if (is_last)
            run.end = page_run_end(heap, level, index, run.end);
        none = summary->max == 0 ? 1u << index % PAGE_FANOUT : 0;
        index >>= PAGE_FANOUT_SHIFT;
        shift += PAGE_FANOUT_SHIFT;
    }
}
