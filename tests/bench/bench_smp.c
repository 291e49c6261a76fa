/*
 * Benchmarks on several CPUs.
 *
 * CrossCpuFree: CPU 0 allocates, CPU 1 frees.
 *
 *     CPU 0   take -> ring[i % 1024]  ->  give   CPU 1
 *
 * A place in the ring is empty when it holds NULL; each side waits for its place.  CrossCpuFree/None
 * is the ring alone: as the two sides overlap, its cost cannot be taken off the others, so it has
 * a line of its own, and the others include it.
 *
 * ParallelPair, ParallelPages: each CPU does pairs of its own, all at once; the figure is the mean
 * over the CPUs.  The second has the acquisitions of page heaps' locks too.  They count
 * instructions under `make bench ICOUNT=1 CPUS=2`: QEMU runs the CPUs in turn, and the one clock
 * counts those of all, so the mean is what passed from the first pair to the last, divided by the
 * CPUs.  A CPU's turn ends at every 32nd pair, and where it waits for the others' last.
 */
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/cpus.h"
#include "kernel/nodes.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/bench/bench.h"
#include "tests/bench/ticks.h"

/* ---- From one CPU to another ---- */

#define RING_PLACES 1024u

struct cross_kind {
    void *(*take)(size_t arg); /* NULL: exhausted */
    void (*give)(void *p, size_t arg);
};

struct cross_job {
    struct bench *bench;
    const struct cross_kind *kind;
    _Atomic unsigned arrived; /* [A] CPUs at the start; acquire, release */
    _Atomic bool is_done;     /* [A] all is freed; acquire, release */
    void *_Atomic *ring;      /* [A] places: release to fill, acquire to empty */
};

static char cross_nothing; /* what goes through the ring when there is no object */

static void *cross_take_none(size_t arg)
{
    (void)arg;
    return NULL;
}

static void cross_give_none(void *p, size_t arg)
{
    (void)p, (void)arg;
}

static void cross_give_object(void *p, size_t bytes)
{
    (void)bytes;
    kfree(p);
}

static void *cross_take_pages(size_t order)
{
    return page_alloc((size_t)1 << order, 0);
}

static void cross_give_pages(void *p, size_t order)
{
    page_free(p, (size_t)1 << order);
}

static const struct cross_kind cross_none = {cross_take_none, cross_give_none};
static const struct cross_kind cross_object = {kmalloc, cross_give_object};
static const struct cross_kind cross_page = {cross_take_pages, cross_give_pages};

static void cross_produce(const struct cross_job *job)
{
    size_t arg = job->bench->arg;

    for (uint64_t i = 0; i < job->bench->n; i++) {
        void *_Atomic *place = &job->ring[i % RING_PLACES];
        void *p = job->kind->take(arg);

        while (atomic_load_explicit(place, memory_order_acquire) != NULL)
            arch_relax();
        atomic_store_explicit(place, p != NULL ? p : &cross_nothing, memory_order_release);
    }
}

static void cross_consume(const struct cross_job *job)
{
    size_t arg = job->bench->arg;

    for (uint64_t i = 0; i < job->bench->n; i++) {
        void *_Atomic *place = &job->ring[i % RING_PLACES];
        void *p;

        while ((p = atomic_load_explicit(place, memory_order_acquire)) == NULL)
            arch_relax();
        atomic_store_explicit(place, NULL, memory_order_release);
        if (p != &cross_nothing)
            job->kind->give(p, arg);
    }
}

/* Wait until `cpus` CPUs have come here. */
static void cpus_meet(_Atomic unsigned *arrived, unsigned cpus)
{
    atomic_fetch_add_explicit(arrived, 1, memory_order_acq_rel);
    while (atomic_load_explicit(arrived, memory_order_acquire) < cpus)
        arch_relax();
}

static void cross_on_cpu(void *arg)
{
    struct cross_job *job = arg;

    cpus_meet(&job->arrived, 2);
    if (arch_cpu_id() == 1) {
        cross_consume(job);
        atomic_store_explicit(&job->is_done, true, memory_order_release);
        return;
    }
    bench_start(job->bench);
    cross_produce(job);
    while (!atomic_load_explicit(&job->is_done, memory_order_acquire))
        arch_relax();
    bench_stop(job->bench);
}

static void cross_run(struct bench *bench, const struct cross_kind *kind)
{
    static void *_Atomic ring[RING_PLACES];
    struct cross_job job = {.bench = bench, .kind = kind, .ring = ring};

    cpu_run_all(2, cross_on_cpu, &job);
}

static void cross_run_none(struct bench *bench)
{
    cross_run(bench, &cross_none);
}

static void cross_run_object(struct bench *bench)
{
    cross_run(bench, &cross_object);
    bench_allocs(bench, bench->n, bench->n * bench->arg);
}

static void cross_run_page(struct bench *bench)
{
    cross_run(bench, &cross_page);
    bench_allocs(bench, bench->n, (bench->n << bench->arg) * PAGE_BYTES);
}

static const size_t cross_sizes[] = {64, 256, 1024};
static const size_t cross_orders[] = {0};

BENCH(CrossCpuFreeNone, .name = "CrossCpuFree/None", .cpus = 2, .loop = cross_run_none);
BENCH(CrossCpuFreeKmalloc, .name = "CrossCpuFree/Kmalloc=", BENCH_ARGS(cross_sizes), .cpus = 2,
      .loop = cross_run_object);
BENCH(CrossCpuFreePage, .name = "CrossCpuFree/Page=", BENCH_ARGS(cross_orders), .cpus = 2,
      .loop = cross_run_page);

/* ---- Each CPU for itself ---- */

#define PARALLEL_ROUND 32u /* pairs between two turns */

struct parallel_job {
    uint64_t n;
    size_t arg;
    unsigned cpus;
    void (*pairs)(uint64_t n, size_t arg);
    _Atomic unsigned arrived; /* [A] CPUs at the start; acquire, release */
    _Atomic unsigned done;    /* [A] CPUs at the end; likewise */
    _Atomic uint64_t ticks;   /* [A] sum over the CPUs; relaxed */
    uint64_t elapsed; /* CPU 0's ticks from when all were at the start until all were done */
    uint64_t locks;   /* of page heaps, taken meanwhile */
};

/* How often page heaps' locks were taken; less what this costs itself. */
static uint64_t parallel_locks(void)
{
    static uint64_t own;

    own += node_count();
    return page_stats().heap_locks - own;
}

static NOINLINE void parallel_objects(uint64_t n, size_t bytes)
{
    for (; n > 0; n--)
        kfree(kmalloc(bytes));
}

static NOINLINE void parallel_pages(uint64_t n, size_t order)
{
    for (; n > 0; n--)
        page_free(page_alloc((size_t)1 << order, 0), (size_t)1 << order);
}

static NOINLINE void parallel_nothing(uint64_t n, size_t arg)
{
    for (; n > 0; n--)
        bench_use(bench_opaque(arg));
}

static void parallel_on_cpu(void *arg)
{
    struct parallel_job *job = arg;

    job->pairs(1, job->arg); /* what the first pair fetches is not counted */
    cpus_meet(&job->arrived, job->cpus);
    if (arch_cpu_id() == 0)
        job->locks = parallel_locks();
    cpus_meet(&job->arrived, 2 * job->cpus);

    uint64_t start = arch_ticks();

    for (uint64_t left = job->n, pairs; left > 0; left -= pairs) {
        pairs = MIN(left, (uint64_t)PARALLEL_ROUND);
        job->pairs(pairs, job->arg);
        arch_relax();
    }
    atomic_fetch_add_explicit(&job->ticks, arch_ticks() - start, memory_order_relaxed);
    cpus_meet(&job->done, job->cpus);
    if (arch_cpu_id() == 0) {
        job->elapsed = arch_ticks() - start;
        job->locks = parallel_locks() - job->locks;
    }
}

void bench_parallel(struct bench *bench, unsigned cpus, void (*pairs)(uint64_t n, size_t arg))
{
    struct parallel_job job = {.n = bench->n, .arg = bench->arg, .cpus = cpus, .pairs = pairs};

    cpu_idle_hold();
    cpu_run_all(cpus, parallel_on_cpu, &job);
    cpu_idle_release();
    if (ticks_are_instructions())
        bench->ticks = job.elapsed / cpus;
    else
        bench->ticks = atomic_load_explicit(&job.ticks, memory_order_relaxed) / cpus;
    bench->count = job.locks / cpus;
}

static const size_t parallel_sizes[] = {64, 1024, 32768};
static const size_t parallel_orders[] = {0, 4};

#define PARALLEL_BENCH(cpus_)                                                                   \
    static void parallel_objects_##cpus_(struct bench *bench)                                   \
    {                                                                                           \
        bench_parallel(bench, cpus_, parallel_objects);                                         \
        bench_allocs(bench, bench->n, bench->n * bench->arg);                                   \
    }                                                                                           \
    static void parallel_pages_##cpus_(struct bench *bench)                                     \
    {                                                                                           \
        bench_parallel(bench, cpus_, parallel_pages);                                           \
        bench_allocs(bench, bench->n, (bench->n << bench->arg) * PAGE_BYTES);                   \
    }                                                                                           \
    static void parallel_nothing_##cpus_(struct bench *bench)                                   \
    {                                                                                           \
        bench_parallel(bench, cpus_, parallel_nothing);                                         \
    }                                                                                           \
    BENCH(ParallelPair##cpus_, .name = "ParallelPair/size=", BENCH_ARGS(parallel_sizes),        \
          .cpus = cpus_, .loop = parallel_objects_##cpus_, .empty = parallel_nothing_##cpus_);  \
    BENCH(ParallelPagePair##cpus_, .name = "ParallelPages/order=", BENCH_ARGS(parallel_orders), \
          .cpus = cpus_, .count_unit = "locks", .loop = parallel_pages_##cpus_,                 \
          .empty = parallel_nothing_##cpus_)

PARALLEL_BENCH(1);
PARALLEL_BENCH(2);
PARALLEL_BENCH(4);
