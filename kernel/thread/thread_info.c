/*
 * What is told of threads: to the monitor, and by a panic; which of them are CPUs' own.
 */
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/thread/sync.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"

#define REPORT_THREADS_MAX 32u /* that wait for somebody, in a panic's report */

/* Of a CPU's own flow that is there for others; NULL: it is like any thread. */
static __attribute__((no_sanitize("thread"))) const char *info_own_state(
    const struct thread *thread)
{
    const struct sched_cpu *cpu =
        cpu_var(sched_cpu, atomic_load_explicit(&thread->cpu, memory_order_relaxed));

    if (thread == &cpu->entered && !cpu->is_entered)
        return "outside";
    if (thread != &cpu->idle)
        return NULL;
    return atomic_load_explicit(&thread->is_on_cpu, memory_order_relaxed) ? "idle" : "standing by";
}

static const char *info_state(const struct thread *thread)
{
    const char *own = info_own_state(thread);

    if (own != NULL)
        return own;

    unsigned state = atomic_load_explicit(&thread->state, memory_order_relaxed);

    if (state & THREAD_ENDED)
        return "ended";
    if (state & THREAD_PARKED)
        return "parked";
    if (state & THREAD_SLEEPS)
        return "asleep";
    return atomic_load_explicit(&thread->is_on_cpu, memory_order_relaxed) ? "running" : "ready";
}

static __attribute__((no_sanitize("thread"))) uint64_t info_ran_ns(const struct thread *thread)
{
    bool runs = atomic_load_explicit(&thread->is_on_cpu, memory_order_relaxed);
    int64_t ran = (int64_t)(thread->ran + (runs ? arch_ticks() : 0));

    return ran > 0 ? time_ticks_to_ns((uint64_t)ran) : 0; /* it may switch in between */
}

/* Of a thread that may run meanwhile: figures are as of some moment. */
__attribute__((no_sanitize("thread"))) void thread_info(struct thread *thread,
                                                        struct thread_info *info)
{
    const struct stack *stack = &thread->stack;
    uintptr_t backed = atomic_load_explicit(&stack->backed, memory_order_relaxed);

    *info = (struct thread_info){
        .state = info_state(thread),
        .priority = thread->priority,
        .cpu = atomic_load_explicit(&thread->cpu, memory_order_relaxed),
        .ran_ns = info_ran_ns(thread),
    };
    memcpy(info->name, thread->name, sizeof(info->name));
    if (stack->top != 0) {
        info->stack_limit = stack->top - stack->limit;
        info->stack_backed = stack->top - backed;
        info->stack_deepest = stack->top - stack->deepest;
    }
    sync_describe(thread, info->waits_on, sizeof(info->waits_on));
}

/* Two for each CPU. */
struct thread *thread_own(unsigned idx)
{
    struct sched_cpu *cpu;

    if (idx / 2 >= cpus_online())
        return NULL;
    cpu = cpu_var(sched_cpu, idx / 2);
    return idx % 2 == 0 ? &cpu->entered : &cpu->idle;
}

/* ---- Panics ---- */

static void report_current(unsigned cpu)
{
    const struct thread *thread = (const struct thread *)cpu_var(sched_cpu, cpu)->current;

    if (thread == NULL)
        return;
    if (thread->stack.top == 0)
        printk("CPU %u runs %s\n", cpu, thread->name);
    else
        printk("CPU %u runs thread %s; of %zu KiB of stack %zu KiB are backed\n", cpu, thread->name,
               (thread->stack.top - thread->stack.limit) / KIB,
               (thread->stack.top - thread->stack.backed) / KIB);
}

static void report_waiting(struct thread *thread, void *shown)
{
    char text[64];

    sync_describe(thread, text, sizeof(text));
    if (text[0] != '\0' && (*(unsigned *)shown)++ < REPORT_THREADS_MAX)
        printk("  thread %s %s\n", thread->name, text);
}

/* The other CPUs stand still, or hang. */
static void report_threads(void)
{
    unsigned shown = 0;

    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        report_current(cpu);
    thread_each_still(report_waiting, &shown);
}

static const char *report_flow_name(void)
{
    static char text[THREAD_NAME_BYTES + 8];
    const struct thread *self = thread_self();

    format_string(text, sizeof(text), "thread %s", self != NULL ? self->name : "?");
    return text;
}

void thread_report_init(void)
{
    stack_named_by(report_flow_name);
    panic_tell(report_threads);
}
