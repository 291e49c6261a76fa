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
 * Either setting has at most a quarter of memory, so that the machine starts whatever they say.
 *
 * What ordinary memory has left is free_pages less the free pages among devices'.  Those are only
 * counted when free_pages is so low that it matters, and by chunks: a few instructions for one that
 * is free as a whole, as devices' nearly always are, or not at all.
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
#define RESERVE_SHARE_MAX       4u /* of memory, at most, whatever a setting says */

static size_t reserve_count_chunk(const struct page_heap *heap, size_t chunk)
{
    const struct page_block *blocks = &heap->blocks[chunk * PAGE_CHUNK_BLOCKS];
    size_t longest = heap->levels[0][chunk].max, pages = 0;

    if (longest == 0 || longest == CHUNK_PAGES)
        return longest;
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
        pages += bits_count(page_block_free(&blocks[i]));
    return pages;
}

/* Free pages among [page, end), whole chunks. */
static size_t reserve_count(const struct page_heap *heap, size_t page, size_t end)
{
    size_t pages = 0;

    end = MIN(end, heap->page_limit);
    for (size_t chunk = page / CHUNK_PAGES; chunk < end / CHUNK_PAGES; chunk++)
        pages += reserve_count_chunk(heap, chunk);
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
        size_t more = reserve_count(heap, page, page + CHUNK_PAGES); /* none above the heap */

        if (have + more > 2 * *want)
            break;
        have += more;
        page += CHUNK_PAGES;
    }
    *want -= MIN(*want, have);
    return have > 0 ? page : start;
}

/* Pages that a setting in bytes stands for. */
static size_t reserve_pages(const char *name, uint64_t setting, uint64_t automatic)
{
    uint64_t most = page_nodes_memory() * PAGE_BYTES / RESERVE_SHARE_MAX;

    if (setting == PORT_SETTING_AUTO)
        setting = automatic;
    if (setting > most) {
        port_print("page heap: %s=%luK is more than 1/%u of memory; it is %luK\n", name,
                   setting / KIB, RESERVE_SHARE_MAX, most / KIB);
        setting = most;
    }
    return setting / PAGE_BYTES;
}

void page_reserve_init(void)
{
    size_t memory = page_nodes_memory() * PAGE_BYTES;
    size_t low = reserve_pages("dmareserve", port_setting_dmareserve(),
                               MIN(memory / RESERVE_LOW_SHARE, RESERVE_LOW_BYTES_MAX));
    size_t emergency = reserve_pages("reserve", port_setting_reserve(),
                                     MIN(memory / RESERVE_PAGES_SHARE, RESERVE_PAGES_BYTES_MAX));
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
        page_heap_set_floor(heap, heap->reserve.device_end);
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
    return page_reserve_is_far(heap, pages) ||
           heap->free_pages >= pages + heap->reserve.pages + reserve_device_free(heap);
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
