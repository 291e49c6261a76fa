/*
 * CPUs of the hosted port: which thread runs which CPU, and what runs it when no thread does.
 *
 * Every CPU has an idle thread that runs kernel_cpu_main and so the kernel's idle loop.  A thread
 * that enters (enter.c) asks the idle thread to step aside, which it does in arch_idle, where
 * nothing is half done; a thread that leaves hands the CPU back.  CPU 0 boots on the thread that
 * calls hosted_start, which then takes it on loan; the loan ends in that thread's signal handler.
 *
 *     IDLE --enter--> WANTED --arch_idle--> GIVEN --> HELD or LOAN --leave--> IDLE
 *                                           GIVEN --> STOP                    (hosted_stop)
 *     LOAN --enter--> WANTED --interrupt--> GIVEN --> HELD
 *
 *     HELD, LOAN --park--> the same, but parked: the idle thread runs it --hand over--> HELD, LOAN
 *
 * The idle thread carries kernel threads too (flow.c): while the CPU is IDLE, or while it is parked,
 * which is to say that the holder's own flow has been switched away from, and the holder waits.  As to
 * entering a parked CPU is held like any other.  A CPU that is wanted while it runs a kernel thread is
 * preempted, and arch_idle_is_wanted() is true, so that the idle thread's own flow comes to arch_idle.
 *
 * The idle thread waits for IDLE or parked, the holder for not parked: there is always one of the two
 * that runs the CPU or is about to, and while the other waits it is no CPU.
 *
 * At every moment at most one thread has hosted_this.cpu set to a CPU.  While none has, interrupts
 * for it stay pending.
 *
 * Locks: hosted_lock over every CPU's state; not taken in signal handlers.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <sched.h>
#include <unistd.h>

__thread struct hosted_thread hosted_self
    __attribute__((tls_model("local-exec"))) = {.percpu = HOSTED_NO_CPU};
struct hosted_cpu hosted_cpus[ARCH_CPU_MAX];
unsigned hosted_cpu_count;
pthread_mutex_t hosted_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t hosted_changed[] = {[0 ... ARCH_CPU_MAX - 1] = PTHREAD_COND_INITIALIZER};

static pthread_t idle_threads[ARCH_CPU_MAX];
static bool idle_arrived[ARCH_CPU_MAX];    /* [hosted_lock] its idle thread runs */
static _Atomic unsigned long cpu_bindings; /* [A] so far; relaxed: only to be unique */
static cpu_set_t cpu_cores;                /* [C] that the process may use */

/* ---- Binding: this thread becomes a CPU, this thread ceases to be one ---- */

void hosted_cpu_bind(struct hosted_cpu *cpu, unsigned long irq_depth)
{
    unsigned long binding = atomic_fetch_add_explicit(&cpu_bindings, 1, memory_order_relaxed) + 1;

    hosted_trap_thread_init();
    hosted_flow_thread_init();
    hosted_irq_thread_init();
    hosted_this.irq = binding << HOSTED_IRQ_DEPTH_BITS | irq_depth;
    atomic_store_explicit(&cpu->owner_tid, gettid(), memory_order_seq_cst);
    hosted_this.cpu = cpu;
    hosted_this.percpu = cpu->percpu_offset;
    atomic_signal_fence(memory_order_seq_cst);
    if (irq_depth == 0 && atomic_load_explicit(&cpu->pending, memory_order_seq_cst) != 0)
        hosted_irq_take();
}

void hosted_cpu_bind_entered(struct hosted_cpu *cpu)
{
    hosted_cpu_bind(cpu, 1);
    kernel_flow_changed(true);
    arch_irq_enable();
}

/* Async-signal-safe. */
void hosted_cpu_unbind(void)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    hosted_this.percpu = HOSTED_NO_CPU;
    hosted_this.cpu = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    hosted_this.irq = 0;
    atomic_store_explicit(&cpu->owner_tid, 0, memory_order_seq_cst);
}

/* Each CPU gets a core of its own where there are enough; else Linux balances better. */
void hosted_cpu_pin(const struct hosted_cpu *cpu)
{
    cpu_set_t one;
    unsigned nth = 0;

    if ((unsigned)CPU_COUNT(&cpu_cores) < hosted_cpu_count)
        return;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &cpu_cores) && nth++ == cpu->id) {
            CPU_ZERO(&one);
            CPU_SET(core, &one);
            (void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
            return;
        }
    }
}

void hosted_cpu_unpin(void)
{
    (void)pthread_setaffinity_np(pthread_self(), sizeof(cpu_cores), &cpu_cores);
}

void hosted_cpu_set_locked(struct hosted_cpu *cpu, enum hosted_cpu_state state)
{
    cpu->state = state;
    pthread_cond_broadcast(&hosted_changed[cpu->id]);
}

/* ---- Idle threads ---- */

/*
 * Holding no CPU: wait until this thread may run its CPU (again), or end.  A CPU that was left and
 * at once is wanted again is given up here.
 */
static void cpu_wait_for_turn_locked(struct hosted_cpu *cpu)
{
    while (cpu->state != HOSTED_CPU_IDLE && !cpu->is_parked) {
        if (cpu->state == HOSTED_CPU_STOP) {
            pthread_mutex_unlock(&hosted_lock);
            hosted_trap_thread_fini();
            pthread_exit(NULL);
        }
        if (atomic_exchange_explicit(&cpu->is_wanted, false, memory_order_acq_rel))
            hosted_cpu_set_locked(cpu, HOSTED_CPU_GIVEN);
        else
            pthread_cond_wait(&hosted_changed[cpu->id], &hosted_lock);
    }
}

static void *cpu_idle_thread(void *arg)
{
    struct hosted_cpu *cpu = arg;

    hosted_this.is_idle = true;
    hosted_cpu_pin(cpu);
    pthread_mutex_lock(&hosted_lock);
    idle_arrived[cpu->id] = true;
    pthread_cond_broadcast(&hosted_changed[cpu->id]);
    pthread_mutex_unlock(&hosted_lock);

    hosted_cpu_bind(cpu, 1);
    kernel_cpu_main(cpu->id);
}

static bool cpu_start_thread(struct hosted_cpu *cpu)
{
    bool done;

    pthread_mutex_lock(&hosted_lock);
    cpu->state = HOSTED_CPU_IDLE;
    done = pthread_create(&idle_threads[cpu->id], NULL, cpu_idle_thread, cpu) == 0;
    while (done && !idle_arrived[cpu->id])
        pthread_cond_wait(&hosted_changed[cpu->id], &hosted_lock);
    if (!done)
        cpu->state = HOSTED_CPU_OFF;
    pthread_mutex_unlock(&hosted_lock);
    return done;
}

bool arch_cpu_start(unsigned id, uintptr_t percpu_offset, void *(*take_pages)(size_t n))
{
    struct hosted_cpu *cpu = &hosted_cpus[id];

    (void)take_pages;
    cpu->id = id;
    cpu->percpu_offset = percpu_offset;
    return cpu_start_thread(cpu);
}

static void cpu_give_and_wait_locked(struct hosted_cpu *cpu)
{
    hosted_cpu_unbind();
    cpu_wait_for_turn_locked(cpu);
    pthread_mutex_unlock(&hosted_lock);
    hosted_cpu_bind(cpu, 1);
}

/* Until the idle thread's own flow is wanted: other flows may run on it before. */
static void cpu_step_aside(struct hosted_cpu *cpu)
{
    pthread_mutex_lock(&hosted_lock);
    cpu_give_and_wait_locked(cpu);
    (void)hosted_flow_carry(cpu);
    kernel_flow_changed(false);
    arch_irq_enable();
}

void hosted_cpu_hand_over(struct hosted_cpu *cpu, const struct hosted_thread *holder)
{
    pthread_mutex_lock(&hosted_lock);
    if (!cpu->is_parked || cpu->holder != holder) {
        pthread_mutex_unlock(&hosted_lock);
        kernel_panic("arch_flow_switch: to a flow whose thread does not hold CPU %u", cpu->id);
    }
    cpu->is_parked = false;
    pthread_cond_broadcast(&hosted_changed[cpu->id]);
    cpu_give_and_wait_locked(cpu);
}

static bool cpu_has_to_step_aside(const struct hosted_cpu *cpu)
{
    return hosted_this.is_idle && atomic_load_explicit(&cpu->is_wanted, memory_order_acquire);
}

/*
 * Returns at once if an interrupt was taken since it returned last: so that a caller who looked for
 * work with interrupts on misses nothing either.
 */
void arch_idle(void)
{
    struct hosted_cpu *cpu = hosted_cpu_here();
    sigset_t blocked, before, open;

    sigemptyset(&blocked);
    sigaddset(&blocked, HOSTED_SIGNAL_IRQ);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    open = before;
    sigdelset(&open, HOSTED_SIGNAL_IRQ);
    while (hosted_this.cpu == cpu && cpu->taken == hosted_this.idle_seen &&
           atomic_load_explicit(&cpu->pending, memory_order_seq_cst) == 0 &&
           !cpu_has_to_step_aside(cpu))
        sigsuspend(&open);
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (hosted_this.cpu != cpu) /* a loan that ended */
        return;
    arch_idle_poll();
    hosted_this.idle_seen = cpu->taken;
}

void arch_idle_poll(void)
{
    struct hosted_cpu *cpu = hosted_cpu_here();

    arch_irq_enable();
    if (cpu_has_to_step_aside(cpu))
        cpu_step_aside(cpu);
}

/* ---- Start, stop, fork ---- */

void hosted_cpu_boot(void)
{
    if (sched_getaffinity(0, sizeof(cpu_cores), &cpu_cores) != 0)
        CPU_ZERO(&cpu_cores);
    hosted_loan_init();
    hosted_this.is_starter = true;
    pthread_mutex_lock(&hosted_lock);
    hosted_cpu_take_locked(&hosted_cpus[0], HOSTED_CPU_LOAN);
    pthread_mutex_unlock(&hosted_lock);
    hosted_cpu_bind(&hosted_cpus[0], 1);
}

void hosted_cpu_boot_done(void)
{
    struct hosted_cpu *cpu = &hosted_cpus[0];

    arch_irq_enable();
    hosted_cpu_unbind();
    if (!cpu_start_thread(cpu))
        hosted_die_without_cpu("hosted_start: no thread for CPU 0");
    pthread_mutex_lock(&hosted_lock);
    hosted_cpu_take_locked(hosted_cpu_claim_locked(HOSTED_CPU_IDLE), HOSTED_CPU_LOAN);
    pthread_mutex_unlock(&hosted_lock);
    hosted_cpu_bind_entered(cpu);
}

void hosted_cpu_stop_all(void)
{
    struct hosted_cpu *cpu;

    if (hosted_is_forked)
        kernel_panic("hosted_stop: not in a child after fork");
    hosted_cpu_give_back("hosted_stop");

    pthread_mutex_lock(&hosted_lock);
    while ((cpu = hosted_cpu_claim_locked(HOSTED_CPU_IDLE)) != NULL ||
           (cpu = hosted_cpu_claim_locked(HOSTED_CPU_LOAN)) != NULL)
        hosted_cpu_set_locked(cpu, HOSTED_CPU_STOP);
    pthread_mutex_unlock(&hosted_lock);

    for (unsigned id = 0; id < hosted_cpu_count; id++) {
        enum hosted_cpu_state state = hosted_cpus[id].state;

        if (state == HOSTED_CPU_STOP)
            pthread_join(idle_threads[id], NULL);
        else if (state != HOSTED_CPU_OFF)
            hosted_die_without_cpu("hosted_stop: another thread still holds a CPU");
    }
    hosted_this.idle_seen = 0;
    hosted_loan_fini();
}

static void cpu_before_fork(void)
{
    pthread_mutex_lock(&hosted_lock);
}

static void cpu_after_fork_parent(void)
{
    pthread_mutex_unlock(&hosted_lock);
}

static void cpu_after_fork_child(void)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    pthread_mutex_unlock(&hosted_lock);
    hosted_is_forked = true;
    if (cpu != NULL)
        atomic_store_explicit(&cpu->owner_tid, gettid(), memory_order_seq_cst);
}

bool hosted_cpu_watch_fork(void)
{
    return pthread_atfork(cpu_before_fork, cpu_after_fork_parent, cpu_after_fork_child) == 0;
}
