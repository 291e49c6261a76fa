/*
 * The early allocator: memory before the page heap opens, for the direct map's page tables and
 * what else start-up keeps.  Nothing is ever given back.  Boot CPU only.
 */
#pragma once

#include "mm/mm.h"

/*
 * early_open -- start with these ranges.
 *   ranges  as ranges_normalise left them; kept by reference and shrunk until early_close
 */
void early_open(struct mm_range *ranges, size_t count);

/*
 * early_alloc -- take zeroed memory for good.
 *   bytes    > 0
 *   align    a power of two
 *   returns  an address in the direct map; never NULL: panics when no range has so much left, or
 *            the page heap is open
 */
void *early_alloc(size_t bytes, size_t align);

/*
 * early_close -- end the early allocator; what is left belongs to the caller.
 *   count    receives how many ranges
 *   returns  the usable ranges less what early_alloc took: whole pages, ascending; may be empty
 */
const struct mm_range *early_close(size_t *count);

/* What is left now, while open or after. */
const struct mm_range *early_ranges(size_t *count);

size_t early_bytes(void); /* taken, in whole pages, alignment gaps included */

/* ---- Placement, by itself: no memory is touched ---- */

#define EARLY_NOWHERE UINT64_MAX

struct early_memory {
    struct mm_range *ranges;  /* usable, ascending; bytes shrinks as memory is taken from the end */
    size_t count;             /* ranges */
    struct mm_range *current; /* NULL, or the range used last */
};

/* Take memory: its physical address, or EARLY_NOWHERE (nothing changed). */
uint64_t early_take(struct early_memory *memory, size_t bytes, size_t align);
