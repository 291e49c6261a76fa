/*
 * A summary: what the radix tree knows about a stretch of 2^k pages, in one word.
 *
 *     start   free pages at its low end            #####...##..####..###
 *     max     longest run of free pages inside     start=5  max=5  end=3
 *     end     free pages at its high end
 *
 * 21 bits each.  A stretch of 2^21 pages that is wholly free does not fit in 21 bits and is bit 63
 * alone; no other number can reach 2^21 without the other two.  All zero: nothing is free.
 *
 * Source: Go's page allocator (mpagealloc.go, pallocSum).
 */
#pragma once

#include "mm/page/bits.h"

#define SUMMARY_BITS      21u
#define SUMMARY_PAGES_MAX (1ul << SUMMARY_BITS) /* the largest stretch */
#define SUMMARY_WHOLE_MAX (1ull << 63)          /* the largest stretch, wholly free */

typedef uint64_t summary_t;

static inline summary_t summary_pack(size_t start, size_t max, size_t end)
{
    if (max == SUMMARY_PAGES_MAX)
        return SUMMARY_WHOLE_MAX;
    return start | max << SUMMARY_BITS | end << 2 * SUMMARY_BITS;
}

static inline size_t summary_field(summary_t summary, unsigned index)
{
    if (UNLIKELY(summary == SUMMARY_WHOLE_MAX))
        return SUMMARY_PAGES_MAX;
    return summary >> index * SUMMARY_BITS & (SUMMARY_PAGES_MAX - 1);
}

static inline size_t summary_start(summary_t summary)
{
    return summary_field(summary, 0);
}

static inline size_t summary_max(summary_t summary)
{
    return summary_field(summary, 1);
}

static inline size_t summary_end(summary_t summary)
{
    return summary_field(summary, 2);
}

/*
 * summary_merge -- summary of `count` stretches of `pages` pages each, side by side; none of them
 * is SUMMARY_WHOLE_MAX.
 */
static inline summary_t summary_merge(const summary_t *parts, size_t count, size_t pages)
{
    const size_t mask = SUMMARY_PAGES_MAX - 1;
    const summary_t whole = summary_pack(pages, pages, pages);
    size_t i = 0;

    while (i < count && parts[i] == whole)
        i++;

    size_t run = i * pages; /* free pages up to the end of the parts seen */

    if (i == count)
        return summary_pack(run, run, run);

    size_t start = run + (parts[i] & mask);
    size_t max = 0; /* of the runs that have ended */

    for (; i < count; i++) {
        summary_t part = parts[i];

        if (part == whole) {
            run += pages;
            continue;
        }
        run += part & mask;
        max = MAX(max, run);
        run = part >> 2 * SUMMARY_BITS;
        if (part != 0)
            max = MAX(max, part >> SUMMARY_BITS & mask);
    }
    return summary_pack(start, MAX(max, run), run);
}
