/*
 * ranges -- from the firmware's view of memory to the page heap's: usable, whole pages, sorted,
 * disjoint.  A pure function; the early allocator's and the page heap's only source of truth.
 */
#pragma once

#include "mm/mm.h"

/*
 * ranges_normalise -- reduce ranges to the usable memory that they describe, in place.
 *   ranges    count as found; see below how each is read
 *   capacity  entries that the array has room for, >= 2 * count; CHECKed
 *   returns   usable ranges written: page-aligned, at least a page long, below MM_PHYS_BYTES,
 *             ascending, with a gap between any two
 *   cost      O(count log count); no memory but the array
 *
 * A usable range counts for the whole pages inside it, any other for every page that it touches.
 * Where they overlap, reserved wins.  What lies at or beyond MM_PHYS_BYTES is cut off.  A range
 * whose end is beyond 2^64 is broken: none of it is usable, or all from its base on is reserved.
 */
size_t ranges_normalise(struct mm_range *ranges, size_t count, size_t capacity);
