/*
 * Benchmarks of threads, all on one CPU.
 *
 *     ThreadSwitch      one of two threads yields to the other; an operation is one switch
 *     ThreadSpawnJoin   a thread is made, runs, ends and is joined; its stack comes from the CPU's cache
 *     ThreadParkWake    one wakes another and parks; that one wakes it and parks: a round trip
 */
#include <stdatomic.h>
#include "kernel/thread/thread.h"
#include "tests/bench/bench.h"

static const char bench_no_thread[] = "no memory for a thread";
static const struct thread_options bench_here = {.priority = THREAD_NORMAL, .cpus = 1};

struct bench_pair {
    struct thread *main;
    uint64_t n;
    _Atomic bool is_over;
};

/* ---- Switch ---- */

static void switch_other(void *arg)
{
    struct bench_pair *pair = arg;

    while (!atomic_load_explicit(&pair->is_over, memory_order_relaxed))
        thread_yield();
}

/* Each turn of the loop is two switches: there and back. */
static void thread_switch(struct bench *bench)
{
    struct bench_pair pair = {0};
    struct thread *other = thread_create("bench", switch_other, &pair, &bench_here);

    if (other == NULL) {
        bench->skip = bench_no_thread;
        return;
    }
    thread_yield();
    bench_start(bench);
    for (uint64_t i = bench->n / 2; i > 0; i--)
        thread_yield();
    bench_stop(bench);
    atomic_store_explicit(&pair.is_over, true, memory_order_relaxed);
    thread_join(other);
}

static void thread_switch_empty(struct bench *bench)
{
    _Atomic bool is_over = false;

    bench_start(bench);
    for (uint64_t i = bench->n; i > 0 && !atomic_load_explicit(&is_over, memory_order_relaxed); i--)
        bench_call();
    bench_stop(bench);
}

BENCH(ThreadSwitch, .name = "ThreadSwitch", .batch = 2, .loop = thread_switch,
      .empty = thread_switch_empty);

/* ---- Spawn, join ---- */

static void spawned(void *unused)
{
    (void)unused;
}

static void thread_spawn_join(struct bench *bench)
{
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--) {
        struct thread *thread = thread_create("bench", spawned, NULL, &bench_here);

        if (thread == NULL) {
            bench->skip = bench_no_thread;
            return;
        }
        thread_join(thread);
    }
    bench_stop(bench);
}

BENCH(ThreadSpawnJoin, .name = "ThreadSpawnJoin", .loop = thread_spawn_join);

/* ---- Park, wake ---- */

static void park_other(void *arg)
{
    struct bench_pair *pair = arg;

    for (;;) {
        thread_park();
        if (atomic_load_explicit(&pair->is_over, memory_order_relaxed))
            return;
        thread_wake(pair->main);
    }
}

static void thread_park_wake(struct bench *bench)
{
    struct bench_pair pair = {.main = thread_self()};
    struct thread *other = thread_create("bench", park_other, &pair, &bench_here);

    if (other == NULL) {
        bench->skip = bench_no_thread;
        return;
    }
    thread_yield();
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--) {
        thread_wake(other);
        thread_park();
    }
    bench_stop(bench);
    atomic_store_explicit(&pair.is_over, true, memory_order_relaxed);
    thread_wake(other);
    thread_join(other);
}

BENCH(ThreadParkWake, .name = "ThreadParkWake", .loop = thread_park_wake);
