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
 *   options  NULL: default stack, THREAD_NORMAL, all CPUs
 *   returns  NULL when memory is exhausted
 *   pairs    thread_join or thread_detach, once
 *   context  irq
 */
struct thread *thread_create(const char *name, void (*entry)(void *arg), void *arg,
                             const struct thread_options *options);

NORETURN void thread_exit(void);            /* as a return from entry; ordinary, not main */
void thread_join(struct thread *thread);    /* wait until it has ended; it is gone then; ordinary */
void thread_detach(struct thread *thread);  /* nobody will join it; irq */

struct thread *thread_self(void);           /* ordinary */
const char *thread_name(const struct thread *thread);

/*
 * thread_park, thread_wake -- wait for a permit, and take it; give one.  A thread has one permit at
 * most: thread_wake before thread_park makes that return at once, twice counts as once.  So whoever
 * parks looks again for what he waits for, in a loop.
 *   context  park: ordinary, preemption on; wake: irq, for a thread that has not been joined
 */
void thread_park(void);
void thread_wake(struct thread *thread);

void thread_yield(void);                    /* let others of the same priority run; ordinary */
void thread_sleep_until(uint64_t uptime_ns); /* ordinary; at a tick's resolution */

/* No switch to another thread on this CPU, and so none to another CPU, until enabled.  Nests. */
void preempt_disable(void);
void preempt_enable(void);
