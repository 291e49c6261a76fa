/* Kept chunks: the same chunk comes back, counts as free meanwhile, and serves others in need. */
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/kept_chunk.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "tests/mm/page/free_case.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

static struct page_heap *heap_of(const void *addr)
{
    return page_heap_of(((uintptr_t)addr - port_direct_base()) / PAGE_BYTES);
}

/* A chunk that this CPU would keep; NULL, and the test is skipped: there is none. */
static char *take_chunk(struct test *t)
{
    page_drain_all();

    char *chunk = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);
    unsigned long irq_state = port_irq_save();
    bool is_near = chunk != NULL && heap_of(chunk) == page_heap_near(0);

    port_irq_restore(irq_state);
    if (is_near && !page_debug_is_on())
        return chunk;
    test_skip(t, "no chunk of this node is free, or pages are checked");
    page_free(chunk, CHUNK_PAGES);
    return NULL;
}

TEST(page_kept_chunk, comes_back_and_counts_as_free)
{
    char *chunk = take_chunk(t);

    if (chunk == NULL)
        return;

    struct page_stats before = page_stats();

    page_free(chunk, CHUNK_PAGES);
    EXPECT(t, page_stats().pending_pages == before.pending_pages + CHUNK_PAGES);
    EXPECT(t, page_stats().free_pages == before.free_pages + CHUNK_PAGES);
    EXPECT(t, page_stats().whole_chunks == before.whole_chunks);
    page_check();
    EXPECT(t, page_alloc(CHUNK_PAGES, 0) == chunk);
    page_check();
    page_free(chunk, CHUNK_PAGES);
    page_drain_this_cpu(NULL);
    EXPECT(t, page_stats().whole_chunks == before.whole_chunks + 1);
    EXPECT(t, page_stats().pending_pages == 0);
    page_check();
}

TEST(page_kept_chunk, one_is_kept_the_next_is_not)
{
    char *chunk = take_chunk(t), *other = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    if (chunk != NULL && other != NULL) {
        page_free(chunk, CHUNK_PAGES);
        page_free(other, CHUNK_PAGES);
        EXPECT(t, page_stats().pending_pages == CHUNK_PAGES);
        page_check();
    } else {
        page_free(chunk, CHUNK_PAGES);
        page_free(other, CHUNK_PAGES);
    }
}

TEST(page_kept_chunk, frees_of_it_are_found)
{
    char *chunk = take_chunk(t);

    if (chunk == NULL)
        return;
    page_free(chunk, CHUNK_PAGES);

    struct free_case twice = {chunk, CHUNK_PAGES}, first = {chunk, 1};
    struct free_case inside = {chunk + 100 * PAGE_BYTES, 20};

    EXPECT_PANIC(t, free_run, &twice, "double free, it is in the heap");
    EXPECT_PANIC(t, free_run, &first, "double free, it is in the heap");
    EXPECT_PANIC(t, free_run, &inside, "double free, it is in the heap");
}

TEST(page_kept_chunk, part_of_a_run_is_not_kept)
{
    page_drain_all();

    char *run = page_alloc_aligned(CHUNK_PAGES + 1, CHUNK_PAGES, 0, 0);
    struct free_case part = {run, CHUNK_PAGES};

    REQUIRE(t, run != NULL);
    EXPECT_PANIC(t, free_run, &part, "wrong length");
    page_free(run, CHUNK_PAGES + 1);
}

/* A block of it is collected, as a list of pending frees may do that names it for older reasons. */
TEST(page_kept_chunk, is_not_handed_out_when_part_of_it_is_gone)
{
    char *chunk = take_chunk(t);

    if (chunk == NULL)
        return;

    struct page_heap *heap = heap_of(chunk);
    size_t free_before = page_free_count();

    page_free(chunk, CHUNK_PAGES);

    unsigned long irq_state = page_heap_lock(heap);

    page_heap_collect(heap,
                      ((uintptr_t)chunk - port_direct_base()) / PAGE_BYTES / PAGE_BLOCK_PAGES + 3);
    EXPECT(t, page_chunk_reuse_locked(heap) == PAGE_NONE);
    page_heap_unlock(heap, irq_state);
    EXPECT(t, page_free_count() == free_before + CHUNK_PAGES);
    EXPECT(t, page_stats().pending_pages == 0);
    page_check();
}

static void keep_on_last(void *chunk)
{
    if (port_cpu_id() == port_cpu_count() - 1)
        page_free(chunk, CHUNK_PAGES);
}

/* Where nobody may be asked, interrupts being off, another CPU's chunk is found all the same. */
TEST(page_kept_chunk, serves_others_in_need)
{
    char *chunk = take_chunk(t);

    if (chunk == NULL)
        return;

    struct hoard *hoard = hoard_all_but(0);

    EXPECT(t, page_alloc(1, 0) == NULL);
    cpu_run_all(port_cpu_count(), keep_on_last, chunk);

    unsigned long irq_state = port_irq_save();
    char *part = page_alloc(100, 0);

    port_irq_restore(irq_state);
    EXPECT(t, part == chunk);
    page_free(part, 100);
    page_check();
    hoard_free(hoard);
}

/* ---- What is kept, or was, is no way around what holds elsewhere ---- */

#define OVERFLOW_RUNS 300u /* more blocks than a list of pending frees has */

/* The 64 pages at the start of a chunk that is free; what is free below them is kept in `held`. */
static char *take_block_of(char *chunk, char **held, unsigned *count, unsigned max)
{
    char *block;

    while ((block = page_alloc_aligned(PAGE_BLOCK_PAGES, CHUNK_PAGES, 0, 0)) != chunk) {
        if (block == NULL || *count == max)
            break;
        held[(*count)++] = block;
    }
    if (block == chunk)
        return block;
    page_free(block, PAGE_BLOCK_PAGES);
    return NULL;
}

/* One block of a kept chunk is collected, by a stale entry of the list, and handed out alone. */
TEST(page_kept_chunk, its_rest_is_not_freed_with_one_block)
{
    static char *runs[OVERFLOW_RUNS], *held[64];
    unsigned count = 0, run_count = 0;
    char *chunk = take_chunk(t);

    if (chunk == NULL)
        return;
    while (run_count < OVERFLOW_RUNS && page_free_count() > page_stats().ram_pages / 2)
        runs[run_count++] = page_alloc_aligned(PAGE_BLOCK_PAGES, PAGE_BLOCK_PAGES, 0, 0);
    page_free(chunk, CHUNK_PAGES);
    page_drain_all();

    char *block = take_block_of(chunk, held, &count, ARRAY_COUNT(held));

    page_free(block, PAGE_BLOCK_PAGES);

    unsigned long irq_state = port_irq_save();

    EXPECT(t, page_alloc(page_free_count(), 0) == NULL); /* has collected the block */
    port_irq_restore(irq_state);

    char *again = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    page_free(again, CHUNK_PAGES);
    while (run_count > 0)
        page_free(runs[--run_count], PAGE_BLOCK_PAGES);
    block = again == chunk ? take_block_of(chunk, held, &count, ARRAY_COUNT(held)) : NULL;
    if (block != NULL) {
        struct free_case all = {chunk, CHUNK_PAGES};

        page_check();
        EXPECT_PANIC(t, free_run, &all, "wrong length");
        page_free(block, PAGE_BLOCK_PAGES);
    } else {
        test_skip(t, "the chunk is not where it was");
    }
    while (count > 0)
        page_free(held[--count], PAGE_BLOCK_PAGES);
    page_check();
}
