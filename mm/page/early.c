/*
 * Bump allocation, downwards from the end of one usable range after another.
 *
 * What is taken here is never free again, so it goes where it hurts least.  First memory at or
 * above 16 MiB, which spares what old DMA engines reach; within that, the smallest range that has
 * room: fragments which hold no whole chunk are used up before a large range is touched, and a
 * large range loses chunks only at its end, one after another.  A range is used until a request
 * does not fit, so that choosing is rare.
 */
#include "mm/page/early.h"

#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "mm/port.h"

static struct {
    struct early_memory memory;
    size_t ram_bytes; /* usable at early_open */
    bool is_open;
} early;

/* Where the object would start in `range`; EARLY_NOWHERE when it does not fit. */
static uint64_t early_place(const struct mm_range *range, size_t bytes, size_t align)
{
    uint64_t at = ALIGN_DOWN(range->base + range->bytes - bytes, align);

    return range->bytes >= bytes && at >= range->base ? at : EARLY_NOWHERE;
}

static struct mm_range *early_choose(const struct early_memory *memory, size_t bytes, size_t align)
{
    struct mm_range *best = NULL;
    bool best_is_dma = true;

    for (size_t i = 0; i < memory->count; i++) {
        struct mm_range *range = &memory->ranges[i];
        uint64_t at = early_place(range, bytes, align);
        bool is_dma = at < MM_DMA_BYTES;

        if (at == EARLY_NOWHERE)
            continue;
        if (best == NULL || is_dma < best_is_dma ||
            (is_dma == best_is_dma && range->bytes < best->bytes)) {
            best = range;
            best_is_dma = is_dma;
        }
    }
    return best;
}

uint64_t early_take(struct early_memory *memory, size_t bytes, size_t align)
{
    struct mm_range *range = memory->current;
    uint64_t at = range == NULL ? EARLY_NOWHERE : early_place(range, bytes, align);

    if (at == EARLY_NOWHERE || at < MM_DMA_BYTES) {
        range = early_choose(memory, bytes, align);
        if (range == NULL)
            return EARLY_NOWHERE;
        at = early_place(range, bytes, align);
    }
    memory->current = range;
    range->bytes = at - range->base;
    return at;
}

void early_open(struct mm_range *ranges, size_t count)
{
    early.memory = (struct early_memory){ranges, count, NULL};
    early.ram_bytes = 0;
    early.is_open = true;
    for (size_t i = 0; i < count; i++)
        early.ram_bytes += ranges[i].bytes;
}

void *early_alloc(size_t bytes, size_t align)
{
    CHECK(bytes > 0 && is_pow2(align));
    if (!early.is_open)
        port_panic("early_alloc of %zu bytes: the page heap is open, use page_alloc", bytes);

    uint64_t at = early_take(&early.memory, bytes, align);

    if (at == EARLY_NOWHERE)
        port_panic("early_alloc: out of memory for %zu bytes aligned to %zu, after %zu of %zu",
                   bytes, align, early_bytes(), early.ram_bytes);
    return memset((void *)(port_direct_base() + at), 0, bytes);
}

const struct mm_range *early_close(size_t *count)
{
    CHECK(early.is_open);
    for (size_t i = 0; i < early.memory.count; i++)
        early.memory.ranges[i].bytes = ALIGN_DOWN(early.memory.ranges[i].bytes, PAGE_BYTES);
    early.is_open = false;
    return early_ranges(count);
}

const struct mm_range *early_ranges(size_t *count)
{
    *count = early.memory.count;
    return early.memory.ranges;
}

size_t early_bytes(void)
{
    size_t left = 0;

    for (size_t i = 0; i < early.memory.count; i++)
        left += ALIGN_DOWN(early.memory.ranges[i].bytes, PAGE_BYTES);
    return early.ram_bytes - left;
}
