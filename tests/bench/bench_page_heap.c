/*
 * Benchmarks of the page heap by itself, over memory that does not exist.
 *
 * PageWorst: a terabyte with one free page, the last, and no hint where; the heap finds it and hands
 * it out, lock included.  Its tables are addresses that are backed only where the page is.
 */
#include "mm/page/page.h"
#include "mm/page/page_heap.h"
#include "tests/bench/bench.h"

#define WORST_PAGES (TIB / PAGE_BYTES)

static struct page_heap worst_heap = {.lock = PORT_LOCK_INIT(PAGE_HEAP)};

static void *worst_take_page(void)
{
    return page_alloc(1, PAGE_ZERO);
}

static bool worst_back(void *table, size_t entry_bytes, size_t first, size_t end)
{
    uintptr_t from = ALIGN_DOWN((uintptr_t)table + first * entry_bytes, PAGE_BYTES);
    uintptr_t to = ALIGN_UP((uintptr_t)table + end * entry_bytes, PAGE_BYTES);

    return port_table_commit((void *)from, to - from, worst_take_page);
}

/* The heap, once and for all: reserved addresses are never given back. */
static bool worst_open(void)
{
    struct page_heap *heap = &worst_heap;
    size_t page = WORST_PAGES - 1;

    if (heap->blocks != NULL)
        return true;
    page_heap_shape(heap, WORST_PAGES);

    void *blocks = port_table_reserve(page_heap_blocks_bytes(heap));
    void *summaries = port_table_reserve(ALIGN_UP(page_heap_summaries_bytes(heap), PAGE_BYTES));

    if (blocks == NULL || summaries == NULL)
        return false;
    page_heap_place(heap, blocks, summaries);
    if (!worst_back(heap->blocks, sizeof(struct page_block), page / PAGE_BLOCK_PAGES,
                    page / PAGE_BLOCK_PAGES + 1))
        return false;
    for (unsigned level = 0; level <= heap->top; level++) {
        size_t index = page >> page_level_shift(level);

        if (!worst_back(heap->levels[level], sizeof(struct summary), index, index + 1))
            return false;
    }

    unsigned long irq_state = page_heap_lock(heap);

    page_heap_add(heap, page, 1);
    page_heap_unlock(heap, irq_state);
    return true;
}

static NOINLINE size_t worst_alloc(struct page_heap *heap)
{
    unsigned long irq_state = page_heap_lock(heap);
    size_t page = page_heap_find(heap, 1, 1, PAGE_NONE);

    if (page != PAGE_NONE)
        page_heap_take(heap, page, 1);
    page_heap_unlock(heap, irq_state);
    return page;
}

static NOINLINE size_t worst_alloc_empty(struct page_heap *heap)
{
    return (size_t)bench_opaque((size_t)heap);
}

static void page_worst(struct bench *bench)
{
    struct page_heap *heap = &worst_heap;

    if (!worst_open()) {
        bench->skip = "no addresses for the tables of a terabyte";
        return;
    }
    for (uint64_t i = bench->n; i > 0; i--) {
        heap->hints[0] = PAGE_DMA_PAGES / CHUNK_PAGES;
        bench_start(bench);
        size_t page = worst_alloc(heap);
        bench_stop(bench);
        CHECK(page == WORST_PAGES - 1);

        unsigned long irq_state = page_heap_lock(heap);

        CHECK(page_heap_put(heap, page, 1));
        page_heap_unlock(heap, irq_state);
    }
    bench_allocs(bench, bench->n, bench->n * PAGE_BYTES);
}

static void empty_page_worst(struct bench *bench)
{
    for (uint64_t i = bench->n; i > 0; i--) {
        bench_start(bench);
        bench_use((void *)worst_alloc_empty(&worst_heap));
        bench_stop(bench);
    }
}

BENCH(PageWorst, .name = "PageWorst", .loop = page_worst, .empty = empty_page_worst);
