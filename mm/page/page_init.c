/*
 * Opening the page heaps: their tables, backed for the arenas in which a node has usable memory,
 * then the memory itself.
 *
 * All ranges' tables are taken from the early allocator first, which shrinks the ranges; then it
 * is closed, and what is left of them is the heap's.  Both go by arenas, chunks and words, so the
 * cost does not depend on the size of holes, and little on that of memory.
 */
#include "mm/page/page.h"

#include "mm/page/debug.h"
#include "mm/page/early.h"
#include "mm/page/nodes.h"
#include "mm/page/reserve.h"
#include "mm/page/zero.h"

static size_t page_table_pages; /* backing the tables, page tables included; constant after init */

size_t page_table_bytes(void)
{
    return page_table_pages * PAGE_BYTES + page_owner_bytes();
}

static void *page_take_early(void)
{
    page_table_pages++;
    return early_alloc(PAGE_BYTES, PAGE_BYTES);
}

/* Back entries [first, end) of a table. */
static void page_table_back(void *table, size_t entry_bytes, size_t first, size_t end)
{
    uintptr_t from = ALIGN_DOWN((uintptr_t)table + first * entry_bytes, PAGE_BYTES);
    uintptr_t to = ALIGN_UP((uintptr_t)table + end * entry_bytes, PAGE_BYTES);

    CHECK(port_table_commit((void *)from, to - from, page_take_early));
}

/* Back what a heap's tables say about the arenas that [page, page + pages) touches. */
static size_t page_back_arenas(struct page_heap *heap, size_t page, size_t pages)
{
    size_t first = ALIGN_DOWN(page, PAGE_ARENA_PAGES);
    size_t end = ALIGN_UP(page + pages, PAGE_ARENA_PAGES);

    page_table_back(heap->blocks, sizeof(struct page_block), first / PAGE_BLOCK_PAGES,
                    end / PAGE_BLOCK_PAGES);
    for (unsigned level = 0; level <= heap->top; level++)
        page_table_back(heap->levels[level], sizeof(struct summary),
                        first >> page_level_shift(level),
                        ((end - 1) >> page_level_shift(level)) + 1);
    page_debug_back(first, end - first);
    return pages;
}

static void *page_table_reserve(size_t bytes)
{
    void *table = port_table_reserve(ALIGN_UP(bytes, PAGE_BYTES));

    if (table == NULL)
        port_panic("page heap: no addresses for a table of %zu bytes", bytes);
    return table;
}

/* Pages become the heap's, and free; returns how many. */
static size_t page_add(struct page_heap *heap, size_t page, size_t pages)
{
    unsigned long irq_state = page_heap_lock(heap);

    page_debug_add(page, pages);
    page_heap_add(heap, page, pages);
    page_heap_unlock(heap, irq_state);
    return pages;
}

/* At start-up they may be known to be zero. */
static size_t page_add_fresh(struct page_heap *heap, size_t page, size_t pages)
{
    page_add(heap, page, pages);
    if (PORT_FRESH_IS_ZERO && !page_debug_poisons()) {
        unsigned long irq_state = page_heap_lock(heap);

        page_zero_note(heap, page, pages);
        page_heap_unlock(heap, irq_state);
    }
    return pages;
}

/* For the whole pages of [base, base + bytes), node by node; returns the sum of what fn returns. */
static size_t page_for_nodes(uint64_t base, uint64_t bytes,
                             size_t (*fn)(struct page_heap *heap, size_t page, size_t pages))
{
    size_t end = (base + bytes) / PAGE_BYTES, sum = 0;

    for (size_t page = ALIGN_UP(base, PAGE_BYTES) / PAGE_BYTES; page < end;) {
        size_t node_end;
        unsigned node = page_node_of(page, &node_end);
        size_t pages = MIN(end, node_end) - page;

        sum += fn(&page_heaps[node], page, pages);
        page += pages;
    }
    return sum;
}

static void page_heaps_place(size_t page_limit)
{
    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_heap *heap = &page_heaps[node];

        page_heap_shape(heap, page_limit);
        page_heap_place(heap, page_table_reserve(page_heap_blocks_bytes(heap)),
                        page_table_reserve(page_heap_summaries_bytes(heap)));
    }
}

void page_heap_init(void)
{
    size_t count;
    const struct mm_range *ranges = early_ranges(&count);

    CHECK(count > 0);
    page_nodes_init();
    page_heaps_place((ranges[count - 1].base + ranges[count - 1].bytes + PAGE_BYTES - 1) /
                     PAGE_BYTES);
    page_debug_init(page_heaps[0].page_limit);
    for (size_t i = 0; i < count; i++) {
        struct mm_range range = ranges[i]; /* what backs it may come from itself */

        page_for_nodes(range.base, range.bytes, page_back_arenas);
    }

    ranges = early_close(&count);
    for (size_t i = 0; i < count; i++)
        page_for_nodes(ranges[i].base, ranges[i].bytes, page_add_fresh);
    page_reserve_init();
    page_zero_init();
}

/* Whether a page of the arena has ever been the heap's, so that all its tables cover it. */
static bool page_arena_is_backed(const struct page_heap *heap, size_t arena)
{
    size_t blocks = PAGE_ARENA_PAGES / PAGE_BLOCK_PAGES;

    for (size_t i = 0; i < blocks; i++)
        if (page_block_present(&heap->blocks[arena * blocks + i]) != 0)
            return true;
    return false;
}

/* What of [first, first + pages) lies in arenas that had memory at page_heap_init; how much. */
static size_t page_give(struct page_heap *heap, size_t first, size_t pages)
{
    size_t end = MIN(first + pages, heap->page_limit), given = 0;

    for (size_t page = first; page < end;) {
        size_t arena = page / PAGE_ARENA_PAGES;
        size_t part = MIN((arena + 1) * PAGE_ARENA_PAGES, end) - page;

        if (page_arena_is_backed(heap, arena))
            given += page_add(heap, page, part);
        page += part;
    }
    return given;
}

size_t page_heap_give(uint64_t base, uint64_t bytes)
{
    return page_for_nodes(base, bytes, page_give);
}
