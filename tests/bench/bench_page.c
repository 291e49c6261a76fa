/*
 * Benchmarks of page runs.  A pair is hot; a batch takes BATCH_PAGES single pages in a row and
 * frees them at random, as it happens to pages that were in use.
 *
 * PageRandomRun: runs of 1 to 64 pages, each power of two between equally often, in memory that is
 * 70 % full of them.  RUN_BATCH runs, chosen at random, are freed; as many others are allocated.
 */
#include "mm/page/page.h"
#include "tests/bench/bench.h"
#include "tests/test.h"

#define BATCH_PAGES  4096u
#define RUN_BATCH    512u
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
    for (uint64_t i = bench->n; i > 0; i--) {
        bench_call();
        bench_use(bench_opaque(pages));
        bench_call();
    }
    bench_stop(bench);
}

BENCH(PagePair, .name = "PagePair/order=", BENCH_ARGS(bench_orders), .loop = page_pair,
      .empty = empty_page_pair);

static void page_shuffle(void **pages)
{
    uint64_t state = 1;

    for (size_t i = BATCH_PAGES - 1; i > 0; i--) {
        size_t j = random_next(&state) % (i + 1);
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
    for (size_t i = 0; i < BATCH_PAGES; i++) {
        bench_call();
        pages[i] = bench_opaque(1);
    }
}

static NOINLINE void page_batch_give_empty(void **pages)
{
    for (size_t i = 0; i < BATCH_PAGES; i++) {
        bench_use(pages[i]);
        bench_call();
    }
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

/* ---- Runs of random lengths ---- */

struct bench_run {
    void *addr;
    size_t pages;
};

struct run_pool {
    struct bench_run *runs;
    size_t count, table_pages;
    uint64_t random;
};

static size_t run_length(struct run_pool *pool)
{
    uint64_t r = random_next(&pool->random);
    size_t least = 1ul << r % 6;

    return least + (r >> 8) % (least + (least == 32)); /* to 64, not 63 */
}

static void run_pool_empty(struct run_pool *pool)
{
    while (pool->count > 0) {
        pool->count--;
        page_free(pool->runs[pool->count].addr, pool->runs[pool->count].pages);
    }
    page_free(pool->runs, pool->table_pages);
}

/* Fill memory to 70 %; false: there is too little of it. */
static bool run_pool_fill(struct run_pool *pool)
{
    size_t all = page_free_count(), used = 0;
    size_t runs = all / 8; /* more than are needed: they are 15 pages on average */

    *pool = (struct run_pool){.random = 1,
                              .table_pages = runs * sizeof(struct bench_run) / PAGE_BYTES + 1};
    pool->runs = page_alloc(pool->table_pages, 0);
    if (pool->runs == NULL)
        return false;
    for (; used < all * 7 / 10 && pool->count < runs; pool->count++) {
        size_t pages = run_length(pool);
        void *addr = page_alloc(pages, 0);

        if (addr == NULL)
            break;
        pool->runs[pool->count] = (struct bench_run){addr, pages};
        used += pages;
    }
    if (used >= all * 7 / 10 && pool->count > RUN_BATCH)
        return true;
    run_pool_empty(pool);
    return false;
}

/* RUN_BATCH runs, chosen at random, come to the end of the table; the first of them. */
static struct bench_run *run_pool_choose(struct run_pool *pool)
{
    for (size_t last = pool->count; last-- > pool->count - RUN_BATCH;) {
        size_t i = random_next(&pool->random) % (last + 1);
        struct bench_run run = pool->runs[i];

        pool->runs[i] = pool->runs[last];
        pool->runs[last] = run;
    }
    return &pool->runs[pool->count - RUN_BATCH];
}

static NOINLINE void run_batch_take(struct bench_run *runs)
{
    for (size_t i = 0; i < RUN_BATCH; i++)
        runs[i].addr = page_alloc(runs[i].pages, 0);
}

static NOINLINE void run_batch_give(struct bench_run *runs)
{
    for (size_t i = 0; i < RUN_BATCH; i++)
        page_free(runs[i].addr, runs[i].pages);
}

static NOINLINE void run_batch_take_empty(struct bench_run *runs)
{
    for (size_t i = 0; i < RUN_BATCH; i++)
        runs[i].addr = bench_opaque(runs[i].pages);
}

static NOINLINE void run_batch_give_empty(struct bench_run *runs)
{
    for (size_t i = 0; i < RUN_BATCH; i++)
        bench_use(runs[i].addr), bench_use(bench_opaque(runs[i].pages));
}

/* What the clock runs for: takes or gives. */
static void run_bench(struct bench *bench, bool is_take)
{
    struct run_pool pool;

    if (!run_pool_fill(&pool)) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n && bench->skip == NULL; done += RUN_BATCH) {
        struct bench_run *runs = run_pool_choose(&pool);
        size_t kept = 0;

        if (!is_take)
            bench_start(bench);
        run_batch_give(runs);
        if (!is_take)
            bench_stop(bench);
        for (size_t i = 0; i < RUN_BATCH; i++)
            runs[i].pages = run_length(&pool);
        if (is_take)
            bench_start(bench);
        run_batch_take(runs);
        if (is_take)
            bench_stop(bench);
        for (size_t i = 0; i < RUN_BATCH; i++)
            if (runs[i].addr != NULL)
                runs[kept++] = runs[i];
        pool.count -= RUN_BATCH - kept;
        if (kept < RUN_BATCH)
            bench->skip = bench_no_memory;
    }
    run_pool_empty(&pool);
}

static void run_bench_alloc(struct bench *bench)
{
    run_bench(bench, true);
}

static void run_bench_free(struct bench *bench)
{
    run_bench(bench, false);
}

static void run_bench_empty(struct bench *bench, void (*walk)(struct bench_run *runs))
{
    static struct bench_run runs[RUN_BATCH];

    for (uint64_t done = 0; done < bench->n; done += RUN_BATCH) {
        bench_start(bench);
        walk(runs);
        bench_stop(bench);
    }
}

static void run_bench_empty_alloc(struct bench *bench)
{
    run_bench_empty(bench, run_batch_take_empty);
}

static void run_bench_empty_free(struct bench *bench)
{
    run_bench_empty(bench, run_batch_give_empty);
}

BENCH(PageRandomRunAlloc, .name = "PageRandomRun/Alloc", .batch = RUN_BATCH,
      .loop = run_bench_alloc, .empty = run_bench_empty_alloc);
BENCH(PageRandomRunFree, .name = "PageRandomRun/Free", .batch = RUN_BATCH, .loop = run_bench_free,
      .empty = run_bench_empty_free);
