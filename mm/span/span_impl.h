/* The descriptor pool, for mm/span/ only. */
#pragma once

#include <limits.h>
#include "mm/span/span.h"

/* A descriptor, contents undefined; NULL when memory is exhausted.  irq */
struct span *span_desc_take(void);
/* Give one back; its pages may stay in the pool until span_drain. */
void span_desc_give(struct span *span);
size_t span_desc_live(void);  /* descriptors taken */
size_t span_desc_bytes(void); /* bytes of the pool's pages */

void span_free_all_slots(struct span *span);             /* a new span's bitmap */
unsigned span_count_free_slots(const struct span *span); /* 1 bits; UINT_MAX: some lie behind */
