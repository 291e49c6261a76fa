/*
 * Heap sort (kernel/base/sort.h).  Any context that `compare` allows; no state, no memory; not
 * stable.
 *
 * source  J. W. J. Williams, "Algorithm 232: Heapsort", CACM 1964, with Floyd's heap construction
 */
#include "kernel/base/sort.h"
#include <stdint.h>

struct sort_array {
    unsigned char *base;
    size_t bytes; /* of an element */
    int (*compare)(const void *, const void *);
};

static void sort_swap(const struct sort_array *array, size_t i, size_t j)
{
    unsigned char *a = array->base + i * array->bytes;
    unsigned char *b = array->base + j * array->bytes;

    for (size_t at = 0; at < array->bytes; at++) {
        unsigned char byte = a[at];

        a[at] = b[at];
        b[at] = byte;
    }
}

static int sort_compare(const struct sort_array *array, size_t i, size_t j)
{
    return array->compare(array->base + i * array->bytes, array->base + j * array->bytes);
}

/* Element `root` of the heap [0, count) may be too small: let it sink below the larger ones. */
static void sort_sink(const struct sort_array *array, size_t root, size_t count)
{
    for (;;) {
        size_t child = 2 * root + 1;

        if (child >= count)
            return;
        if (child + 1 < count && sort_compare(array, child, child + 1) < 0)
            child++;
        if (sort_compare(array, root, child) >= 0)
            return;
        sort_swap(array, root, child);
        root = child;
    }
}

void sort(void *base, size_t count, size_t bytes, int (*compare)(const void *, const void *))
{
    const struct sort_array array = {base, bytes, compare};

    for (size_t root = count / 2; root-- > 0;)
        sort_sink(&array, root, count);
    for (size_t end = count; end-- > 1;) {
        sort_swap(&array, 0, end);
        sort_sink(&array, 0, end);
    }
}
