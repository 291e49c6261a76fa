/*
 * A machine to pace: mutators that allocate and workers that mark, by figures alone, in steps of
 * simulated time.  The collector's side of mm/gc/pacer.h: clocks, credit, assists.
 *
 * A mark is walked in steps in which the workers mark their share of CPU time, and each CPU's
 * mutator has what is left: it allocates, pays what it owes out of the workers' credit, and marks
 * itself for the rest.  Integers only, so that it runs in the kernel too.
 */
#pragma once

#include "mm/gc/pacer.h"

#define SIM_CPUS_MAX 64u

/* What a program does in one cycle. */
struct sim_load {
    uint64_t alloc_rate; /* bytes that a mutator allocates in a millisecond of CPU time */
    uint64_t scan_rate;  /* bytes that a marker scans in one */
    uint64_t stack_bytes, global_bytes;
    uint64_t assist_max_ns;   /* in one go; 0: until all is paid */
    unsigned growth_permille; /* of what is alive, since the cycle before: 1000 is none */
    unsigned scan_permille;   /* of bytes that are in objects with pointers */
    unsigned idle_permille;   /* of the CPUs, which mark */
    unsigned worker_permille; /* of the time they are to have, that workers get */
};

struct sim {
    struct gc_pacer pacer;
    unsigned cpus;
    uint64_t alive_bytes; /* what a mark finds, but for what was allocated during it */

    /* The last cycle. */
    unsigned util_permille; /* workers and assists, of all CPU time */
    unsigned peak_permille; /* heap at its end, of the goal that it began with */
    unsigned way_permille;  /* trigger, of the way from marked to goal */
    uint64_t assist_bytes;  /* marked by mutators */
    uint64_t peak_bytes;
    bool is_swept; /* all of the cycle before, when it began */

    /* The mark under way. */
    uint64_t live_bytes, work_bytes, credit_bytes;
    uint64_t worker_ns, assist_ns, idle_ns, wall_ns;
    int64_t budget_ns[SIM_CPUS_MAX]; /* that mutators have not used; less than 0: ahead of time */
    struct gc_debt debts[SIM_CPUS_MAX];
};

void sim_init(struct sim *sim, const struct gc_pacer_settings *settings, uint64_t alive_bytes);
void sim_cycle(struct sim *sim, const struct sim_load *load);
