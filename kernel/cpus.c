/*
 * CPUs: starting them, calling on them, giving them jobs (kernel/cpus.h).
 *
 * Calls.  Each CPU has a list of calls to run; a caller pushes a node that lives on its own stack,
 * sends an IPI and waits until the count of CPUs that have yet to run its function is 0.  It waits
 * with interrupts on, so it runs what others ask of it meanwhile: two CPUs may call each other.
 * The list is pushed to by compare-and-swap and taken whole by one exchange, so no lock is held and
 * no node can be taken twice.
 *
 *     caller's stack:   call {fn, arg, pending 2}
 *                         ^              ^
 *     cpu_calls of CPU 1: node -> ...    |      node -> next: calls of other callers
 *     cpu_calls of CPU 2: node ----------'
 *
 * Jobs.  Each CPU has a mailbox for one job, which its idle loop takes.  The loop looks into the
 * mailbox with interrupts off and goes to sleep with arch_idle, which enables them as it waits: the
 * IPI that follows a job's arrival either comes before the look or ends the wait.
 *
 * Idle work.  A CPU that would sleep first asks each function of the table, and sleeps only when
 * none wants more; after every wait it asks them again.  One function is called between two looks,
 * so a job or a byte typed waits for one piece of work at most.
 *
 * Locks: none.
 */
#include "kernel/cpus.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "kernel/percpu.h"
#include "kernel/preempt.h"
#include "kernel/print.h"
#include "kernel/time.h"

extern idle_fn *const __start_idle_table[] __attribute__((weak));
extern idle_fn *const __stop_idle_table[] __attribute__((weak));

static _Atomic unsigned cpus_running = 1; /* [A] release / acquire; never falls */

static _Atomic unsigned idle_holds; /* [A] seq_cst against idle_runs */
static _Atomic unsigned idle_runs;  /* [A] functions under way; seq_cst */

static PERCPU(_Atomic(struct cpu_call_node *), cpu_calls); /* [A] release / acquire */
static PERCPU(_Atomic(struct cpu_work *), cpu_job);        /* [A] release / acquire */

static const struct cpu_scheduler *cpu_scheduler; /* [C] once set; NULL: none */

static PERCPU(uint64_t, cpu_interrupted); /* [P] */

/* arch_ticks() at which idle work wants to be asked again, less 1: 0 is none. */
static PERCPU(uint64_t, cpu_idle_due); /* [P] */

unsigned cpus_online(void)
{
    return atomic_load_explicit(&cpus_running, memory_order_acquire);
}

/* ---- Start ---- */

/* A zeroed copy of the percpu section, which keeps its variables' alignment to cache lines. */
static bool cpu_percpu_create(unsigned cpu, void *(*take_pages)(size_t n))
{
    uintptr_t section = (uintptr_t)__start_percpu;
    size_t bytes = (size_t)(__stop_percpu - __start_percpu);
    size_t lead = section % ARCH_LINE_BYTES;
    size_t pages = (lead + bytes + ARCH_PAGE_BYTES - 1) / ARCH_PAGE_BYTES;
    unsigned char *copy = take_pages(pages);

    if (copy == NULL)
        return false;
    memset(copy, 0, pages * ARCH_PAGE_BYTES);
    percpu_offsets[cpu] = (uintptr_t)copy + lead - section;
    return true;
}

unsigned cpus_start(unsigned limit, void *(*take_pages)(size_t n))
{
    unsigned count = MIN(limit, arch_cpu_count());

    for (unsigned cpu = cpus_online(); cpu < count; cpu++) {
        if (!cpu_percpu_create(cpu, take_pages)) {
            printk("cpus: no memory for CPU %u of %u; see mem= and cpus=\n", cpu, count);
            break;
        }
        /* Its copy is not given back: a CPU that comes too late still uses it. */
        if (!arch_cpu_start(cpu, percpu_offsets[cpu], take_pages)) {
            printk("cpus: CPU %u of %u did not start; going on without it\n", cpu, count);
            break;
        }
        atomic_store_explicit(&cpus_running, cpu + 1, memory_order_release);
    }
    return cpus_online();
}

void kernel_cpu_main(unsigned cpu)
{
    CHECK(cpu == arch_cpu_id());
    arch_tick_start(TIME_TICK_HZ);
    kernel_cpu_idle();
}

/* ---- Calls ---- */

static void cpu_work_run(struct cpu_work *work)
{
    work->fn(work->arg);
    /* The last use: its owner may be gone from here on. */
    atomic_fetch_sub_explicit(&work->pending, 1, memory_order_release);
}

static void cpu_work_wait(struct cpu_work *work)
{
    while (atomic_load_explicit(&work->pending, memory_order_acquire) != 0)
        arch_relax();
}

static void cpu_call_push(unsigned cpu, struct cpu_call_node *node, struct cpu_work *call)
{
    _Atomic(struct cpu_call_node *) *list = cpu_var(cpu_calls, cpu);

    node->call = call;
    node->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(list, &node->next, node, memory_order_release,
                                                  memory_order_relaxed))
        arch_relax();
    arch_ipi_send(cpu);
}

void kernel_ipi(void)
{
    struct cpu_call_node *node =
        atomic_exchange_explicit(this_cpu(cpu_calls), NULL, memory_order_acquire);

    while (node != NULL) {
        struct cpu_call_node *next = node->next;

        cpu_work_run(node->call);
        node = next;
    }
    cpu_note_interrupt();
    if (cpu_scheduler == NULL)
        return;
    if (atomic_load_explicit(this_cpu(cpu_job), memory_order_relaxed) != NULL)
        arch_preempt_ask();
    cpu_scheduler->look();
}

uint64_t cpu_interrupts(void)
{
    return *this_cpu(cpu_interrupted);
}

__attribute__((no_sanitize("thread"))) uint64_t cpu_interrupts_of(unsigned cpu)
{
    return *(volatile uint64_t *)cpu_var(cpu_interrupted, cpu);
}

void cpu_note_interrupt(void)
{
    (*this_cpu(cpu_interrupted))++;
}

bool cpu_own_flow_is_wanted(void)
{
    return atomic_load_explicit(this_cpu(cpu_job), memory_order_relaxed) != NULL ||
           arch_idle_is_wanted();
}

/*
 * The calls go out with interrupts off, so that "this CPU" is one CPU throughout, and so that the
 * caller's own share runs as an interrupt would run it.
 */
void cpu_call(unsigned cpu, cpu_fn *fn, void *arg)
{
    struct cpu_work call = {.fn = fn, .arg = arg, .pending = 1};
    struct cpu_call_node node;

    CHECK(arch_irq_enabled());
    CHECK(cpu < cpus_online());
    unsigned long irq_state = arch_irq_save();
    if (cpu == arch_cpu_id())
        cpu_work_run(&call);
    else
        cpu_call_push(cpu, &node, &call);
    arch_irq_restore(irq_state);
    cpu_work_wait(&call);
}

void cpu_call_all(cpu_fn *fn, void *arg)
{
    unsigned count = cpus_online();
    struct cpu_work call = {.fn = fn, .arg = arg, .pending = count};
    struct cpu_call_node nodes[ARCH_CPU_MAX];

    CHECK(arch_irq_enabled());
    unsigned long irq_state = arch_irq_save();
    unsigned me = arch_cpu_id();
    for (unsigned cpu = 0; cpu < count; cpu++) {
        if (cpu != me)
            cpu_call_push(cpu, &nodes[cpu], &call);
    }
    cpu_work_run(&call);
    arch_irq_restore(irq_state);
    cpu_work_wait(&call);
}

void cpu_post(struct cpu_post *post, unsigned cpu, cpu_fn *fn, void *arg)
{
    post->work.fn = fn;
    post->work.arg = arg;
    atomic_store_explicit(&post->work.pending, 1, memory_order_relaxed);
    cpu_call_push(cpu, &post->node, &post->work);
}

bool cpu_post_is_done(const struct cpu_post *post)
{
    return atomic_load_explicit(&post->work.pending, memory_order_acquire) == 0;
}

/* ---- Jobs ---- */

static void cpu_job_give(unsigned cpu, struct cpu_work *job)
{
    _Atomic(struct cpu_work *) *mailbox = cpu_var(cpu_job, cpu);
    struct cpu_work *empty = NULL;

    while (!atomic_compare_exchange_weak_explicit(mailbox, &empty, job, memory_order_release,
                                                  memory_order_relaxed)) {
        empty = NULL;
        arch_relax();
    }
    arch_ipi_send(cpu);
}

void cpu_run_all(unsigned count, cpu_fn *fn, void *arg)
{
    struct cpu_work job = {.fn = fn, .arg = arg, .pending = count};
    unsigned me = arch_cpu_id();

    CHECK(arch_irq_enabled());
    CHECK(me < count && count <= cpus_online());
    for (unsigned cpu = 0; cpu < count; cpu++) {
        if (cpu != me)
            cpu_job_give(cpu, &job);
    }
    cpu_work_run(&job);
    cpu_work_wait(&job);
}

/* ---- Idle ---- */

void cpu_idle_hold(void)
{
    CHECK(arch_irq_enabled());
    atomic_fetch_add_explicit(&idle_holds, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&idle_runs, memory_order_seq_cst) != 0)
        arch_relax();
}

void cpu_idle_release(void)
{
    unsigned before = atomic_fetch_sub_explicit(&idle_holds, 1, memory_order_seq_cst);

    CHECK(before > 0);
    for (unsigned cpu = 0; before == 1 && cpu < cpus_online(); cpu++)
        arch_ipi_send(cpu); /* those that sleep look again */
}

/* First counted, then asked whether it may; a hold does the reverse, so one sees the other. */
static bool cpu_idle_run(idle_fn *fn)
{
    bool wants_more = false;

    preempt_disable();
    atomic_fetch_add_explicit(&idle_runs, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&idle_holds, memory_order_seq_cst) == 0)
        wants_more = fn();
    atomic_fetch_sub_explicit(&idle_runs, 1, memory_order_seq_cst);
    preempt_enable();
    return wants_more;
}

void cpu_schedule_by(const struct cpu_scheduler *scheduler)
{
    cpu_scheduler = scheduler;
}

void cpu_idle_again(uint64_t ticks)
{
    unsigned long irq_state = arch_irq_save();
    uint64_t *due = this_cpu(cpu_idle_due);
    uint64_t at = arch_ticks() + ticks;

    if (*due == 0 || at < *due)
        *due = at;
    arch_irq_restore(irq_state);
}

uint64_t cpu_idle_next(void)
{
    uint64_t due = *this_cpu(cpu_idle_due);

    return due != 0 ? due : UINT64_MAX;
}

static void cpu_sleep(void)
{
    if (cpu_scheduler == NULL) {
        arch_idle();
    } else if (cpu_scheduler->rest()) {
        arch_idle();
        arch_irq_disable();
        cpu_scheduler->rested();
        arch_irq_enable();
    } else {
        arch_irq_enable();
        return;
    }
    *this_cpu(cpu_idle_due) = 0;
}

void cpu_idle_wait(struct cpu_idle *idle)
{
    size_t count = (size_t)(__stop_idle_table - __start_idle_table);

    if (cpu_scheduler != NULL && cpu_scheduler->wait())
        return;
    if (idle->quiet >= count) {
        idle->quiet = 0;
        cpu_sleep();
        return;
    }
    arch_idle_poll();
    if (cpu_idle_run(__start_idle_table[idle->next++ % count]))
        idle->quiet = 0;
    else
        idle->quiet++;
}

void kernel_cpu_idle(void)
{
    struct cpu_idle idle = {0};

    if (cpu_scheduler != NULL)
        cpu_scheduler->begin();
    for (;;) {
        arch_irq_disable();
        struct cpu_work *job =
            atomic_exchange_explicit(this_cpu(cpu_job), NULL, memory_order_acquire);
        if (job == NULL && cpu_scheduler != NULL && cpu_scheduler->run()) {
            arch_irq_enable();
        } else if (job == NULL) {
            cpu_idle_wait(&idle);
        } else {
            if (cpu_scheduler != NULL)
                cpu_scheduler->busy();
            preempt_disable();
            arch_irq_enable();
            cpu_work_run(job);
            preempt_enable();
        }
    }
}
