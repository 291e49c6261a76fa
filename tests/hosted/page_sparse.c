/*
 * The page heap at its largest: 64 TiB of addresses, a few pages of which are there.  The tables are
 * addresses too, which Linux backs where they are written.
 */
#include <sys/mman.h>
#include "mm/page/arena.h"
#include "mm/page/debug.h"
#include "tests/test.h"

#define SPARSE_PAGES (MM_PHYS_BYTES / PAGE_BYTES)
#define PIECE_PAGES  100ul

static void *sparse_map(size_t bytes)
{
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return table != MAP_FAILED ? table : NULL;
}

static bool sparse_open(struct page_heap *heap)
{
    *heap = (struct page_heap){.lock = PORT_LOCK_INIT(PAGE_HEAP)};
    page_heap_shape(heap, SPARSE_PAGES);

    void *blocks = sparse_map(page_heap_blocks_bytes(heap));
    void *summaries = sparse_map(page_heap_summaries_bytes(heap));

    if (blocks == NULL || summaries == NULL)
        return false;
    page_heap_place(heap, blocks, summaries);
    return true;
}

static void sparse_close(struct page_heap *heap)
{
    munmap(heap->blocks, page_heap_blocks_bytes(heap));
    munmap(heap->levels[0], page_heap_summaries_bytes(heap));
}

/* Every summary above a page says what is below it. */
static void sparse_check_path(struct test *t, const struct page_heap *heap, size_t page)
{
    for (unsigned level = 0; level <= heap->top; level++) {
        size_t index = page >> page_level_shift(level);
        struct summary want = page_tree_summary(heap, level, index);

        EXPECT(t, summary_is_equal(&heap->levels[level][index], &want));
    }
}

/* A run across the edge of an entry of every level, the only free memory: found, freed, found. */
TEST(page, sparse_64_tib)
{
    struct page_heap heap;

    REQUIRE(t, sparse_open(&heap));
    EXPECT(t, heap.top == PAGE_LEVELS - 1);

    unsigned long irq_state = page_heap_lock(&heap);

    for (unsigned level = 0; level <= heap.top; level++) {
        size_t edge = SPARSE_PAGES - (1ul << page_level_shift(level));
        size_t page = edge - PIECE_PAGES / 2;

        page_heap_add(&heap, page, PIECE_PAGES);
        sparse_check_path(t, &heap, edge - 1);
        sparse_check_path(t, &heap, edge);
        page_heap_set_floor(&heap, PAGE_DMA_PAGES); /* no hints */
        EXPECT(t, page_heap_find(&heap, PIECE_PAGES + 1, 1, PAGE_NONE) == PAGE_NONE);
        EXPECT(t, page_heap_find(&heap, 1, 1, PAGE_NONE) == page);
        EXPECT(t, page_heap_find(&heap, PIECE_PAGES, 1, PAGE_NONE) == page);
        EXPECT(t, page_heap_find(&heap, 1, 2, PAGE_NONE) == page);
        EXPECT(t, page_heap_find(&heap, 40, 64, PAGE_NONE) == edge);
        page_heap_take(&heap, page, PIECE_PAGES);
        sparse_check_path(t, &heap, edge);
        EXPECT(t, page_heap_find(&heap, 1, 1, PAGE_NONE) == PAGE_NONE);
        EXPECT(t, !page_heap_put(&heap, page, PIECE_PAGES - 1));
        EXPECT(t, page_heap_put(&heap, page, PIECE_PAGES));
        sparse_check_path(t, &heap, edge - 1);
        sparse_check_path(t, &heap, edge);
        EXPECT(t, page_heap_largest_run(&heap) == PIECE_PAGES);
        page_heap_take(&heap, page, PIECE_PAGES);
    }
    EXPECT(t, heap.free_pages == 0);
    page_heap_unlock(&heap, irq_state);
    sparse_close(&heap);
}

/*
 * All tables of all layers, with their page tables, for memory without holes: what page_init.c sets
 * aside, so what there is at most.
 */
TEST(page, sparse_metadata_of_1_tib_and_64_tib)
{
    static const size_t sizes[] = {GIB, 64 * GIB, TIB, MM_PHYS_BYTES};

    if (page_debug.has_owners) {
        test_skip(t, "the table of owners takes more");
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        size_t tables = page_arenas_cost(sizes[i] / ARENA_BYTES, 1) * PAGE_BYTES;
        struct page_heap heap;

        page_heap_shape(&heap, sizes[i] / PAGE_BYTES);
        EXPECT(t, tables > page_heap_blocks_bytes(&heap) + page_heap_summaries_bytes(&heap));
        EXPECT(t, tables <= sizes[i] / 200);
    }
}
