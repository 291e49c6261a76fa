/*
 * Opening the page heap: its tables, backed for the arenas that have usable memory, then the
 * memory itself.
 *
 * All ranges' tables are taken from the early allocator first, which shrinks the ranges; then it
 * is closed, and what is left of them is the heap's.  Both go by arenas, chunks and words, so the
 * cost does not depend on the size of holes, and little on that of memory.
 */
#include "mm/page/page.h"

#include "mm/page/debug.h"
#include "mm/page/early.h"
#include "mm/page/page_heap.h"
#include "mm/page/reserve.h"
#include "mm/page/zero.h"

struct page_heap page_heap = {.lock = PORT_LOCK_INIT(PAGE_HEAP)};

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

/* Back what the tables say about the arenas that [base, base + bytes) touches. */
static void page_back_arenas(uint64_t base, uint64_t bytes)
{
    size_t first = ALIGN_DOWN(base, ARENA_BYTES) / PAGE_BYTES;
    size_t end = ALIGN_UP(base + bytes, ARENA_BYTES) / PAGE_BYTES;

    page_table_back(page_heap.blocks, sizeof(struct page_block), first / PAGE_BLOCK_PAGES,
                    end / PAGE_BLOCK_PAGES);
    for (unsigned level = 0; level <= page_heap.top; level++)
        page_table_back(page_heap.levels[level], sizeof(struct summary),
                        first >> page_level_shift(level),
                        ((end - 1) >> page_level_shift(level)) + 1);
    page_debug_back(first, end - first);
}

static void *page_table_reserve(size_t bytes)
{
    void *table = port_table_reserve(ALIGN_UP(bytes, PAGE_BYTES));

    if (table == NULL)
        port_panic("page heap: no addresses for a table of %zu bytes", bytes);
    return table;
}

void page_heap_init(void)
{
    size_t count;
    const struct mm_range *ranges = early_ranges(&count);

    CHECK(count > 0);
    page_heap_shape(&page_heap,
                    (ranges[count - 1].base + ranges[count - 1].bytes + PAGE_BYTES - 1) /
                        PAGE_BYTES);
    page_heap_place(&page_heap, page_table_reserve(page_heap_blocks_bytes(&page_heap)),
                    page_table_reserve(page_heap_summaries_bytes(&page_heap)));
    page_debug_init(page_heap.page_limit);
    for (size_t i = 0; i < count; i++) {
        struct mm_range range = ranges[i]; /* what backs it may come from itself */

        if (range.bytes > 0)
            page_back_arenas(range.base, range.bytes);
    }

    ranges = early_close(&count);

    unsigned long irq_state = page_heap_lock(&page_heap);

    for (size_t i = 0; i < count; i++) {
        size_t page = ranges[i].base / PAGE_BYTES, pages = ranges[i].bytes / PAGE_BYTES;

        if (pages == 0)
            continue;
        page_debug_add(page, pages);
        page_heap_add(&page_heap, page, pages);
        if (PORT_FRESH_IS_ZERO && !page_debug_poisons())
            page_zero_note(&page_heap, page, pages);
    }
    page_heap_unlock(&page_heap, irq_state);
    page_reserve_init();
    page_zero_init();
}

/* Whether a page of the arena has ever been the heap's, so that all tables cover it. */
static bool page_arena_is_backed(size_t arena)
{
    size_t blocks = PAGE_ARENA_PAGES / PAGE_BLOCK_PAGES;

    for (size_t i = 0; i < blocks; i++)
        if (page_block_present(&page_heap.blocks[arena * blocks + i]) != 0)
            return true;
    return false;
}

size_t page_heap_give(uint64_t base, uint64_t bytes)
{
    size_t first = ALIGN_UP(base, PAGE_BYTES) / PAGE_BYTES;
    size_t end = MIN((base + bytes) / PAGE_BYTES, page_heap.page_limit);
    size_t given = 0;
    unsigned long irq_state = page_heap_lock(&page_heap);

    for (size_t page = first; page < end;) {
        size_t arena = page / PAGE_ARENA_PAGES;
        size_t pages = MIN((arena + 1) * PAGE_ARENA_PAGES, end) - page;

        if (page_arena_is_backed(arena)) {
            page_debug_add(page, pages);
            page_heap_add(&page_heap, page, pages);
            given += pages;
        }
        page += pages;
    }
    page_heap_unlock(&page_heap, irq_state);
    return given;
}
