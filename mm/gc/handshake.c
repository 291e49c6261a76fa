/*
 * Handshakes: every CPU, one after another, answers in an interrupt.
 *
 * There is never more than one CPU held at a time, by this.  How long each is held is counted by size: eight
 * buckets for each power of two of nanoseconds, so that a percentile is right to an eighth; and the longest
 * of this cycle is kept for each CPU.
 */
#include "mm/gc/gc_impl.h"

#define HOLD_STEPS   8u /* buckets for each power of two */
#define HOLD_BUCKETS (40 * HOLD_STEPS)

static _Atomic uint64_t hold_counts[HOLD_BUCKETS]; /* [A] relaxed */
static _Atomic uint64_t hold_max_ns;               /* [A] relaxed */

uint64_t gc_ticks_to_ns(uint64_t ticks)
{
    uint64_t hz = port_ticks_per_second();

    return hz != 0 ? ticks / hz * 1000000000u + ticks % hz * 1000000000u / hz : 0;
}

uint64_t gc_ns_to_ticks(uint64_t ns)
{
    uint64_t hz = port_ticks_per_second();

    return ns / 1000000000u * hz + ns % 1000000000u * hz / 1000000000u;
}

static unsigned hold_bucket(uint64_t ns)
{
    if (ns < HOLD_STEPS)
        return (unsigned)ns;

    unsigned log = 63 - (unsigned)__builtin_clzll(ns);

    return MIN((log - 2) * HOLD_STEPS + (unsigned)(ns >> (log - 3) & 7), HOLD_BUCKETS - 1);
}

/* The most that is in a bucket. */
static uint64_t hold_bucket_ns(unsigned bucket)
{
    if (bucket < HOLD_STEPS)
        return bucket;
    return ((uint64_t)(HOLD_STEPS + bucket % HOLD_STEPS + 1) << (bucket / HOLD_STEPS - 1)) - 1;
}

void gc_hold_note(uint64_t ticks)
{
    uint64_t ns = gc_ticks_to_ns(ticks);
    uint64_t max = atomic_load_explicit(&hold_max_ns, memory_order_relaxed);
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);

    atomic_fetch_add_explicit(&hold_counts[hold_bucket(ns)], 1, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(
                           &hold_max_ns, &max, ns, memory_order_relaxed, memory_order_relaxed))
        continue;
    if (ns > atomic_load_explicit(&cpu->held_ns, memory_order_relaxed))
        atomic_store_explicit(&cpu->held_ns, ns, memory_order_relaxed);
}

void gc_hold_begin(void)
{
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        atomic_store_explicit(&port_cpu(gc_cpu, cpu)->held_ns, 0, memory_order_relaxed);
}

uint64_t gc_hold_max_ns(void)
{
    return atomic_load_explicit(&hold_max_ns, memory_order_relaxed);
}

uint64_t gc_hold_p99_ns(void)
{
    uint64_t total = 0, seen = 0;
    unsigned bucket = 0;

    for (unsigned i = 0; i < HOLD_BUCKETS; i++)
        total += atomic_load_explicit(&hold_counts[i], memory_order_relaxed);
    for (; bucket < HOLD_BUCKETS - 1; bucket++) {
        seen += atomic_load_explicit(&hold_counts[bucket], memory_order_relaxed);
        if (seen * 100 >= total * 99)
            break;
    }
    return MIN(hold_bucket_ns(bucket), gc_hold_max_ns());
}

static void handshake_answer(void *fn)
{
    uint64_t start = port_ticks();

    (*(void (**)(void))fn)();
    gc_hold_note(port_ticks() - start);
}

void gc_handshake(void (*fn)(void))
{
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        port_call(cpu, handshake_answer, &fn);
}
