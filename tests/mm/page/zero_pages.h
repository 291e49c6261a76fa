/* Zero pages, as tests of them ask. */
#pragma once

#include "mm/page/page_heap.h"

bool zero_is_zero(const void *run, size_t pages); /* reads them */
uint64_t zero_count_of(const char *name);         /* an event counter of the layer page */
size_t zero_number_of(const void *page);
struct page_heap *zero_heap_of(const void *run);

/* Whether a run is of this CPU's node: PAGE_ZERO looks for zero pages there only. */
bool zero_is_near(const void *run);

size_t zero_count(void); /* known to be zero, in all heaps */

bool zero_ahead(void);     /* a piece of idle work on each heap */
void zero_all_ahead(void); /* until there is no more to do */
