/*
 * Stopping all CPUs but one, and where pointers may stand while they are: for debugging aids that
 * look at all of memory at one moment.
 */
#pragma once

#include "kernel/cpus.h"

/*
 * stop_others -- run fn(arg) on this CPU, interrupts off, while all others stand still in interrupt
 * context, so with no lock held; what they have in their registers is on their stacks.
 *   context  ordinary, no lock held; one at a time, who comes second waits.  Not in a forked child
 *            of a hosted process, whose other CPUs do not exist
 */
void stop_others(cpu_fn *fn, void *arg);

/*
 * stop_each_root -- inside stop_others only: call fn for each range, [start, end), that may hold
 * pointers besides what page_alloc has handed out: static variables, live parts of stacks, saved
 * registers.  Per-CPU variables of CPUs other than 0 are in pages from page_alloc.
 */
void stop_each_root(arch_range_fn *fn, void *arg);

/* The last two of these only. */
void stop_each_stack(arch_range_fn *fn, void *arg);

/* Where threads' stacks are, once there are threads: of those that do not run, and the pages of all. */
struct stop_threads {
    void (*roots)(arch_range_fn *fn, void *arg);
    void (*nonroots)(arch_range_fn *fn, void *arg);
};
void stop_threads_by(const struct stop_threads *threads); /* once, CPU 0, before others start */

/* What page_alloc has handed out that holds stacks, dead parts of them too.  Any context. */
void stop_each_nonroot(arch_range_fn *fn, void *arg);
