/*
 * Reserves: memory for devices, and for those who must go on when all else is used up.
 *
 * Devices.  A driver that needs memory below 16 MiB or 4 GiB, in one run, must find it although the
 * rest is full.  So a part of each is theirs: whole chunks by address, which no other request ever
 * touches, so that they are not only free but in one piece.
 *
 *     0    1 MiB    low_end    16 MiB         device_end                        end of memory
 *     |     |##########|..........|################|................................|
 *           devices'    ordinary   devices'          ordinary
 *
 *     below 16 MiB   dmareserve=, by default 1/64 of memory and at most 8 MiB
 *     below 4 GiB    eight times as much, but only where there is memory above 4 GiB: elsewhere
 *                    all of memory is in reach, and devices of both kinds share the first part
 *
 * So a machine of 512 MiB keeps 8 MiB of it for devices, one of 64 MiB keeps 1 MiB.  A request with
 * a limit looks among ordinary memory first and comes to its part when that has no run; it goes
 * without regard to parts in the end, when only a run across their borders will do.
 *
 * PAGE_RESERVE.  The collector and a growing stack cannot wait for memory to come free.  Ordinary
 * requests, of devices too, leave reserve= bytes of ordinary memory (by default 1/256 of memory, at
 * most 4 MiB); requests with PAGE_RESERVE have these too.  It is a number, not a place: they want
 * single pages.  Each node keeps its share of it, by its memory.
 *
 * What ordinary memory has left is free_pages less the free pages among devices'.  Those are only
 * counted, word by word, when free_pages is so low that it matters.
 *
 * Locks: PAGE_HEAP, the caller's.
 */
#include "mm/page/reserve.h"

#include "mm/page/nodes.h"
#include "mm/page/page.h"

#define RESERVE_DEVICE_PAGES (PAGE_DEVICE_BYTES / PAGE_BYTES) /* number above the last in reach */

#define RESERVE_LOW_SHARE       64u /* of memory */
#define RESERVE_LOW_BYTES_MAX   (8 * MIB)
#define RESERVE_DEVICE_FACTOR   8u
#define RESERVE_PAGES_SHARE     256u /* of memory */
#define RESERVE_PAGES_BYTES_MAX (4 * MIB)

/* Free pages among [page, end), whole blocks. */
static size_t reserve_count(const struct page_heap *heap, size_t page, size_t end)
{
    size_t pages = 0;

    end = MIN(end, heap->page_limit);
    for (size_t i = page / PAGE_BLOCK_PAGES; i < end / PAGE_BLOCK_PAGES; i++)
        pages += bits_count(page_block_free(&heap->blocks[i]));
    return pages;
}

/*
 * Where a part ends that starts at `page` and has *want free pages: at a chunk, at or below `end`.
 * A chunk that would make it more than twice as large is left out.  A heap without memory there has
 * no part.  *want: what is still wanted, of other nodes.
 */
static size_t reserve_end(const struct page_heap *heap, size_t page, size_t end, size_t *want)
{
    size_t start = page, have = 0;

    while (page < end && have < *want) {
        size_t more = reserve_count(heap, page, page + CHUNK_PAGES);

        if (have + more > 2 * *want)
            break;
        have += more;
        page += CHUNK_PAGES;
    }
    *want -= MIN(*want, have);
    return have > 0 ? page : start;
}

void page_reserve_init(void)
{
    size_t memory = page_nodes_memory() * PAGE_BYTES;
    uint64_t low = port_setting_dmareserve(), emergency = port_setting_reserve();

    if (low == PORT_SETTING_AUTO)
        low = MIN(memory / RESERVE_LOW_SHARE, RESERVE_LOW_BYTES_MAX);
    if (emergency == PORT_SETTING_AUTO)
        emergency = MIN(memory / RESERVE_PAGES_SHARE, RESERVE_PAGES_BYTES_MAX);
    low = MIN(low, memory) / PAGE_BYTES;
    emergency = MIN(emergency, memory) / PAGE_BYTES;

    size_t device = low * RESERVE_DEVICE_FACTOR;

    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_heap *heap = &page_heaps[node];
        unsigned long irq_state = page_heap_lock(heap);

        heap->reserve = (struct page_reserve){
            .pages = page_node_share(heap, emergency),
            .low_end = reserve_end(heap, 0, PAGE_DMA_PAGES, &low),
            .device_end = PAGE_DMA_PAGES,
        };
        if (heap->page_limit > RESERVE_DEVICE_PAGES)
            heap->reserve.device_end =
                reserve_end(heap, PAGE_DMA_PAGES, RESERVE_DEVICE_PAGES, &device);
        page_heap_unlock(heap, irq_state);
    }
}

/* Free pages among devices'. */
static size_t reserve_device_free(const struct page_heap *heap)
{
    return reserve_count(heap, 0, heap->reserve.low_end) +
           reserve_count(heap, PAGE_DMA_PAGES, heap->reserve.device_end);
}

bool page_reserve_has_room(const struct page_heap *heap, size_t pages)
{
    size_t device_most = heap->reserve.low_end + heap->reserve.device_end - PAGE_DMA_PAGES;

    if (LIKELY(heap->free_pages >= pages + heap->reserve.pages + device_most))
        return true;
    return heap->free_pages >= pages + heap->reserve.pages + reserve_device_free(heap);
}

size_t page_reserve_held_back(const struct page_heap *heap)
{
    size_t device = reserve_device_free(heap);

    return device + MIN(heap->reserve.pages, heap->free_pages - device);
}

/* In ordinary memory. */
static size_t reserve_find_ordinary(struct page_heap *heap, size_t pages, size_t align,
                                    size_t limit)
{
    size_t at = page_heap_find_above(heap, pages, align, heap->reserve.device_end, limit);

    if (at != PAGE_NONE)
        return at;
    if (heap->reserve.device_end > PAGE_DMA_PAGES)
        limit = MIN(limit, PAGE_DMA_PAGES);
    return page_heap_find_above(heap, pages, align, heap->reserve.low_end, limit);
}

size_t page_reserve_find(struct page_heap *heap, size_t pages, size_t align, size_t limit,
                         unsigned flags)
{
    bool has_ordinary = (flags & PAGE_RESERVE) != 0 || page_reserve_has_room(heap, pages);
    size_t at = PAGE_NONE;

    if (has_ordinary)
        at = reserve_find_ordinary(heap, pages, align, limit);
    if (at != PAGE_NONE || limit > RESERVE_DEVICE_PAGES)
        return at;
    at = page_heap_find_above(heap, pages, align, PAGE_DMA_PAGES,
                              MIN(limit, heap->reserve.device_end));
    if (at == PAGE_NONE)
        at = page_heap_find_above(heap, pages, align, 0, MIN(limit, heap->reserve.low_end));
    if (at == PAGE_NONE && has_ordinary)
        at = page_heap_find_above(heap, pages, align, 0, limit);
    return at;
}
