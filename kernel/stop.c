/*
 * Stopping CPUs (kernel/stop.h): each other CPU gets a call in which it notes where its stacks are
 * live and waits; when all have come, who has asked runs the function and lets them go.
 *
 * Who asks notes its own stacks first: what comes to stand below is no part of them.
 *
 * Two that ask at once would wait for each other with interrupts off: so first comes a flag, waited
 * for with interrupts on.
 *
 * Locks: none but that flag, `is_asked`.
 */
#include "kernel/stop.h"
#include "kernel/base/check.h"
#include "kernel/percpu.h"

static struct {
    _Atomic bool is_asked;    /* [A] acquire / release; holds all else */
    _Atomic unsigned waiting; /* [A] CPUs that have come and wait; release / acquire */
    _Atomic bool is_done;     /* [A] they may go on; release / acquire */
    struct cpu_post posts[ARCH_CPU_MAX];
} stop;

static const struct stop_threads *stop_threads; /* [C] once set; NULL: there are none */

/* What is live of a CPU's stacks; [P] until it has come, then the asker's to read. */
struct stop_stacks {
    size_t count;
    struct arch_range ranges[ARCH_STACK_RANGES];
};

static PERCPU(struct stop_stacks, stop_stacks);

static void stop_note_stacks(uintptr_t sp)
{
    struct stop_stacks *stacks = this_cpu(stop_stacks);

    stacks->count = arch_stack_ranges(sp, stacks->ranges);
}

static void stop_wait(void *unused)
{
    uintptr_t registers[ARCH_REGISTERS];

    (void)unused;
    arch_registers_save(registers);
    stop_note_stacks((uintptr_t)registers);
    atomic_fetch_add_explicit(&stop.waiting, 1, memory_order_release);
    while (!atomic_load_explicit(&stop.is_done, memory_order_acquire))
        arch_relax();
}

/* Interrupts off, as long as the others wait. */
static void stop_run(cpu_fn *fn, void *arg)
{
    unsigned me = arch_cpu_id(), others = cpus_online() - 1;

    atomic_store_explicit(&stop.waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&stop.is_done, false, memory_order_relaxed);
    for (unsigned cpu = 0; cpu <= others; cpu++) {
        if (cpu != me)
            cpu_post(&stop.posts[cpu], cpu, stop_wait, NULL);
    }
    while (atomic_load_explicit(&stop.waiting, memory_order_acquire) != others)
        arch_relax();
    fn(arg);
    atomic_store_explicit(&stop.is_done, true, memory_order_release);
    for (unsigned cpu = 0; cpu <= others; cpu++) {
        while (cpu != me && !cpu_post_is_done(&stop.posts[cpu]))
            arch_relax();
    }
}

void stop_others(cpu_fn *fn, void *arg)
{
    uintptr_t registers[ARCH_REGISTERS];

    CHECK(arch_irq_enabled());
    while (atomic_exchange_explicit(&stop.is_asked, true, memory_order_acquire))
        arch_relax();

    unsigned long irq_state = arch_irq_save();

    arch_registers_save(registers);
    stop_note_stacks((uintptr_t)registers);
    stop_run(fn, arg);
    arch_irq_restore(irq_state);
    atomic_store_explicit(&stop.is_asked, false, memory_order_release);
}

void stop_each_stack(arch_range_fn *fn, void *arg)
{
    CHECK(atomic_load_explicit(&stop.is_asked, memory_order_relaxed));
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++) {
        const struct stop_stacks *stacks = cpu_var(stop_stacks, cpu);

        for (size_t i = 0; i < stacks->count; i++)
            fn(stacks->ranges[i].start, stacks->ranges[i].end, arg);
    }
    if (stop_threads != NULL)
        stop_threads->roots(fn, arg);
}

void stop_each_root(arch_range_fn *fn, void *arg)
{
    arch_data_ranges(fn, arg);
    stop_each_stack(fn, arg);
}

void stop_threads_by(const struct stop_threads *threads)
{
    stop_threads = threads;
}

void stop_each_nonroot(arch_range_fn *fn, void *arg)
{
    arch_stack_pages(fn, arg);
    if (stop_threads != NULL)
        stop_threads->nonroots(fn, arg);
}
