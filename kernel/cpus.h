/*
 * CPUs: start them, call a function on one or all, run a job on all.
 *
 * A call interrupts: the function runs in interrupt context, at once, and the caller waits.  A job
 * does not: it runs in the ordinary context of each CPU's idle loop, interrupts on.
 */
#pragma once

#include "arch/arch.h"

typedef void cpu_fn(void *arg);

unsigned cpus_online(void); /* CPUs that run; their indices are 0 .. cpus_online() - 1 */
unsigned cpus_start(unsigned limit, void *(*take_pages)(size_t n)); /* returns cpus_online() */

/*
 * cpu_call, cpu_call_all -- run fn(arg) in interrupt context on `cpu`, or on every CPU, this one
 * included, and wait until all are done.
 *   context  ordinary only: interrupts on, no lock held (two CPUs that call each other with
 *            interrupts off would wait for ever; CHECKed)
 */
void cpu_call(unsigned cpu, cpu_fn *fn, void *arg);
void cpu_call_all(cpu_fn *fn, void *arg);

/*
 * cpu_run_all -- run fn(arg) in ordinary context on the first `count` CPUs at once, this one (which
 * must be CPU 0's flow or a hosted thread that holds a CPU) included, and wait for all.
 */
void cpu_run_all(unsigned count, cpu_fn *fn, void *arg);

NORETURN void kernel_cpu_idle(void); /* a CPU's own flow: take jobs, else arch_idle */
