/*
 * The guard pool: what a sampled object costs, and what every batch of others pays for that.  By
 * these, guard_rate's default keeps the cost per allocation under 1 % of Churn's.
 */
#include "mm/slab/guard.h"
#include "tests/bench/bench.h"

static const size_t guard_sizes[] = {64, 1024, 4096};

static void guard_pair_loop(struct bench *b)
{
    if (guard_stats().slots == 0) {
        b->skip = "the pool is off: guard_rate=";
        return;
    }
    bench_start(b);
    for (uint64_t i = b->n; i > 0; i--)
        guard_free("bench", NULL, guard_alloc("bench", NULL, b->arg, 16));
    bench_stop(b);
}
BENCH(GuardPair, .name = "GuardPair/size=", BENCH_ARGS(guard_sizes), .loop = guard_pair_loop);

static void guard_sample_loop(struct bench *b)
{
    unsigned long irq = port_irq_save();

    bench_start(b);
    for (uint64_t i = b->n; i > 0; i--) {
        bool is_due = guard_sample(31);

        __asm__ volatile("" : : "r"(is_due) : "memory");
    }
    bench_stop(b);
    port_irq_restore(irq);
}

static void guard_sample_empty(struct bench *b)
{
    bench_start(b);
    for (uint64_t i = b->n; i > 0; i--)
        __asm__ volatile("" : : "r"(false) : "memory");
    bench_stop(b);
}
BENCH(GuardSample, .name = "GuardSample", .loop = guard_sample_loop, .empty = guard_sample_empty);
