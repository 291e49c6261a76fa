/* Sort count elements of `bytes` each, in place, without memory: heap sort, O(n log n). */
#pragma once

#include <stddef.h>

void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *));
