/*
 * The collected heap: layer 4, speaks typed objects.  (The theory stands in mm/gc/cycle.c.)
 */
#pragma once

#include "mm/gc/barrier.h"
#include "mm/gc/gc_types.h"
#include "mm/mm.h"

/*
 * gc_alloc_noscan -- bytes without pointers, which are not looked at; small ones share blocks.
 * gc_alloc_conservative -- bytes of which any aligned word may be a pointer.
 *   returns, context  as gc_new (mm/gc/gc_types.h)
 *   source   Go's mallocgc and tiny allocator; black allocation: Dijkstra et al., 1978
 */
void *gc_alloc_noscan(size_t bytes);
void *gc_alloc_conservative(size_t bytes);

/*
 * gc_free -- an object that nobody will use any more, before the collector finds that out.
 *   object   its first byte; NULL does nothing.  What is no object, or free: report and panic
 *   context  irq
 */
void gc_free(void *object);

/*
 * gc_root_add -- any word of a range may be a pointer to a collected object, until gc_root_remove.
 *   returns  false: memory is exhausted
 *   context  irq
 */
bool gc_root_add(const void *addr, size_t bytes);
bool gc_root_remove(const void *addr); /* false: no range begins there */

/* The same with memory of the caller's, so it cannot fail; which stays until the range is removed. */
struct gc_range {
    uintptr_t start, end; /* [C] */
    struct gc_range *next, *prev;
};

void gc_range_add(struct gc_range *range, const void *addr, size_t bytes); /* irq */
void gc_range_remove(struct gc_range *range);                              /* irq */

/*
 * gc_pin, gc_unpin -- an object stays, with all that it refers to, whoever refers to it: for devices,
 * and for whoever keeps its address where the collector does not look.  Pins are counted.
 *   returns  false: memory is exhausted; it is not pinned
 *   context  irq; gc_unpin's cost grows with the pins that there are
 */
bool gc_pin(const void *object);
bool gc_unpin(const void *object);

/*
 * gc_collect -- a whole cycle that begins after the call: what is garbage now is free when it
 * returns.
 *   context  ordinary, no lock held
 */
void gc_collect(void);

/*
 * gc_collect_idle -- the same, without a look at stacks and registers: exact, so even what a stale word
 * somewhere seems to refer to goes.  The caller knows that no thread refers to any object.
 */
void gc_collect_idle(void);

struct gc_stats {
    uint64_t cycles;      /* since start */
    size_t live_bytes;    /* marked by the last cycle */
    size_t heap_bytes;    /* in objects, with what waits in magazines */
    size_t goal_bytes;    /* that a cycle shall end by */
    size_t span_bytes;    /* of all spans */
    uint64_t allocs;      /* objects; those that wait in magazines are counted */
    uint64_t frees;       /* objects; and those that came back from magazines */
    uint64_t hold_max_ns; /* in a handshake, of any CPU */
    uint64_t hold_p99_ns;
    uint64_t world_stops; /* 0 unless gcstoptheworld= */
    uint64_t assist_ns;   /* that allocation spent marking */
    uint64_t mark_ns;     /* that all CPUs spent marking */
};
struct gc_stats gc_stats(void); /* irq; about, while a cycle is on */

/*
 * What the collector needs of threads, which are above it.  Ordinary context, all but `wake`.
 */
enum gc_waiters {
    GC_WAITERS_WORK,
    GC_WAITERS_COLLECTOR,
    GC_WAITERS_CYCLE,
    GC_WAITERS_SWEEP,
    GC_WAITERS
};

enum gc_thread_priority { GC_THREAD_URGENT, GC_THREAD_NORMAL, GC_THREAD_BACKGROUND };

struct gc_threads {
    /* Run fn(arg) on a thread of its own, on one of the CPUs that have a bit; 0: any.  false: no memory. */
    bool (*start)(const char *name, void (*fn)(void *arg), void *arg, uint64_t cpus,
                  enum gc_thread_priority priority);
    /*
     * Call fn for what each thread lives on, once each, while it does not run: saved registers, the live
     * part of its stack; in interrupt context.  Threads made meanwhile are of no concern.
     */
    void (*scan_stacks)(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);
    /* Until is_over(arg); and all who wait there look again, irq. */
    void (*wait)(enum gc_waiters where, bool (*is_over)(void *arg), void *arg);
    void (*wake)(enum gc_waiters where);
    void (*sleep)(uint64_t ns);
    void (*yield)(void);
    bool (*can_wait)(void); /* this context */
};

void gc_init(void); /* mm_init */
/* From here on there are cycles, by threads that are made at first use.  Once, when all CPUs run. */
void gc_start(const struct gc_threads *threads);
void gc_check(void); /* panics on a broken invariant, all CPUs stand still; ordinary */
void gc_drain(void); /* slots in magazines back to their spans; ordinary */
