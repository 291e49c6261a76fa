/*
 * Benchmarks.  BENCH(name, ...) at file scope registers one; `bench [GLOB]` runs those that match
 * and prints Go's benchmark lines.
 *
 *     static void pair_loop(struct bench *b)
 *     {
 *         bench_start(b);
 *         for (uint64_t i = b->n; i > 0; i--)
 *             kfree(kmalloc(b->arg));
 *         bench_stop(b);
 *         bench_allocs(b, b->n, b->n * b->arg);
 *     }
 *     BENCH(KmallocPair, .name = "KmallocPair/size=", BENCH_ARGS(sizes), .loop = pair_loop, ...);
 *
 * A figure is the median of BENCH_SAMPLES measurements of `loop` less that of `empty`, the same
 * loop without what is measured.
 */
#pragma once

#include "kernel/base/base.h"

#define BENCH_SAMPLES 5u

struct bench {
    size_t arg;      /* [C] the variant's argument */
    uint64_t n;      /* [C] operations to do, a multiple of the case's batch */
    uint64_t ticks;  /* between bench_start and bench_stop, summed up */
    uint64_t since;  /* bench_start's time */
    uint64_t allocs; /* in n operations; see bench_allocs */
    uint64_t alloc_bytes;
    uint64_t parts;   /* n operations are so many part_units; 0: no such figure */
    uint64_t count;   /* of count_units in n operations, if the case has such */
    const char *skip; /* set by loop: why there is no figure */
};

struct bench_case {
    const char *file;
    int line;
    const char *name;   /* a variant is called name, argument, suffix */
    const char *suffix; /* NULL: none */
    const size_t *args; /* a variant for each; none: one variant, without argument */
    size_t arg_count;
    const char *(*arg_name)(size_t idx); /* instead of args: arg is the index; NULL: no more */
    void (*loop)(struct bench *bench);
    void (*empty)(struct bench *bench); /* NULL: nothing to subtract */
    uint64_t batch;                     /* n is a multiple of it; 0: of 1 */
    uint64_t n_max;                     /* 0: none */
    unsigned cpus;                      /* CPUs it runs on; 0: 1 */
    const char *part_unit;              /* a second figure, per part: "record"; NULL: none */
    const char *count_unit;             /* likewise, counted by loop per operation: "locks" */
};

#define BENCH(name_, ...)                                                                  \
    static const struct bench_case bench_case_##name_ = {__FILE__, __LINE__, __VA_ARGS__}; \
    static const struct bench_case *const bench_ptr_##name_ USED SECTION("bench_table") =  \
        &bench_case_##name_
#define BENCH_ARGS(array) .args = (array), .arg_count = ARRAY_COUNT(array)

void bench_start(struct bench *bench);
void bench_stop(struct bench *bench);

/*
 * bench_parallel -- fn(n, bench->arg) on the first `cpus` CPUs at once, in parts, which make the bench's n on
 * each; the clock's ticks are the mean over the CPUs (bench_smp.c).
 */
void bench_parallel(struct bench *bench, unsigned cpus, void (*fn)(uint64_t n, size_t arg));

/* What the n operations allocated while the clock ran: objects and pages, bytes as asked for. */
void bench_allocs(struct bench *bench, uint64_t allocs, uint64_t bytes);

/* Run what matches, on "Name" or "Name-P".  Returns how many lines there were, figures or not. */
unsigned bench_run_matching(const char *glob);

/* ---- For loops: stand-ins for what an empty loop leaves out ---- */

/*
 * What is subtracted is a loop with its counter, its arguments and its calls, as in the figures
 * that are known of other kernels: in an empty loop this stands where the call is.
 */
static ALWAYS_INLINE void bench_call(void)
{
    __asm__ volatile("nop");
}

/* The value, but the compiler does not know that. */
static ALWAYS_INLINE void *bench_opaque(size_t value)
{
    void *p;

    __asm__ volatile("" : "=r"(p) : "0"(value));
    return p;
}

static ALWAYS_INLINE void bench_use(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}
