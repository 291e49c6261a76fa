/*
 * Normalising by a sweep.  Each range becomes two edges, where it opens and where it closes, kept
 * in the same array (hence twice the room).  Edges are sorted by address; walking over them with a
 * count of open ranges per kind, memory is usable wherever some usable range is open and no
 * reserved one is.  All edges at one address are taken together, so that ranges which touch come
 * out as one, and order among equals does not matter.
 *
 * A range comes out at its closing edge, when at least two edges per range have been read: the
 * output never overtakes the input.
 */
#include "mm/page/ranges.h"

#include "kernel/base/check.h"
#include "kernel/base/sort.h"

/* An edge, in a struct mm_range: base is its address, bytes is EDGE_OPEN or EDGE_CLOSE. */
enum { EDGE_OPEN = 1, EDGE_CLOSE = 2 };

/* Clip and align one range to [*first, *end); false when no page of it counts. */
static bool range_clip(const struct mm_range *range, uint64_t *first, uint64_t *end)
{
    bool is_usable = range->kind == MM_RANGE_USABLE;
    bool wraps = range->base + range->bytes < range->base;

    if (range->bytes == 0 || range->base >= MM_PHYS_BYTES || (wraps && is_usable))
        return false;

    uint64_t last = wraps ? MM_PHYS_BYTES : MIN(range->base + range->bytes, MM_PHYS_BYTES);

    *first = is_usable ? ALIGN_UP(range->base, PAGE_BYTES) : ALIGN_DOWN(range->base, PAGE_BYTES);
    *end = is_usable ? ALIGN_DOWN(last, PAGE_BYTES) : ALIGN_UP(last, PAGE_BYTES);
    return *first < *end;
}

/* Replace the ranges by their edges; returns how many edges. */
static size_t ranges_to_edges(struct mm_range *ranges, size_t count)
{
    size_t kept = 0;
    uint64_t first, end;

    for (size_t i = 0; i < count; i++) {
        if (range_clip(&ranges[i], &first, &end))
            ranges[kept++] = (struct mm_range){first, end - first, ranges[i].kind};
    }
    for (size_t i = kept; i-- > 0;) {
        struct mm_range range = ranges[i];

        ranges[2 * i] = (struct mm_range){range.base, EDGE_OPEN, range.kind};
        ranges[2 * i + 1] = (struct mm_range){range.base + range.bytes, EDGE_CLOSE, range.kind};
    }
    return 2 * kept;
}

static int edge_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct mm_range *)a)->base;
    uint64_t right = ((const struct mm_range *)b)->base;

    return (left > right) - (left < right);
}

size_t ranges_normalise(struct mm_range *ranges, size_t count, size_t capacity)
{
    CHECK(capacity / 2 >= count);

    size_t edges = ranges_to_edges(ranges, count);
    size_t written = 0;
    size_t usable_open = 0, reserved_open = 0;
    uint64_t base = 0;
    bool is_inside = false;

    sort(ranges, edges, sizeof(ranges[0]), edge_compare);
    for (size_t i = 0; i < edges;) {
        uint64_t at = ranges[i].base;

        for (; i < edges && ranges[i].base == at; i++) {
            size_t *open = ranges[i].kind == MM_RANGE_USABLE ? &usable_open : &reserved_open;

            *open += ranges[i].bytes == EDGE_OPEN ? 1 : (size_t)-1;
        }

        bool is_usable = usable_open > 0 && reserved_open == 0;

        if (is_usable && !is_inside)
            base = at;
        if (!is_usable && is_inside)
            ranges[written++] = (struct mm_range){base, at - base, MM_RANGE_USABLE};
        is_inside = is_usable;
    }
    return written;
}
