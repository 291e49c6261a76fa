/*
 * What the scheduler is to a CPU: idle, ticks, flows of its own, start; and what it counts.  The theory
 * stands in sched.c.
 */
#include "kernel/cpus.h"
#include "kernel/flow.h"
#include "kernel/panic.h"
#include "kernel/thread/sched.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"

/* ---- Idle CPUs (struct cpu_scheduler) ---- */

/*
 * Is there work for this CPU?  It has its bit set by now.  What waits in other CPUs' queues these are asked
 * to give: they see the bit.
 */
static bool sched_has_work(const struct sched_cpu *cpu)
{
    unsigned count = cpus_online(), me = arch_cpu_id();
    unsigned first = (unsigned)(arch_ticks() >> 4);

    if (cpu->queue.priorities != 0 || run_queue_count(&cpu->inbox.queue) != 0 ||
        run_queue_count(&sched_global.queue) != 0)
        return true;
    for (unsigned i = 0; i < count; i++) {
        unsigned other = (first + i) % count;

        if (other != me && run_queue_count(&cpu_var(sched_cpu, other)->queue) != 0) {
            arch_ipi_send(other);
            return false;
        }
    }
    return false;
}

static void sched_wake_waiter(struct sched_cpu *cpu)
{
    struct thread *waiter = cpu->waiter;

    if (waiter != NULL && cpu_interrupts() != cpu->waiter_seen) {
        cpu->waiter = NULL;
        thread_wake(waiter);
    }
}

/*
 * Have one tick then, or none.  One that is due earlier stays: to change it is what costs, most of all
 * where the clock's registers are a program's.
 */
static void sched_tick_at(struct sched_cpu *cpu, uint64_t next)
{
    uint64_t now = arch_ticks();

    if (cpu->tick_at != TICK_ALWAYS && cpu->tick_at <= next && cpu->tick_at > now)
        return;
    if (next == TICK_NEVER) {
        arch_tick_start(0);
    } else {
        next = MIN(next, now + arch_ticks_per_second()); /* so late it may come at most */
        arch_tick_once(next > now ? next - now : 1);
    }
    cpu->tick_at = next;
}

/* It will run something: ticks, from now on. */
static void sched_busy(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    if (cpu->tick_at == TICK_ALWAYS)
        return;
    cpu->tick_at = TICK_ALWAYS;
    arch_tick_start(TIME_TICK_HZ);
}

static bool sched_run(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    sched_wake_waiter(cpu);
    if (arch_idle_is_wanted())
        return false;
    if (cpu->queue.priorities == 0 && run_queue_count(&cpu->inbox.queue) == 0 &&
        run_queue_count(&sched_global.queue) == 0)
        return false;
    sched_busy();
    return sched_run_others(cpu);
}

static bool sched_rest(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    uint64_t bit = 1ull << arch_cpu_id(), next;

    atomic_fetch_or_explicit(&sched_idle_cpus, bit, memory_order_seq_cst);
    if (sched_has_work(cpu) || (cpu->waiter != NULL && cpu_interrupts() != cpu->waiter_seen)) {
        atomic_fetch_and_explicit(&sched_idle_cpus, ~bit, memory_order_seq_cst);
        return false;
    }
    next = MIN(sleep_next(), cpu_idle_next());
    sched_tick_at(cpu, MIN(next, watchdog_next()));
    return true;
}

static void sched_rested(void)
{
    (void)sched_claim(arch_cpu_id());
    sleep_wake_due();
}

/*
 * An IPI: somebody has put a thread into the inbox, or is idle and asks for some; or the stack that runs
 * here has grown with interrupts off.
 */
static void sched_asked(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    stack_refill();
    if (run_queue_count(&cpu->inbox.queue) != 0)
        shared_queue_take(&cpu->inbox, &cpu->queue, SCHED_QUEUE_MAX);
    sched_attend(cpu); /* to a job, too */
    sched_share(cpu);
    sched_look();
}

static bool sched_wait(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    struct thread *self = thread_self();

    if (self == &cpu->idle)
        return false;
    CHECK(cpu->waiter == NULL && self->cpus == 1ull << arch_cpu_id());
    cpu->waiter_seen = cpu_interrupts();
    cpu->waiter = self;
    arch_irq_enable();
    thread_park();
    return true;
}

/* ---- Ticks ---- */

static void sched_tick(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    const struct thread *self = (struct thread *)cpu->current;

    if (!sched_runs)
        return;
    sleep_wake_due();
    sched_wake_waiter(cpu);
    stack_refill();
    sched_share(cpu);
    if (self != &cpu->idle && (run_queue_urgency(&cpu->queue) <= self->priority ||
                               run_queue_count(&sched_global.queue) != 0))
        sched_ask_preempt();
}
TICK_WORK(sched_tick);

/* ---- Start ---- */

/*
 * One of a CPU's own flows runs there, not by a switch.  Somebody may look at it just then, who finds
 * nothing there (live.c): for that it waits, as a switch does.
 */
static void sched_set_current(struct sched_cpu *cpu, struct thread *thread)
{
    if (cpu->current != (uintptr_t)thread) {
        while (atomic_exchange_explicit(&thread->is_on_cpu, true, memory_order_acquire))
            arch_relax();
        thread->ran -= arch_ticks();
        cpu->current = (uintptr_t)thread;
    }
    this_cpu(preempt)->depth = thread == &cpu->idle;
    stack_entered(&thread->stack);
}

/* One of them has run here, and does not any more; not by a switch, so it lives on nothing. */
static void sched_unset_current(struct sched_cpu *cpu, struct thread *thread)
{
    if (cpu->current != (uintptr_t)thread)
        return;
    thread->ran += arch_ticks();
    thread->flow.sp = 0;
    atomic_store_explicit(&thread->is_on_cpu, false, memory_order_release);
}

/*
 * Hosted.  The idle flow steps aside for who enters, in arch_idle, and comes back there: after he has
 * left, or by a switch, of which this is then the end.  `true` may come twice in a row.
 */
static void sched_flow_changed(bool has_entered)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    if (cpu->previous != NULL) {
        sched_arrive();
        this_cpu(preempt)->depth = 1;
        return;
    }
    cpu->is_entered = has_entered;
    sched_unset_current(cpu, has_entered ? &cpu->idle : &cpu->entered);
    sched_set_current(cpu, has_entered ? &cpu->entered : &cpu->idle);
    if (has_entered) {
        arch_flow_adopt(&cpu->entered.flow);
        sched_busy();
    }
}

/* Any context. */
static bool sched_stack_bounds(uintptr_t addr, uintptr_t *low, uintptr_t *top)
{
    const struct thread *self = (const struct thread *)this_cpu(sched_cpu)->current;

    if (self == NULL || addr - self->stack.limit >= self->stack.top - self->stack.limit)
        return false;
    *low = atomic_load_explicit(&self->stack.backed, memory_order_relaxed);
    *top = self->stack.top;
    return addr >= *low;
}

static const struct flow_owner sched_for_flows = {
    .preempt = sched_preempt,
    .changed = sched_flow_changed,
    .stack_bounds = sched_stack_bounds,
};

static void sched_cpu_init(unsigned cpu_id)
{
    struct sched_cpu *cpu = cpu_var(sched_cpu, cpu_id);

    shared_queue_init(&cpu->inbox);
    thread_init_own(&cpu->idle, "idle", cpu_id);
    thread_init_own(&cpu->entered, cpu_id == 0 ? "main" : "entered", cpu_id);
    cpu->turns = cpu->turns_given = SCHED_TURNS;
}

/* A CPU's own flow begins here. */
static void sched_begin(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);

    if (arch_cpu_id() != 0)
        sched_cpu_init(arch_cpu_id());
    sched_unset_current(cpu, &cpu->entered); /* hosted, who has booted */
    arch_flow_adopt(&cpu->idle.flow);
    sched_set_current(cpu, &cpu->idle);
}

static void sched_idle_entry(void *unused)
{
    (void)unused;
    this_cpu(preempt)->depth = 1;
    sched_arrive();
    kernel_cpu_idle();
}

static const struct cpu_scheduler sched_for_cpus = {
    .begin = sched_begin,
    .run = sched_run,
    .rest = sched_rest,
    .rested = sched_rested,
    .busy = sched_busy,
    .wait = sched_wait,
    .look = sched_asked,
};

void sched_init(void)
{
    struct sched_cpu *cpu = this_cpu(sched_cpu);
    unsigned long irq_state = arch_irq_save();

    if (!thread_table_init())
        panic("sched_init: no memory for threads");
    shared_queue_init(&sched_global);
    sched_cpu_init(0);
    cpu->is_entered = true;
    arch_flow_adopt(&cpu->entered.flow);
    sched_set_current(cpu, &cpu->entered);
    if (!ARCH_HAS_IDLE_FLOW) {
        if (!stack_create(&cpu->idle.stack, 0))
            panic("sched_init: no memory for a stack");
        arch_flow_init(&cpu->idle.flow, cpu->idle.stack.limit, cpu->idle.stack.top,
                       sched_idle_entry, NULL);
    }
    cpu_schedule_by(&sched_for_cpus);
    (void)flow_owner_set(&sched_for_flows);
    live_init();
    watchdog_init();
    thread_report_init();
    sched_runs = true;
    arch_irq_restore(irq_state);
}

static unsigned sched_idle_count(void)
{
    uint64_t idle = atomic_load_explicit(&sched_idle_cpus, memory_order_relaxed);
    unsigned count = 0;

    for (; idle != 0; idle &= idle - 1)
        count++;
    return count;
}

struct sched_stats sched_stats(void)
{
    struct sched_stats stats = {
        .threads = thread_count(),
        .global = run_queue_count(&sched_global.queue),
        .idle = sched_idle_count(),
    };

    stats.queued = stats.global;
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        stats.queued += sched_queued(cpu);
    return stats;
}

size_t sched_queued(unsigned cpu)
{
    const struct sched_cpu *sched = cpu_var(sched_cpu, cpu);

    return run_queue_count(&sched->queue) + run_queue_count(&sched->inbox.queue);
}

__attribute__((no_sanitize("thread"))) uint64_t sched_switches(unsigned cpu)
{
    const struct sched_cpu *sched = cpu_var(sched_cpu, cpu);

    return sched->switches + sched->turns_given - sched->turns;
}
