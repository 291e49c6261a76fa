/*
 * What ranges_normalise owes, checked in two ways: the form of the result, and, in a small address
 * space, each page.  In a header, so that the fuzzer has it too.
 */
#pragma once

#include "kernel/base/string.h"
#include "mm/mm.h"

#define RANGES_MODEL_PAGES 512u /* the small address space */

/* Page by page: does the range cover all of it, or any byte of it? */
static inline void ranges_model_apply(uint8_t *usable, const struct mm_range *range)
{
    uint64_t last = range->base + range->bytes - 1; /* inclusive, so that 2^64 is no special case */
    bool wraps = range->bytes > 0 && range->base + range->bytes < range->base;

    if (range->bytes == 0)
        return;
    for (uint64_t page = 0; page < RANGES_MODEL_PAGES; page++) {
        uint64_t first_byte = page * PAGE_BYTES, last_byte = first_byte + PAGE_BYTES - 1;

        if (range->kind == MM_RANGE_USABLE) {
            if (!wraps && range->base <= first_byte && last_byte <= last)
                usable[page] = 1;
        } else if (range->base <= last_byte && (wraps || first_byte <= last)) {
            usable[page] = 0;
        }
    }
}

/* A map of RANGES_MODEL_PAGES bytes: 1 where `ranges` say that the page is usable. */
static inline void ranges_model_fill(uint8_t *usable, const struct mm_range *ranges, size_t count)
{
    memset(usable, 0, RANGES_MODEL_PAGES);
    for (size_t i = 0; i < count; i++)
        if (ranges[i].kind == MM_RANGE_USABLE)
            ranges_model_apply(usable, &ranges[i]);
    for (size_t i = 0; i < count; i++)
        if (ranges[i].kind != MM_RANGE_USABLE)
            ranges_model_apply(usable, &ranges[i]);
}

/* NULL, or what is wrong with normalised ranges by themselves. */
static inline const char *ranges_check_form(const struct mm_range *ranges, size_t count)
{
    uint64_t end = 0; /* of the range before */

    for (size_t i = 0; i < count; i++) {
        if (ranges[i].kind != MM_RANGE_USABLE)
            return "a range that is not usable";
        if (!IS_ALIGNED(ranges[i].base, PAGE_BYTES) || !IS_ALIGNED(ranges[i].bytes, PAGE_BYTES))
            return "not whole pages";
        if (ranges[i].bytes == 0)
            return "an empty range";
        if (ranges[i].bytes > MM_PHYS_BYTES || ranges[i].base > MM_PHYS_BYTES - ranges[i].bytes)
            return "beyond MM_PHYS_BYTES";
        if (i > 0 && ranges[i].base <= end)
            return "not ascending, or touching the range before";
        end = ranges[i].base + ranges[i].bytes;
    }
    return NULL;
}

/* NULL, or where they differ from the model of the ranges that they came from. */
static inline const char *ranges_check_model(const struct mm_range *ranges, size_t count,
                                             const uint8_t *usable)
{
    size_t i = 0;

    for (uint64_t page = 0; page < RANGES_MODEL_PAGES; page++) {
        uint64_t at = page * PAGE_BYTES;

        while (i < count && ranges[i].base + ranges[i].bytes <= at)
            i++;
        if ((i < count && ranges[i].base <= at) != usable[page])
            return usable[page] ? "a usable page is missing" : "a page that is not usable";
    }
    return NULL;
}
