/* What the files of mm/span/ share. */
#pragma once

#include <limits.h>
#include "mm/span/span.h"

void span_free_all_slots(struct span *span);             /* a new span's bitmap */
unsigned span_count_free_slots(const struct span *span); /* 1 bits; UINT_MAX: some lie behind */
