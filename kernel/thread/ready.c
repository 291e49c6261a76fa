/*
 * Where a thread goes that is ready to run, and how CPUs share what waits for them.  The theory stands in
 * sched.c: stealing by request; sleep and wake-up.
 *
 * Locks: RUN_QUEUE, one at a time.
 */
#include "kernel/cpus.h"
#include "kernel/stat.h"
#include "kernel/thread/sched_impl.h"

STAT(sched, given);

/* Take an idle CPU out of the bits, and so for this thread; false: it was not idle any more. */
bool sched_claim(unsigned cpu)
{
    uint64_t bit = 1ull << cpu;

    return (atomic_fetch_and_explicit(&sched_idle_cpus, ~bit, memory_order_seq_cst) & bit) != 0;
}

/* An idle CPU that a thread may run on, the one where it ran last if possible; claimed.  -1: none. */
static int sched_claim_idle(const struct thread *thread)
{
    unsigned last = atomic_load_explicit(&thread->cpu, memory_order_relaxed);
    uint64_t idle;

    while ((idle = atomic_load_explicit(&sched_idle_cpus, memory_order_seq_cst) & thread->cpus) !=
           0) {
        unsigned cpu = idle >> last & 1 ? last : (unsigned)__builtin_ctzll(idle);

        if (sched_claim(cpu))
            return (int)cpu;
    }
    return -1;
}

void sched_ask_preempt(void)
{
    this_cpu(preempt)->is_due = 1;
    arch_preempt_ask();
}

/* Is somebody in this CPU's queue more urgent than who runs? */
void sched_look(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    const struct thread *self = (struct thread *)cpu->current;

    if (self != &cpu->idle && run_queue_urgency(&cpu->queue) < self->priority)
        sched_ask_preempt();
}

/* A CPU that it may run on, none being idle. */
static unsigned sched_place(const struct thread *thread)
{
    unsigned me = arch_cpu_id(), last = atomic_load_explicit(&thread->cpu, memory_order_relaxed);

    if (thread->cpus >> me & 1)
        return me;
    return thread->cpus >> last & 1 ? last : (unsigned)__builtin_ctzll(thread->cpus);
}

/* Threads that wait here, but for one that this CPU takes itself where it does nothing else. */
static unsigned sched_surplus(const struct sched_cpu *cpu)
{
    unsigned count = run_queue_count(&cpu->queue);

    return cpu->current == (uintptr_t)&cpu->idle && count > 0 ? count - 1 : count;
}

/*
 * Threads wait here while CPUs sleep: half of them for each that may run one.  Not the last one from an
 * idle CPU: two would send it to and fro.
 */
void sched_share(struct sched_cpu *cpu)
{
    uint64_t idle = atomic_load_explicit(&sched_idle_cpus, memory_order_seq_cst);
    unsigned surplus;

    while (idle != 0 && (surplus = sched_surplus(cpu)) != 0 &&
           (idle = run_queue_cpus(&cpu->queue, idle)) != 0) {
        unsigned to = (unsigned)__builtin_ctzll(idle);

        idle &= idle - 1;
        if (!sched_claim(to))
            continue;
        stat_add(sched, given,
                 run_queue_give(&cpu->queue, &cpu_var(sched_cpu, to)->inbox, to,
                                MIN((surplus + 1) / 2, SCHED_MOVE_MAX)));
        arch_ipi_send(to); /* also where there was none: it has been claimed */
    }
}

/* To a CPU that is idle, or one that it may run on; or to this one, or to whoever comes. */
static void sched_ready_anywhere(struct sched_cpu *cpu, struct thread *thread)
{
    unsigned me = arch_cpu_id(), to = me;
    int idle;

    if (cpu->current != (uintptr_t)&cpu->idle || !(thread->cpus >> me & 1)) {
        idle = sched_claim_idle(thread);
        to = idle >= 0 ? (unsigned)idle : sched_place(thread);
    }
    if (to != me) {
        shared_queue_push(&cpu_var(sched_cpu, to)->inbox, thread);
        arch_ipi_send(to);
    } else if (thread->cpus == UINT64_MAX && run_queue_count(&cpu->queue) >= SCHED_QUEUE_MAX) {
        shared_queue_push(&sched_global, thread);
    } else {
        (void)sched_queue_here(cpu, me, thread);
    }
}

/* What has been queued here may be for others, or for this CPU at once. */
void sched_ready_more(struct sched_cpu *cpu)
{
    if (atomic_load_explicit(&sched_idle_cpus, memory_order_relaxed) != 0)
        sched_share(cpu);
    sched_look();
}

void sched_ready_slow(struct thread *thread)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    while (atomic_load_explicit(&thread->is_on_cpu, memory_order_acquire))
        arch_relax();
    sched_ready_anywhere(cpu, thread);
    atomic_thread_fence(memory_order_seq_cst); /* the count before the bits, see sched.c */
    sched_ready_more(cpu);
}
