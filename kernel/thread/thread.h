/*
 * Threads: Go's G; CPUs are its M and P in one.
 *
 * A thread runs on a stack of its own (mm/stack/stack.h), is preempted by ticks, and moves between
 * CPUs unless it is bound to some.  Main, which boots, and a hosted process's threads that have
 * entered are threads too, bound to their CPU.
 */
#pragma once

#include "kernel/base/base.h"

#define THREAD_NAME_BYTES 24

struct thread;

enum thread_priority { THREAD_URGENT, THREAD_NORMAL, THREAD_BACKGROUND, THREAD_PRIORITIES };

struct thread_options {
    size_t stack_bytes;            /* limit, guard included; 0: STACK_DEFAULT_BYTES */
    enum thread_priority priority; /* THREAD_URGENT is 0: say which */
    uint64_t cpus;                 /* that it may run on, a bit each; 0: all */
};

/*
 * thread_create -- a thread that runs entry(arg), from now on.
 *   name     kept in part: THREAD_NAME_BYTES - 1 bytes
 *   arg      may be a collected object: it stays while the thread does
 *   options  NULL: default stack, THREAD_NORMAL, all CPUs
 *   returns  NULL when memory is exhausted
 *   pairs    thread_join or thread_detach, once
 *   context  irq
 */
struct thread *thread_create(const char *name, void (*entry)(void *arg), void *arg,
                             const struct thread_options *options);

NORETURN void thread_exit(void);           /* as a return from entry; ordinary, not main */
void thread_join(struct thread *thread);   /* wait until it has ended; it is gone then; ordinary */
void thread_detach(struct thread *thread); /* nobody will join it; irq */

struct thread *thread_self(void); /* ordinary */
const char *thread_name(const struct thread *thread);

/*
 * thread_park, thread_wake -- wait for a permit, and take it; give one.  A thread has one permit at
 * most: thread_wake before thread_park makes that return at once, twice counts as once.  So whoever
 * parks looks again for what he waits for, in a loop.
 *   context  park: ordinary, preemption on; wake: irq, for a thread that has not been joined
 */
void thread_park(void);
void thread_wake(struct thread *thread);

/*
 * thread_next -- walk over all threads: the one after `thread`, NULL: the first.  It stays valid until
 * it is passed to thread_next again, which a walk must go on with until that gives NULL.  irq
 */
struct thread *thread_next(struct thread *thread);

/*
 * thread_own -- walk over CPUs' own flows, which are in no other walk: main or who has entered, and the
 * idle flow, of each CPU.
 *   idx      0 and up
 *   returns  NULL: no more.  It stays valid, though nobody may have entered
 *   context  any
 */
struct thread *thread_own(unsigned idx);

/* What the monitor shows of a thread. */
struct thread_info {
    char name[THREAD_NAME_BYTES];
    /*
     * "running", "ready", "parked", "asleep", "ended"; a CPU's own flow also "idle": the CPU is, or
     * "standing by": it runs others, or "outside": nobody has entered
     */
    const char *state;
    enum thread_priority priority;
    unsigned cpu;         /* where it runs, or ran last */
    size_t stack_limit;   /* bytes that it may use; 0: a CPU's own, and so the next two */
    size_t stack_backed;  /* bytes */
    size_t stack_deepest; /* bytes, the most that were ever backed */
    uint64_t ran_ns;      /* time on CPUs */
    char waits_on[64];    /* "" or for whom */
};

/* Pinned by thread_next, or a CPU's own; irq. */
void thread_info(struct thread *thread, struct thread_info *info);

/*
 * thread_live -- call fn for what a thread lives on: saved registers and the live part of its stack.  A
 * thread that runs on another CPU is interrupted there for it, one that does not is kept from running.
 *   fn       [start, end), once or more; interrupts off, on the CPU that it runs on if it does, so it
 *            is short, takes no lock and waits for nobody
 *   returns  false: it has ended; of a CPU's own: nobody has entered, or it is idle and has stepped
 *            aside, so that it lives on nothing.  fn has not been called
 *   context  ordinary, no lock held; `thread` is pinned by thread_next, cannot have been joined, or is
 *            a CPU's own (thread_own)
 */
bool thread_live(struct thread *thread, void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                 void *arg);

/*
 * thread_shrink_stacks -- give back pages of stacks of which less than a quarter is in use, of all
 * threads: of those that run at the moment that they are interrupted for it.
 *   returns  pages
 *   context  ordinary, no lock held
 */
size_t thread_shrink_stacks(void);

void thread_yield(void);                     /* let others of the same priority run; ordinary */
void thread_sleep_until(uint64_t uptime_ns); /* ordinary; at a tick's resolution */
