/*
 * A summary: what the radix tree knows about a stretch of 2^k pages.
 *
 *     start   free pages at its low end            #####...##..####..###
 *     max     longest run of free pages inside     start=5  max=5  end=3
 *     end     free pages at its high end
 *     whole   chunks inside that are wholly free
 *     some    of a node: its children, by bit, in which anything is free; of a chunk: 0
 *
 * Of a chunk also start, max and end of each of its eight blocks, a byte each.  So a run of up to 64
 * pages is found, and the longest one counted, in some words of this line, not in eight others.
 *
 * Numbers and not, as in Go, three of 21 bits in one word: those end at a stretch of 8 GiB,
 * above which Go's search is linear, and every look has to take them apart.  64 bytes a chunk are
 * 0.003 % of memory, and one cache line.  All zero: nothing is free.
 *
 * Source: Go's page allocator (mpagealloc.go, pallocSum).
 */
#pragma once

#include "mm/page/bits.h"

struct summary {
    size_t start, max, end;                        /* pages */
    uint32_t whole;                                /* chunks */
    uint32_t some;                                 /* bits */
    union bytes block_start, block_max, block_end; /* of a chunk: pages, by block; of a node: 0 */
    uint64_t unused;                               /* to a cache line; 0 */
};

_Static_assert(sizeof(struct summary) == 64, "a summary is one cache line");

/* Summary of `count` stretches of `pages` pages each, side by side. */
static inline struct summary summary_merge(const struct summary *parts, size_t count, size_t pages)
{
    struct summary sum = {.start = SIZE_MAX}; /* until the first part that is not free as a whole */
    size_t run = 0;                           /* free pages up to the end of the parts seen */

    for (size_t i = 0; i < count; i++) {
        const struct summary *part = &parts[i];

        sum.whole += part->whole;
        sum.some |= (part->max != 0) << i;
        run += part->start;
        if (part->start == pages)
            continue;
        if (sum.start == SIZE_MAX)
            sum.start = run;
        sum.max = MAX(sum.max, run);
        sum.max = MAX(sum.max, part->max);
        run = part->end;
    }
    if (sum.start == SIZE_MAX)
        sum.start = run;
    sum.max = MAX(sum.max, run);
    sum.end = run;
    return sum;
}

static inline bool summary_is_equal(const struct summary *a, const struct summary *b)
{
    return a->start == b->start && a->max == b->max && a->end == b->end && a->whole == b->whole &&
           a->some == b->some && a->block_start.word == b->block_start.word &&
           a->block_max.word == b->block_max.word && a->block_end.word == b->block_end.word;
}
