/*
 * CPUs: start them, call a function on one or all, run a job on all.
 *
 * A call interrupts: the function runs in interrupt context, at once, and the caller waits.  A job
 * does not: it runs in the ordinary context of each CPU's idle loop, interrupts on.  Idle work is
 * what a CPU does there when it has no job.
 */
#pragma once

#include <stdatomic.h>
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
 * cpu_post -- run fn(arg) in interrupt context on `cpu` soon, and do not wait.
 *   post     the caller's; not to be touched until cpu_post_is_done
 *   context  any but NMI
 */
struct cpu_work {
    cpu_fn *fn;
    void *arg;
    _Atomic unsigned pending; /* [A] CPUs that have yet to run it; release / acquire */
};

struct cpu_call_node {
    struct cpu_call_node *next; /* [C] once pushed */
    struct cpu_work *call;      /* [C] */
};

struct cpu_post {
    struct cpu_work work;
    struct cpu_call_node node;
};

void cpu_post(struct cpu_post *post, unsigned cpu, cpu_fn *fn, void *arg);
bool cpu_post_is_done(const struct cpu_post *post);

/*
 * cpu_run_all -- run fn(arg) in ordinary context on the first `count` CPUs at once, this one (which
 * must be CPU 0's flow or a hosted thread that holds a CPU) included, and wait for all.
 */
void cpu_run_all(unsigned count, cpu_fn *fn, void *arg);

/*
 * What a CPU asks the scheduler, once there is one (kernel/thread/sched.c).  All of these are called
 * with interrupts off.
 */
struct cpu_scheduler {
    void (*begin)(void); /* the CPU's own flow begins */
    bool (*run)(
        void); /* the CPU's own flow: run threads until there are none; false: there were none */
    bool (*rest)(void);   /* it will sleep now; false: it must not, there is work */
    void (*rested)(void); /* and is awake */
    void (*busy)(void);   /* it will do more than idle work */
    bool (*wait)(
        void); /* any flow, instead of sleep: a thread waits for this CPU's next interrupt, and
                             has, with interrupts on; false: it is the CPU's own flow, which shall sleep */
    void (*look)(void); /* an IPI has come: somebody may have been given to this CPU */
};

uint64_t cpu_interrupts(void); /* taken by this CPU: ticks, IPIs, input; interrupts off */
uint64_t cpu_interrupts_of(unsigned cpu); /* about; any context */
void cpu_note_interrupt(void);            /* one more */
bool cpu_own_flow_is_wanted(void);        /* a job waits for it, or the port; interrupts off */
void cpu_schedule_by(const struct cpu_scheduler *scheduler); /* once, CPU 0, before others start */

/*
 * IDLE_WORK(fn) -- at file scope: every idle CPU calls fn, from time to time and from whatever CPU
 * has nothing else to do, CPU 0 in the monitor's wait for input included.
 *   fn       does a bounded piece of work, about 50 us at most; returns true if it wants to be
 *            called again soon; else it is called after the CPU's next interrupt, and at the
 *            latest when the time is over that it has given to cpu_idle_again.  On several CPUs at
 *            once
 *   context  ordinary, no lock held, preemption off
 */
typedef bool idle_fn(void);
#define IDLE_WORK(fn) static idle_fn *const idle_ptr_##fn USED SECTION("idle_table") = fn

/* This CPU shall not sleep for longer than so many of arch_ticks(), once.  In an idle function. */
void cpu_idle_again(uint64_t ticks);
uint64_t cpu_idle_next(
    void); /* the arch_ticks() that it has to be awake by; UINT64_MAX: none.  Interrupts off */

/* How far a flow that waits has come in asking for idle work; {0} to begin with. */
struct cpu_idle {
    size_t next;  /* the function to ask */
    size_t quiet; /* functions asked in a row that wanted no more */
};

/*
 * cpu_idle_wait -- interrupts are off, and the caller has just looked in vain for what it waits
 * for: do a piece of idle work, or sleep until an interrupt when there is none.  Returns with
 * interrupts on; the caller turns them off and looks again.
 */
void cpu_idle_wait(struct cpu_idle *idle);

/*
 * cpu_idle_hold -- no idle work from here on, on any CPU, until cpu_idle_release: for whoever
 * compares what memory looks like before and after.  Waits for what is under way.  Nests; ordinary.
 */
void cpu_idle_hold(void);
void cpu_idle_release(void);

NORETURN void kernel_cpu_idle(void); /* a CPU's own flow: take jobs, else cpu_idle_wait */
