/*
 * What threads live on: their saved registers and the live parts of their stacks.
 *
 * A thread that is on no CPU is claimed by setting its is_on_cpu, as a CPU does that switches to it:
 * who comes second waits (sched.c).  So while it is looked at it does not run.  One that is on
 * a CPU is looked at there, by a call in interrupt context: it has been interrupted at a point where its
 * interrupts were on, with no lock held and in no sequence, and its registers stand on its stack.  It may
 * have moved when the call comes: then all begins again.
 *
 * CPUs' own flows, main and who has entered among them, are looked at in the same way (thread_own).  One
 * that a switch has left stands on a stack that the port knows; one that is not there has an `sp` of 0.
 *
 * Locks: none, but for the claim.
 */
#include "kernel/cpus.h"
#include "kernel/stop.h"
#include "kernel/thread/thread_impl.h"

struct live_job {
    struct thread *thread;
    arch_range_fn *fn;
    void *arg;
    bool is_done;
};

/* It does not run, and will not before this returns.  False: it lives on nothing. */
static bool live_of_left(struct thread *thread, arch_range_fn *fn, void *arg)
{
    uintptr_t sp = thread->flow.sp, top = thread->stack.top;

    if (sp != 0 && top == 0)
        top = arch_flow_top(&thread->flow);
    if (sp == 0 || top == 0)
        return false;
    fn(sp, top, arg);
    return true;
}

static void live_on_cpu(void *arg)
{
    struct live_job *job = arg;
    uintptr_t registers[ARCH_REGISTERS];
    struct arch_range ranges[ARCH_STACK_RANGES];

    if (thread_self() != job->thread)
        return;
    arch_registers_save(registers);

    size_t count = arch_stack_ranges((uintptr_t)registers, ranges);

    for (size_t i = 0; i < count; i++)
        job->fn(ranges[i].start, ranges[i].end, job->arg);
    job->is_done = true;
}

static bool live_claim(struct thread *thread)
{
    bool is_on_cpu = false;

    return atomic_compare_exchange_strong_explicit(&thread->is_on_cpu, &is_on_cpu, true,
                                                   memory_order_acquire, memory_order_relaxed);
}

static void live_unclaim(struct thread *thread)
{
    atomic_store_explicit(&thread->is_on_cpu, false, memory_order_release);
}

static bool live_has_ended(const struct thread *thread)
{
    return (atomic_load_explicit(&thread->state, memory_order_acquire) & THREAD_ENDED) != 0;
}

bool thread_live(struct thread *thread, arch_range_fn *fn, void *arg)
{
    struct live_job job = {.thread = thread, .fn = fn, .arg = arg};

    while (!live_has_ended(thread)) {
        unsigned long irq = arch_irq_save();
        bool is_mine = live_claim(thread), lives = false;

        if (is_mine) {
            lives = live_of_left(thread, fn, arg);
            live_unclaim(thread);
        }
        arch_irq_restore(irq);
        if (is_mine)
            return lives;
        cpu_call(atomic_load_explicit(&thread->cpu, memory_order_relaxed), live_on_cpu, &job);
        if (job.is_done)
            return true;
    }
    return false;
}

/* ---- Stacks ---- */

static size_t live_shrink_left(struct thread *thread)
{
    unsigned long irq = arch_irq_save();
    size_t pages = 0;

    if (!live_has_ended(thread) && live_claim(thread)) {
        pages = stack_shrink_to(&thread->stack, thread->flow.sp);
        live_unclaim(thread);
    }
    arch_irq_restore(irq);
    return pages;
}

static void live_shrink_running(void *arg)
{
    struct thread *self = thread_self();
    struct arch_range ranges[ARCH_STACK_RANGES];
    uintptr_t here;
    size_t count = arch_stack_ranges((uintptr_t)&here, ranges);

    /* The last range is that of the flow that was interrupted. */
    if (count != 0 && self->stack.top != 0 && ranges[count - 1].end == self->stack.top)
        atomic_fetch_add_explicit((_Atomic size_t *)arg,
                                  stack_shrink_to(&self->stack, ranges[count - 1].start),
                                  memory_order_relaxed);
}

size_t thread_shrink_stacks(void)
{
    _Atomic size_t running = 0;
    size_t pages = 0;

    for (struct thread *thread = thread_next(NULL); thread != NULL; thread = thread_next(thread))
        pages += live_shrink_left(thread);
    cpu_call_all(live_shrink_running, &running);
    return pages + running;
}

/* ---- When all CPUs stand still (kernel/stop.h) ---- */

struct live_still {
    arch_range_fn *fn;
    void *arg;
};

static void live_still_one(struct thread *thread, void *arg)
{
    const struct live_still *still = arg;

    still->fn((uintptr_t)&thread->arg, (uintptr_t)(&thread->arg + 1), still->arg);
    if (!atomic_load_explicit(&thread->is_on_cpu, memory_order_relaxed))
        (void)live_of_left(thread, still->fn, still->arg);
}

static void live_roots_still(arch_range_fn *fn, void *arg)
{
    struct live_still still = {fn, arg};
    struct thread *own;

    thread_each_still(live_still_one, &still);
    for (unsigned idx = 0; (own = thread_own(idx)) != NULL; idx++)
        live_still_one(own, &still);
}

static void live_pages_one(struct thread *thread, void *arg)
{
    const struct live_still *still = arg;

    stack_each_page(&thread->stack, still->fn, still->arg);
}

static void live_pages_still(arch_range_fn *fn, void *arg)
{
    struct live_still still = {fn, arg};

    thread_each_still(live_pages_one, &still);
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        live_pages_one(&cpu_var(sched_cpu, cpu)->idle, &still);
    stack_each_kept_page(fn, arg);
}

static const struct stop_threads live_for_stop = {live_roots_still, live_pages_still};

void live_init(void)
{
    stop_threads_by(&live_for_stop);
}
