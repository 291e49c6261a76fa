/*
 * Benchmarks of objects.
 *
 *     Pair        an object is taken and given back at once: hot, the same slot each time
 *     ConstPair   the same with a size that the compiler knows
 *     Batch       BATCH_OBJECTS in a row, then all freed: newest first, oldest first, at random, or
 *                 at random by another CPU
 *     CachePair   a pair from a kmem_cache
 *     Churn       4096 slots; each step replaces a random one by a random size
 */
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/bench/bench.h"
#include "tests/test.h"

static const size_t bench_pair_sizes[] = {8,    16,   32,   64,   128,   256,   512,
                                          1024, 2048, 4096, 8192, 16384, 32768, 65536};
static const size_t bench_const_sizes[] = {64};
static const size_t bench_batch_sizes[] = {16, 64, 256, 1024};
static const size_t bench_cache_sizes[] = {64, 256};

static const char bench_no_memory[] = "memory is exhausted";

/* ---- Pairs ---- */

static void kmalloc_pair(struct bench *bench)
{
    size_t bytes = bench->arg;
    void *p = kmalloc(bytes);

    if (p == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    kfree(p);
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        kfree(kmalloc(bytes));
    bench_stop(bench);
    bench_allocs(bench, bench->n, bench->n * bytes);
}

static void kmalloc_const_pair(struct bench *bench)
{
    kfree(kmalloc(64));
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        kfree(kmalloc(64));
    bench_stop(bench);
    bench_allocs(bench, bench->n, bench->n * 64);
}

static void empty_pair(struct bench *bench)
{
    size_t bytes = bench->arg;

    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--) {
        bench_call();
        bench_use(bench_opaque(bytes));
        bench_call();
    }
    bench_stop(bench);
}

BENCH(KmallocPair, .name = "KmallocPair/size=", BENCH_ARGS(bench_pair_sizes), .loop = kmalloc_pair,
      .empty = empty_pair);
BENCH(KmallocConstPair, .name = "KmallocConstPair/size=", BENCH_ARGS(bench_const_sizes),
      .loop = kmalloc_const_pair, .empty = empty_pair);

/* ---- Batches ---- */

#define BATCH_OBJECTS 10000u
#define BATCH_PAGES   (ALIGN_UP(BATCH_OBJECTS * sizeof(void *), PAGE_BYTES) / PAGE_BYTES)

enum batch_part { BATCH_ALLOC, BATCH_FREE, BATCH_FREE_REMOTE };

typedef void batch_order(void **objects);

static void batch_lifo(void **objects)
{
    for (size_t i = 0, j = BATCH_OBJECTS - 1; i < j; i++, j--) {
        void *object = objects[i];

        objects[i] = objects[j];
        objects[j] = object;
    }
}

static void batch_fifo(void **objects)
{
    (void)objects;
}

static void batch_random(void **objects)
{
    uint64_t state = 1;

    for (size_t i = BATCH_OBJECTS - 1; i > 0; i--) {
        size_t j = random_next(&state) % (i + 1);
        void *object = objects[i];

        objects[i] = objects[j];
        objects[j] = object;
    }
}

static NOINLINE bool batch_alloc(void **objects, size_t bytes)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        objects[i] = kmalloc(bytes);
    return objects[BATCH_OBJECTS - 1] != NULL;
}

static NOINLINE void batch_free(void **objects)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        kfree(objects[i]);
}

static NOINLINE void batch_empty_alloc(void **objects, size_t bytes)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++) {
        bench_call();
        objects[i] = bench_opaque(bytes);
    }
}

static NOINLINE void batch_empty_free(void **objects)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++) {
        bench_use(objects[i]);
        bench_call();
    }
}

static void batch_free_timed(struct bench *bench, void **objects)
{
    bench_start(bench);
    batch_free(objects);
    bench_stop(bench);
}

struct batch_job {
    struct bench *bench;
    void **objects;
};

static void batch_free_on_other(void *arg)
{
    const struct batch_job *job = arg;

    if (arch_cpu_id() != 0)
        batch_free_timed(job->bench, job->objects);
}

/* All batches of a sample; the clock runs in `part` only. */
static void batch_run(struct bench *bench, enum batch_part part, batch_order *order)
{
    void **objects = page_alloc(BATCH_PAGES, PAGE_ZERO);

    if (objects == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n; done += BATCH_OBJECTS) {
        if (part == BATCH_ALLOC)
            bench_start(bench);
        bool has_all = batch_alloc(objects, bench->arg);
        if (part == BATCH_ALLOC)
            bench_stop(bench);

        order(objects);
        if (part == BATCH_ALLOC)
            batch_free(objects);
        else if (part == BATCH_FREE)
            batch_free_timed(bench, objects);
        else
            cpu_run_all(2, batch_free_on_other, &(struct batch_job){bench, objects});
        if (!has_all)
            bench->skip = bench_no_memory;
    }
    page_free(objects, BATCH_PAGES);
    if (part == BATCH_ALLOC)
        bench_allocs(bench, bench->n, bench->n * bench->arg);
}

static void batch_run_empty(struct bench *bench, enum batch_part part)
{
    void **objects = page_alloc(BATCH_PAGES, PAGE_ZERO);

    if (objects == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    for (uint64_t done = 0; done < bench->n; done += BATCH_OBJECTS) {
        bench_start(bench);
        if (part == BATCH_ALLOC)
            batch_empty_alloc(objects, bench->arg);
        else
            batch_empty_free(objects);
        bench_stop(bench);
    }
    page_free(objects, BATCH_PAGES);
}

static void empty_batch_alloc(struct bench *bench)
{
    batch_run_empty(bench, BATCH_ALLOC);
}

static void empty_batch_free(struct bench *bench)
{
    batch_run_empty(bench, BATCH_FREE);
}

#define BATCH_BENCH(order_)                                                                        \
    static void batch_alloc_##order_(struct bench *bench)                                          \
    {                                                                                              \
        batch_run(bench, BATCH_ALLOC, batch_##order_);                                             \
    }                                                                                              \
    static void batch_free_##order_(struct bench *bench)                                           \
    {                                                                                              \
        batch_run(bench, BATCH_FREE, batch_##order_);                                              \
    }                                                                                              \
    BENCH(KmallocBatchAlloc_##order_,                                                              \
          .name = "KmallocBatchAlloc/size=", .suffix = "/free=" #order_,                           \
          BENCH_ARGS(bench_batch_sizes), .batch = BATCH_OBJECTS, .loop = batch_alloc_##order_,     \
          .empty = empty_batch_alloc);                                                             \
    BENCH(KmallocBatchFree_##order_, .name = "KmallocBatchFree/size=", .suffix = "/free=" #order_, \
          BENCH_ARGS(bench_batch_sizes), .batch = BATCH_OBJECTS, .loop = batch_free_##order_,      \
          .empty = empty_batch_free)

BATCH_BENCH(lifo);
BATCH_BENCH(fifo);
BATCH_BENCH(random);

static void batch_free_remote(struct bench *bench)
{
    batch_run(bench, BATCH_FREE_REMOTE, batch_random);
}

BENCH(KmallocBatchFree_remote, .name = "KmallocBatchFree/size=", .suffix = "/free=remote",
      BENCH_ARGS(bench_batch_sizes), .batch = BATCH_OBJECTS, .cpus = 2, .loop = batch_free_remote,
      .empty = empty_batch_free);

/* ---- Caches ---- */

static void cache_pair(struct bench *bench)
{
    struct kmem_cache *cache = kmem_cache_create("bench", bench->arg, 0, NULL, 0);

    if (cache == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    kmem_cache_free(cache, kmem_cache_alloc(cache));
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        kmem_cache_free(cache, kmem_cache_alloc(cache));
    bench_stop(bench);
    bench_allocs(bench, bench->n, bench->n * bench->arg);
    kmem_cache_destroy(cache);
}

BENCH(CachePair, .name = "CachePair/size=", BENCH_ARGS(bench_cache_sizes), .loop = cache_pair,
      .empty = empty_pair);

/* ---- Churn ---- */

#define CHURN_SLOTS 4096u
#define CHURN_STEPS 1000000u
#define CHURN_SEED  0x9e3779b97f4a7c15ull
#define CHURN_PAGES (CHURN_SLOTS * sizeof(void *) / PAGE_BYTES)

static const size_t bench_churn_slots[] = {CHURN_SLOTS};

/* A step's slot and size: 16 .. 4095 bytes, each octave as likely as the others. */
static ALWAYS_INLINE size_t churn_draw(uint64_t *state, size_t *bytes)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;

    size_t octave = (size_t)16 << (x >> 12 & 7);
    *bytes = octave + (x >> 16 & (octave - 1));
    return x % CHURN_SLOTS;
}

static NOINLINE void churn_run(void **slots, uint64_t steps)
{
    uint64_t state = CHURN_SEED;

    for (uint64_t i = steps; i > 0; i--) {
        size_t bytes;
        void **slot = &slots[churn_draw(&state, &bytes)];

        kfree(*slot);
        *slot = kmalloc(bytes);
    }
}

static NOINLINE void churn_run_empty(void **slots, uint64_t steps)
{
    uint64_t state = CHURN_SEED;

    for (uint64_t i = steps; i > 0; i--) {
        size_t bytes;
        void **slot = &slots[churn_draw(&state, &bytes)];

        bench_use(*slot);
        *slot = bench_opaque(bytes);
    }
}

static uint64_t churn_bytes(uint64_t steps)
{
    uint64_t state = CHURN_SEED, sum = 0;

    for (uint64_t i = steps; i > 0; i--) {
        size_t bytes;

        (void)churn_draw(&state, &bytes);
        sum += bytes;
    }
    return sum;
}

static void churn(struct bench *bench)
{
    void **slots = page_alloc(CHURN_PAGES, PAGE_ZERO);

    if (slots == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    bench_start(bench);
    churn_run(slots, bench->n);
    bench_stop(bench);
    for (size_t i = 0; i < CHURN_SLOTS; i++)
        kfree(slots[i]);
    bench_allocs(bench, bench->n, churn_bytes(bench->n));
    page_free(slots, CHURN_PAGES);
}

static void empty_churn(struct bench *bench)
{
    void **slots = page_alloc(CHURN_PAGES, PAGE_ZERO);

    if (slots == NULL) {
        bench->skip = bench_no_memory;
        return;
    }
    bench_start(bench);
    churn_run_empty(slots, bench->n);
    bench_stop(bench);
    page_free(slots, CHURN_PAGES);
}

BENCH(Churn, .name = "Churn/slots=", BENCH_ARGS(bench_churn_slots), .batch = CHURN_STEPS,
      .n_max = CHURN_STEPS, .loop = churn, .empty = empty_churn);
