/*
 * The scheduler's short paths, inline where threads are parked and woken: leave a thread for another,
 * make one ready, thread_wake, thread_park.  The theory stands in sched.c.  All with interrupts off.
 */
#pragma once

#include "kernel/thread/thread_impl.h"

COLD void sched_wait_for(struct thread *thread);
COLD void sched_take_permit(struct thread *self);
COLD struct thread *sched_look_around(struct sched_cpu *cpu);

/* ---- Switching ---- */

/* On the stack of the thread that goes on: the one that was left may run elsewhere, or is gone. */
static ALWAYS_INLINE void sched_settle(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    struct thread *previous = cpu->previous;

    if (ARCH_HAS_IDLE_FLOW)
        cpu->previous = NULL;
    stack_entered(&((struct thread *)cpu->current)->stack);
    if (ARCH_HAS_IDLE_FLOW && previous == NULL) /* somebody has left the CPU to us */
        return;
    if (UNLIKELY(atomic_load_explicit(&previous->state, memory_order_relaxed) & THREAD_ENDED))
        thread_ended(previous);
    else
        atomic_store_explicit(&previous->is_on_cpu, false, memory_order_release);
    stack_refill();
}

/* `ran` is less the time at which it came to its CPU while a thread runs: so it is two additions. */
static ALWAYS_INLINE void sched_switch(struct sched_cpu *cpu, struct thread *self,
                                       struct thread *next)
{
    uint64_t now = arch_ticks();

    self->ran += now;
    next->ran -= now;
    cpu->previous = self;
    cpu->current = (uintptr_t)next;
    if (UNLIKELY(atomic_exchange_explicit(&next->is_on_cpu, true, memory_order_acquire)))
        sched_wait_for(next);
    stack_prepare(&next->stack);
    arch_flow_switch(&self->flow, &next->flow);
    sched_settle();
}

/*
 * Leave the thread that runs, and run another.  Interrupts off and preemption on; so when it returns,
 * maybe on another CPU.
 *   wants_cpu  it goes to the end of the queue; false: somebody makes it ready, maybe already
 */
static ALWAYS_INLINE void sched_leave(struct thread *self, bool wants_cpu)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    struct thread *next;

    if (UNLIKELY(--cpu->turns == 0 || cpu->queue.priorities == 0)) {
        if (wants_cpu)
            run_queue_push(&cpu->queue, self);
        next = sched_look_around(cpu);
        if (next == self)
            return;
    } else if (wants_cpu) {
        unsigned urgency = (unsigned)__builtin_ctz(cpu->queue.priorities);

        if (urgency > self->priority)
            return;
        next = run_queue_exchange(&cpu->queue, urgency, self);
    } else {
        next = run_queue_pop(&cpu->queue);
    }
    sched_switch(cpu, self, next);
}

/* Out of line, the thread that runs. */
void sched_switch_away(bool wants_cpu);

/* ---- Making ready ---- */

void sched_ready_slow(struct thread *thread);
void sched_ready_more(struct sched_cpu *cpu);

/*
 * Returns the bits of idle CPUs, looked at when the thread has been counted: see sched.c, sleep and wake-up.
 */
static ALWAYS_INLINE uint64_t sched_queue_here(struct sched_cpu *cpu, unsigned me,
                                               struct thread *thread)
{
    atomic_store_explicit(&thread->cpu, (uint16_t)me, memory_order_relaxed);
    run_queue_link(&cpu->queue, thread);
    atomic_fetch_add_explicit(&cpu->queue.count, 1, memory_order_seq_cst);
    return atomic_load_explicit(&sched_idle_cpus, memory_order_seq_cst);
}

/*
 * A thread that has been taken out of its waiting runs again: here, as a rule.  What is in this CPU's queue
 * nobody else touches, so the thread is there until sched_ready_more gives it away.
 */
static ALWAYS_INLINE void sched_ready(struct thread *thread)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    uint64_t idle = atomic_load_explicit(&sched_idle_cpus, memory_order_relaxed);
    unsigned me = arch_cpu_id();

    if (UNLIKELY(atomic_load_explicit(&thread->is_on_cpu, memory_order_acquire)) ||
        UNLIKELY((idle & thread->cpus) != 0) ||
        UNLIKELY(run_queue_count(&cpu->queue) >= SCHED_QUEUE_MAX) ||
        UNLIKELY((thread->cpus >> me & 1) == 0)) {
        sched_ready_slow(thread);
        return;
    }
    if (UNLIKELY(sched_queue_here(cpu, me, thread) != 0) ||
        UNLIKELY(thread->priority < ((struct thread *)cpu->current)->priority))
        sched_ready_more(cpu);
}

/* ---- The steps of thread_wake and thread_park ---- */

static ALWAYS_INLINE void thread_wake_off(struct thread *thread)
{
    uint8_t state = THREAD_PARKED;

    if (!atomic_compare_exchange_strong_explicit(&thread->state, &state, THREAD_RUNS,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        state = atomic_fetch_or_explicit(&thread->state, THREAD_PERMIT, memory_order_acq_rel);
        if (state != THREAD_PARKED)
            return;
        /* Not a store: what others wrote who have set the permit since shall be seen, too. */
        (void)atomic_exchange_explicit(&thread->state, THREAD_RUNS, memory_order_acq_rel);
    }
    sched_ready(thread);
}

/* It may wait: sched_check_may_wait.  When it returns, maybe on another CPU. */
static ALWAYS_INLINE void thread_park_off(struct thread *self)
{
    uint8_t state = THREAD_RUNS;

    if (LIKELY(atomic_compare_exchange_strong_explicit(&self->state, &state, THREAD_PARKED,
                                                       memory_order_acq_rel, memory_order_acquire)))
        sched_leave(self, false);
    else
        sched_take_permit(self);
}
