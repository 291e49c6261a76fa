/*
 * Walking over all spans.  A span's granules are side by side in the table, and its neighbours have
 * other descriptors: so a span begins where an entry differs from the one before.  Chunks that have
 * no page handed out are passed over, so holes in memory cost nothing.
 *
 * Locks: the page heap's, for a chunk at a time.
 */
#include "mm/span/span_each.h"

#include "mm/page/view.h"

static struct span *each_at(size_t granule)
{
    return span_of((const void *)(port_direct_base() + granule * GRANULE_BYTES));
}

void span_each_in_chunk(size_t chunk, void (*fn)(struct span *span, void *arg), void *arg)
{
    uint64_t taken[PAGE_CHUNK_BLOCKS];
    size_t first = chunk * (CHUNK_BYTES / GRANULE_BYTES);

    if (!page_chunk_taken(chunk, taken))
        return;

    struct span *before = first == 0 ? NULL : each_at(first - 1);

    for (size_t i = 0; i < CHUNK_BYTES / GRANULE_BYTES; i++) {
        struct span *span = each_at(first + i);

        if (span != NULL && span != before)
            fn(span, arg);
        before = span;
    }
}

void span_each(void (*fn)(struct span *span, void *arg), void *arg)
{
    for (size_t chunk = 0; chunk < page_chunk_limit(); chunk++)
        span_each_in_chunk(chunk, fn, arg);
}
