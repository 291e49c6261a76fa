/*
 * Fuzz target: ranges_normalise on any map.  The first byte of the input chooses how the rest is
 * read: as entries in a space of a few hundred pages, compared page by page with the model, or as
 * entries with any 64-bit numbers, of which only the form of the result is checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "mm/page/ranges.h"
#include "tests/mm/page/ranges_model.h"

#define ENTRY_BYTES 17 /* base, bytes, kind */
#define ENTRIES_MAX 10000
#define SMALL_SHIFT 43 /* 2^64 >> 43: 2 MiB, the model's 512 pages */

void check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: CHECK(%s)\n", file, line, expression);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct mm_range ranges[2 * ENTRIES_MAX + 1];

static size_t ranges_read(const uint8_t *data, size_t bytes, unsigned shift)
{
    size_t count = MIN(bytes / ENTRY_BYTES, (size_t)ENTRIES_MAX);

    for (size_t i = 0; i < count; i++, data += ENTRY_BYTES) {
        memcpy(&ranges[i].base, data, 8);
        memcpy(&ranges[i].bytes, data + 8, 8);
        ranges[i].base >>= shift;
        ranges[i].bytes >>= shift;
        ranges[i].kind = data[16] % 3;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t usable[RANGES_MODEL_PAGES];

    if (bytes == 0)
        return 0;

    bool is_small = data[0] & 1;
    size_t count = ranges_read(data + 1, bytes - 1, is_small ? SMALL_SHIFT : 0);

    if (is_small)
        ranges_model_fill(usable, ranges, count);
    count = ranges_normalise(ranges, count, ARRAY_COUNT(ranges));
    CHECK(ranges_check_form(ranges, count) == NULL);
    if (is_small)
        CHECK(ranges_check_model(ranges, count, usable) == NULL);
    return 0;
}
