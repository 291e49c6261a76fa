/* Starting the scheduler; what it counts. */
#pragma once

#include "kernel/base/base.h"

/*
 * sched_init -- the flow that calls becomes the thread "main", bound to CPU 0.  Threads can be made,
 * and run; other CPUs join when they start.
 *   context  CPU 0, once, after mm_init and arch_interrupt_init; interrupts as they are
 */
void sched_init(void);

struct sched_stats {
    size_t threads; /* in the table, ended ones that nobody has joined included */
    size_t queued;  /* that wait for a CPU */
    size_t global;  /* of these, in the global queue */
    unsigned idle;  /* CPUs that sleep or look for work */
};
struct sched_stats sched_stats(void);  /* as of about now; any context */
size_t sched_queued(unsigned cpu);     /* threads in its queue */
uint64_t sched_switches(unsigned cpu); /* since start */

/* The line that schedtrace= prints; and start printing it, if that is set. */
#define SCHED_TRACE_LINE_BYTES (160 + 64 * 32)
void sched_trace_line(char *text, size_t bytes);
void sched_trace_start(void);
