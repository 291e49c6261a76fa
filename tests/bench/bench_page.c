/*
 * Benchmarks of page runs.  A pair is hot; a batch takes BATCH_PAGES single pages in a row and
 * frees them at random, as it happens to pages that were in use.
 */
#include "mm/page/page.h"
#include "tests/bench/bench.h"
#include "tests/test.h"

#define BATCH_PAGES  4096u
#define VECTOR_PAGES (BATCH_PAGES * sizeof(void *) / PAGE_BYTES)

static const size_t bench_orders[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

static const char bench_no_memory[] = "memory is exhausted";

static void page_pair(struct bench *bench)
{
    size_t pages = (size_t)1 << bench->arg;
    void *run = page_alloc(pages, 0);

    if (run == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    page_free(run, pages);
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        page_free(page_alloc(pages, 0), pages);
    bench_stop(bench);
    bench_allocs(bench, bench->n, bench->n * pages * PAGE_BYTES);
}

static void empty_page_pair(struct bench *bench)
{
    size_t pages = (size_t)1 << bench->arg;

    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        bench_use(bench_opaque(pages));
    bench_stop(bench);
}

BENCH(PagePair, .name = "PagePair/order=", BENCH_ARGS(bench_orders), .loop = page_pair,
      .empty = empty_page_pair);

static void page_shuffle(void **pages)
{
    uint64_t state = 1;

    for (size_t i = BATCH_PAGES - 1; i > 0; i--) {
        size_t j = test_random(&state) % (i + 1);
        void *page = pages[i];

        pages[i] = pages[j];
        pages[j] = page;
    }
}

static NOINLINE bool page_batch_take(void **pages)
{
    for (size_t i = 0; i < BATCH_PAGES; i++)
        pages[i] = page_alloc(1, 0);
    return pages[BATCH_PAGES - 1] != NULL;
}

static NOINLINE void page_batch_give(void **pages)
{
    for (size_t i = 0; i < BATCH_PAGES; i++)
        page_free(pages[i], 1);
}

static NOINLINE void page_batch_take_empty(void **pages)
{
    for (size_t i = 0; i < BATCH_PAGES; i++)
        pages[i] = bench_opaque(1);
}

static NOINLINE void page_batch_give_empty(void **pages)
{
    for (size_t i = 0; i < BATCH_PAGES; i++)
        bench_use(pages[i]);
}

static void page_batch_alloc(struct bench *bench)
{
    void **pages = page_alloc(VECTOR_PAGES, PAGE_ZERO);

    if (pages == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n; done += BATCH_PAGES) {
        bench_start(bench);
        bool has_all = page_batch_take(pages);
        bench_stop(bench);
        if (!has_all)
            bench->skip = bench_no_memory;
        page_shuffle(pages);
        page_batch_give(pages);
    }
    page_free(pages, VECTOR_PAGES);
    bench_allocs(bench, bench->n, bench->n * PAGE_BYTES);
}

static void page_batch_free(struct bench *bench)
{
    void **pages = page_alloc(VECTOR_PAGES, PAGE_ZERO);

    if (pages == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n; done += BATCH_PAGES) {
        if (!page_batch_take(pages))
            bench->skip = bench_no_memory;
        page_shuffle(pages);
        bench_start(bench);
        page_batch_give(pages);
        bench_stop(bench);
    }
    page_free(pages, VECTOR_PAGES);
}

static void page_batch_empty(struct bench *bench, void (*walk)(void **pages))
{
    void **pages = page_alloc(VECTOR_PAGES, PAGE_ZERO);

    if (pages == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n; done += BATCH_PAGES) {
        bench_start(bench);
        walk(pages);
        bench_stop(bench);
    }
    page_free(pages, VECTOR_PAGES);
}

static void empty_page_batch_alloc(struct bench *bench)
{
    page_batch_empty(bench, page_batch_take_empty);
}

static void empty_page_batch_free(struct bench *bench)
{
    page_batch_empty(bench, page_batch_give_empty);
}

BENCH(PageBatchAlloc, .name = "PageBatchAlloc", .batch = BATCH_PAGES, .loop = page_batch_alloc,
      .empty = empty_page_batch_alloc);
BENCH(PageBatchFree, .name = "PageBatchFree", .batch = BATCH_PAGES, .loop = page_batch_free,
      .empty = empty_page_batch_free);
