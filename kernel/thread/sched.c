/*
 * The scheduler: which thread runs on which CPU.
 *
 *     thread_wake --> queue of this CPU, or inbox of one that is idle --> runs
 *                       |  over SCHED_QUEUE_MAX                        |  parks, sleeps, ends
 *                       v                                              v
 *                     global queue --> CPUs that have none,          (waits for thread_wake, a tick,
 *                     or at every SCHED_TURN-th switch               thread_join)
 *
 * A CPU that finds nothing runs its own flow (kernel/cpus.h): jobs, idle work, sleep.
 *
 * Stealing, by request: nobody takes from another CPU's own queue, so that it needs no lock.  A CPU that
 * is about to sleep interrupts one that has threads waiting, the first being a random one, and that one
 * gives half of them.  A CPU that queues a thread gives it to an idle one at once, and its tick
 * looks for idle ones again.
 *
 * Switching.  No lock is held across it.  A thread that is left stands in its CPU's queue, or may be made
 * ready by anybody, before its registers are saved.  So is_on_cpu is true until its stack has been
 * left (sched_settle, on the next one's), and who makes it ready waits for that before he queues it
 * (sched_ready).  The wait is short: between setting its state and leaving its stack, interrupts
 * off, a thread waits for nobody.  A CPU that switches to a thread sets is_on_cpu, and waits if it is
 * set: that can only be somebody who looks at its stack (live.c).
 *
 * Sleep and wake-up.  An idle CPU sets its bit in sched_idle_cpus, then looks at all counts of queues,
 * then sleeps; who queues a thread counts it in, then looks at the bits.  All four are seq_cst, so at
 * least one sees the other: else both could read what was before, as x86 lets a load pass an earlier
 * store, and the thread would wait beside a CPU that sleeps.  Who wakes a CPU clears its bit first, so that
 * another thread that is queued meanwhile goes to another.
 *
 * A CPU's own flow has preemption off, always, so that it is neither preempted nor waits.
 *
 * Preemption.  A tick, or a more urgent thread, sets preempt.is_due; the switch comes at the end of the
 * interrupt (sched_preempt), or in preempt_enable.
 *
 * Locks: RUN_QUEUE, one at a time; none in a switch between threads of one CPU.
 *
 * Source: Go's scheduler (a queue per P, a global one looked at every 61st time, half is taken);
 * on_cpu: Linux's try_to_wake_up.
 */
#include "kernel/cpus.h"
#include "kernel/flow.h"
#include "kernel/panic.h"
#include "kernel/stat.h"
#include "kernel/thread/sched.h"
#include "kernel/thread/sched_impl.h"
#include "kernel/time.h"

STAT(sched, preempted);
STAT(sched, waited);

PERCPU(struct sched_cpu, sched_cpu);
struct shared_queue sched_global;
_Atomic uint64_t sched_idle_cpus;

bool sched_runs;

_Static_assert(ARCH_CPU_MAX <= 64, "a word has a bit for each CPU");
struct thread *thread_self(void)
{
    return (struct thread *)arch_percpu_word(&sched_cpu.current);
}

/* Somebody looks at its stack (live.c). */
void sched_wait_for(struct thread *thread)
{
    stat_inc(sched, waited);
    while (atomic_exchange_explicit(&thread->is_on_cpu, true, memory_order_acquire))
        arch_relax();
}

void sched_take_permit(struct thread *self)
{
    (void)atomic_exchange_explicit(&self->state, THREAD_RUNS, memory_order_acquire);
}

void sched_entry(void *arg)
{
    struct thread *self = arg;

    sched_settle();
    arch_irq_enable();
    self->entry(self->arg);
    thread_exit();
}

/* ---- What runs next ---- */

static void sched_take_global(struct sched_cpu *cpu)
{
    unsigned count = run_queue_count(&sched_global.queue);

    if (count != 0)
        shared_queue_take(&sched_global, &cpu->queue,
                          MIN(count / cpus_online() + 1, SCHED_MOVE_MAX));
}

static void sched_set_turns(struct sched_cpu *cpu, uint32_t turns)
{
    cpu->switches += cpu->turns_given - cpu->turns;
    cpu->turns = cpu->turns_given = turns;
}

/*
 * The queue is empty; or as many switches have passed as there may be between two looks at all else; or an
 * interrupt wants such a look now, and has set `turns` to 1.
 */
struct thread *sched_look_around(struct sched_cpu *cpu)
{
    bool is_turn = cpu->turns_given == SCHED_TURNS && cpu->turns == 0;
    struct thread *next;

    sched_set_turns(cpu, SCHED_TURNS);
    if (cpu_own_flow_is_wanted())
        return &cpu->idle;
    if (run_queue_count(&cpu->inbox.queue) != 0)
        shared_queue_take(&cpu->inbox, &cpu->queue, SCHED_QUEUE_MAX);
    if (cpu->queue.priorities == 0 || is_turn)
        sched_take_global(cpu);
    next = is_turn ? run_queue_pop_patient(&cpu->queue) : run_queue_pop(&cpu->queue);
    return next != NULL ? next : &cpu->idle;
}

void sched_attend(struct sched_cpu *cpu)
{
    sched_set_turns(cpu, 1);
}

void sched_switch_away(bool wants_cpu)
{
    sched_leave((struct thread *)this_cpu(sched_cpu)->current, wants_cpu);
}

COLD void sched_may_not_wait(const char *caller)
{
    if (!arch_irq_enabled())
        panic("%s: interrupts are off, or a lock is held", caller);
    if (this_cpu(preempt)->depth != 0)
        panic("%s: preemption is off", caller);
    panic("%s: not called by a thread", caller);
}

void thread_yield(void)
{
    sched_check_may_wait("thread_yield");
    arch_irq_disable();
    sched_leave((struct thread *)this_cpu(sched_cpu)->current, true);
    arch_irq_enable();
}

/* ---- Of CPUs' own flows, and preemption ---- */

/* From a CPU's own flow, which has preemption off: run others until it is wanted again. */
bool sched_run_others(struct sched_cpu *cpu)
{
    struct thread *next = sched_look_around(cpu);

    if (next == &cpu->idle)
        return false;
    cpu->switches++;
    this_cpu(preempt)->depth = 0;
    sched_switch(cpu, &cpu->idle, next);
    this_cpu(preempt)->depth = 1;
    return true;
}

void sched_arrive(void)
{
    sched_settle();
}

void sched_preempt(void)
{
    if (!sched_runs || this_cpu(preempt)->depth != 0)
        return;
    this_cpu(preempt)->is_due = 0;
    stat_inc(sched, preempted);
    sched_switch_away(true);
}

void preempt_now(void)
{
    arch_irq_disable();
    sched_preempt();
    arch_irq_enable();
}
