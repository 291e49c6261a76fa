/*
 * Threads that sleep until a time: each CPU has a heap of those that fell asleep there, and its tick
 * wakes those whose time has come.  A CPU without periodic ticks has itself woken for the first.
 *
 * The heap is a skew heap: two pointers a thread, no memory to allocate, some 2 log n steps.
 *
 * Locks: none; the heap is its CPU's, with interrupts off.
 *
 * Source: Sleator, Tarjan, "Self-Adjusting Heaps", 1986.
 */
#include "kernel/thread/sched_impl.h"
#include "kernel/time.h"

#define SLEEP_WAKES_MAX 256u /* by one tick; the next wakes more */

static struct thread *sleep_merge(struct thread *a, struct thread *b)
{
    struct thread *root = NULL, **slot = &root;

    while (a != NULL && b != NULL) {
        if (b->wake_at < a->wake_at) {
            struct thread *other = a;

            a = b;
            b = other;
        }

        struct thread *right = a->next;

        a->next = a->left;
        *slot = a;
        slot = &a->left;
        a = right;
    }
    *slot = a != NULL ? a : b;
    return root;
}

void thread_sleep_until(uint64_t uptime_ns)
{
    sched_check_may_wait("thread_sleep_until");
    for (;;) {
        uint64_t now = time_uptime_ns();
        uint64_t ticks = now < uptime_ns ? time_ns_to_ticks(uptime_ns - now) : 0;

        if (ticks == 0)
            return;
        arch_irq_disable();

        struct sched_cpu *cpu = this_cpu(sched_cpu);
        struct thread *self = thread_self();

        self->wake_at = arch_ticks() + MIN(ticks, UINT64_MAX / 2);
        self->next = NULL;
        self->left = NULL;
        /* A permit that it has, or gets meanwhile, stays for its next thread_park. */
        atomic_fetch_or_explicit(&self->state, THREAD_SLEEPS, memory_order_acq_rel);
        cpu->sleepers = sleep_merge(cpu->sleepers, self);
        sched_switch_away(false);
        arch_irq_enable();
    }
}

void sleep_wake_due(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    uint64_t now = arch_ticks();

    for (unsigned i = 0; i < SLEEP_WAKES_MAX && sleep_next() <= now; i++) {
        struct thread *thread = cpu->sleepers;

        cpu->sleepers = sleep_merge(thread->left, thread->next);
        atomic_fetch_and_explicit(&thread->state, (uint8_t)~THREAD_SLEEPS, memory_order_acq_rel);
        sched_ready(thread);
    }
}

uint64_t sleep_next(void)
{
    const struct thread *first = this_cpu(sched_cpu)->sleepers;

    return first != NULL ? first->wake_at : UINT64_MAX;
}
