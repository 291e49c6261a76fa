/*
 * Interrupts of the hosted port: signals, and the checks on interrupts off and on.
 *
 * To interrupt a CPU is to set a bit in its `pending` and to signal the thread that owns it.  The
 * bit is set before the owner is read, and a new owner is stored before `pending` is read (both
 * seq_cst), so a bit is seen by a signal handler, by arch_irq_restore, or by the next owner.
 *
 * A signal that finds its thread in a restartable sequence (arch/sequence.h) sets it back to the
 * sequence's start, whatever else it does.
 *
 * A handler runs at depth 1, as if arch_irq_save had been called: nothing nests but NMI.  It runs on
 * the thread's alternate stack, as on real CPUs, since a kernel thread's stack may have no room for it.
 *
 * Preemption is a bit of `pending` that handlers leave alone: no flow is switched away from under one.
 * It is taken where a flow turns its interrupts on, or takes what is pending in a spin loop.
 *
 * After fork the child's only thread stands in for the other CPUs: an IPI for one of them is run
 * here, under that CPU's identity, when this thread next has interrupts on.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000l
#define TICKER_HZ_MIN 10u /* it looks for input even if no CPU has ticks */
#define TICKER_HZ_MAX 1000u
#define CHILD_SKEW_NS 100000000u /* see hosted_relax_slow */
#define RELAX_NAP     64u        /* calls of arch_relax, of which one sleeps */
#define RELAX_NAP_NS  1000       /* Linux adds its timer slack, 50 us */

static struct sigaction irq_before, nmi_before; /* what was there before hosted_start */
static uint64_t child_skew_ns;                  /* [forked child] ahead of the clock */
static pthread_t ticker;
static bool ticker_runs;              /* [C] while started */
static _Atomic bool ticker_stops;     /* [A] acquire / release */
static sem_t ticker_wake;             /* what it sleeps on */
static _Atomic uint64_t ticker_until; /* [A] when it wakes; seq_cst against tick_due */

/* ---- Sending ---- */

static void irq_signal(const struct hosted_cpu *cpu, int signal)
{
    int tid = atomic_load_explicit(&cpu->owner_tid, memory_order_seq_cst);

    /* A thread that has ended meanwhile is no error: the next owner looks at `pending`. */
    if (tid != 0)
        (void)syscall(SYS_tgkill, getpid(), tid, signal);
}

void hosted_irq_raise(struct hosted_cpu *cpu, uint32_t bits)
{
    struct hosted_cpu *self = hosted_this.cpu;
    uint32_t before = atomic_fetch_or_explicit(&cpu->pending, bits, memory_order_seq_cst);

    if (hosted_is_forked && self != NULL && cpu != self) {
        atomic_fetch_or_explicit(&self->pending, HOSTED_IRQ_OTHERS, memory_order_seq_cst);
        return;
    }
    if (bits == 0 || (before & bits) != bits)
        irq_signal(cpu, HOSTED_SIGNAL_IRQ);
}

void arch_ipi_send(unsigned cpu)
{
    hosted_irq_raise(&hosted_cpus[cpu], HOSTED_IRQ_IPI);
}

void arch_nmi_send(unsigned cpu)
{
    atomic_store_explicit(&hosted_cpus[cpu].nmi_pending, true, memory_order_release);
    if (!hosted_is_forked || hosted_this.cpu == &hosted_cpus[cpu])
        irq_signal(&hosted_cpus[cpu], HOSTED_SIGNAL_NMI);
}

/* ---- Taking ---- */

static void irq_run(uint32_t bits)
{
    unsigned long inside = hosted_this.irq;

    if (bits & HOSTED_IRQ_IPI)
        kernel_ipi();
    if (bits & HOSTED_IRQ_TICK)
        kernel_tick();
    if (bits & HOSTED_IRQ_INPUT)
        kernel_console_input();
    if (hosted_this.irq != inside)
        hosted_irq_misnested(inside);
}

/* Forked child: be each other CPU in turn. */
static void irq_run_others(void)
{
    struct hosted_cpu *self = hosted_this.cpu;

    for (unsigned id = 0; id < hosted_cpu_count; id++) {
        struct hosted_cpu *cpu = &hosted_cpus[id];
        uint32_t bits = 0;

        if (cpu != self)
            bits = atomic_exchange_explicit(&cpu->pending, 0, memory_order_seq_cst);
        hosted_this.cpu = cpu;
        hosted_this.percpu = cpu->percpu_offset;
        irq_run(bits);
    }
    hosted_this.cpu = self;
    hosted_this.percpu = self->percpu_offset;
}

/* Interrupts on: run all that is pending for this thread's CPU, if it (still) holds one. */
void hosted_irq_handle(void)
{
    for (;;) {
        unsigned long on = hosted_this.irq;

        hosted_this.irq = on + 1;
        atomic_signal_fence(memory_order_seq_cst);

        struct hosted_cpu *cpu = hosted_this.cpu;

        if (cpu == NULL) { /* a loan that ended by a signal just now */
            hosted_this.irq = 0;
            return;
        }

        uint32_t bits =
            atomic_fetch_and_explicit(&cpu->pending, HOSTED_IRQ_PREEMPT, memory_order_seq_cst);

        cpu->taken++;
        irq_run(bits);
        if (bits & HOSTED_IRQ_OTHERS)
            irq_run_others();
        if (bits & HOSTED_IRQ_REVOKE) {
            hosted_cpu_revoked();
            return;
        }

        atomic_signal_fence(memory_order_seq_cst);
        hosted_this.irq = on;
        atomic_signal_fence(memory_order_seq_cst);
        if ((atomic_load_explicit(&cpu->pending, memory_order_seq_cst) & ~HOSTED_IRQ_PREEMPT) == 0)
            return;
    }
}

/* Begin the restartable sequence again that the signal has interrupted, if it has one. */
static void irq_rewind(ucontext_t *context)
{
    greg_t *pc = &context->uc_mcontext.gregs[REG_RIP];

    *pc = (greg_t)sequence_rewind((uintptr_t)*pc);
}

static void irq_on_signal(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    uintptr_t entered = hosted_trap_enter(context);
    struct hosted_cpu *cpu = hosted_this.cpu;

    (void)signal, (void)info;
    irq_rewind(context);
    if (cpu != NULL && (hosted_this.irq & HOSTED_IRQ_DEPTH_MASK) == 0 &&
        atomic_load_explicit(&cpu->pending, memory_order_seq_cst) != 0)
        hosted_irq_handle();
    hosted_trap_leave(entered);
    errno = saved_errno;
}

static void irq_on_nmi(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    uintptr_t entered = hosted_trap_enter(context);
    struct hosted_cpu *cpu = hosted_this.cpu;
    struct trap_frame frame = {context};

    (void)signal, (void)info;
    if (cpu != NULL && atomic_exchange_explicit(&cpu->nmi_pending, false, memory_order_acq_rel)) {
        unsigned long state = hosted_this.irq;

        hosted_this.irq = state + 1; /* so that nothing below takes interrupts */
        kernel_nmi(&frame);
        hosted_this.irq = state;
    }
    hosted_trap_leave(entered);
    errno = saved_errno;
}

/*
 * In a flow: that, and be preempted if that is asked for.  Returns on whatever thread the flow is gone
 * on with.
 */
void hosted_irq_take(void)
{
    for (;;) {
        hosted_irq_handle();
        hosted_this.irq = hosted_this.irq + 1;
        atomic_signal_fence(memory_order_seq_cst);

        struct hosted_cpu *cpu = hosted_this.cpu;

        if (cpu == NULL) { /* a loan that has ended */
            hosted_this.irq = 0;
            return;
        }
        if (atomic_fetch_and_explicit(&cpu->pending, ~(uint32_t)HOSTED_IRQ_PREEMPT,
                                      memory_order_seq_cst) &
            HOSTED_IRQ_PREEMPT)
            kernel_preempt();
        if ((hosted_this.irq & HOSTED_IRQ_DEPTH_MASK) != 1)
            hosted_irq_misnested(hosted_this.irq);

        cpu = hosted_this.cpu;
        atomic_signal_fence(memory_order_seq_cst);
        hosted_this.irq = hosted_this.irq - 1;
        atomic_signal_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&cpu->pending, memory_order_seq_cst) == 0)
            return;
    }
}

/* ---- Off and on ---- */

/* A loan that has just come back may end again before the store. */
unsigned long hosted_irq_save_slow(void)
{
    unsigned long state;

    do {
        hosted_this.irq = 0;
        (void)hosted_cpu_missing();
        state = hosted_this.irq;
        hosted_this.irq = state + 1;
        atomic_signal_fence(memory_order_seq_cst);
    } while (hosted_this.cpu == NULL);
    return state;
}

void hosted_irq_misnested(unsigned long state)
{
    unsigned long now = hosted_this.irq;
    unsigned long depth = now & HOSTED_IRQ_DEPTH_MASK;
    struct hosted_cpu *cpu = hosted_this.cpu;

    if (cpu == NULL)
        hosted_die_without_cpu("interrupts restored by a thread that holds no CPU");
    if (depth == 0)
        hosted_this.irq = now + 1; /* the report runs with interrupts off */
    if (now >> HOSTED_IRQ_DEPTH_BITS != state >> HOSTED_IRQ_DEPTH_BITS)
        kernel_panic("interrupts misnested: restored on CPU %u a state that was saved on another "
                     "CPU or before it was left",
                     cpu->id);
    kernel_panic("interrupts misnested: restored on CPU %u to depth %lu from depth %lu", cpu->id,
                 state & HOSTED_IRQ_DEPTH_MASK, depth);
}

void arch_irq_disable(void)
{
    unsigned long state = arch_irq_save();

    if ((state & HOSTED_IRQ_DEPTH_MASK) != 0)
        arch_irq_restore(state); /* was off: depth stays */
}

void arch_irq_enable(void)
{
    (void)hosted_cpu_here();

    unsigned long state = hosted_this.irq;
    unsigned long depth = state & HOSTED_IRQ_DEPTH_MASK;

    if (depth > 1)
        kernel_panic("interrupts misnested: turned on on CPU %u at depth %lu", arch_cpu_id(),
                     depth);
    if (depth == 1)
        arch_irq_restore(state - 1);
    else if (atomic_load_explicit(&hosted_this.cpu->pending, memory_order_relaxed) != 0)
        hosted_irq_take();
}

/*
 * Whom this thread waits for may have no core.  With interrupts off it waits for a lock: that is held
 * for a moment, and a thread that slept when its turn comes would hold up all behind it.  Else for
 * another CPU's work: one that sleeps gives it the core, and has its turn when it wakes; one that
 * yields again and again pays with all of its share (Linux since 6.6), and then each step that two CPUs
 * take together waits for the turns of whatever else runs.
 *
 * A forked child has nobody to wait for: only time can end its wait, so let that pass.
 */
void hosted_relax_slow(void)
{
    static const struct timespec nap = {.tv_nsec = RELAX_NAP_NS};
    struct hosted_cpu *cpu = hosted_this.cpu;

    if ((hosted_this.irq & HOSTED_IRQ_DEPTH_MASK) != 0)
        sched_yield();
    else if (hosted_this.relaxes % RELAX_NAP == 0)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL); /* errno stays */
    if (hosted_is_forked)
        child_skew_ns += CHILD_SKEW_NS;
    if (cpu != NULL && (hosted_this.irq & HOSTED_IRQ_DEPTH_MASK) == 0 &&
        atomic_load_explicit(&cpu->pending, memory_order_relaxed) != 0)
        hosted_irq_take();
}

/* ---- Ticks ---- */

/* A tick that is due goes out, and the CPU's next is set; returns when that is, or UINT64_MAX. */
static uint64_t ticker_serve(struct hosted_cpu *cpu, uint64_t now)
{
    uint64_t period = atomic_load_explicit(&cpu->tick_period, memory_order_relaxed);
    uint64_t due = atomic_load_explicit(&cpu->tick_due, memory_order_seq_cst);
    uint64_t next = period != 0 ? now / period * period + period : 0;

    /* Whoever sets another one meanwhile wakes this thread, and has it look again. */
    if (due != 0 && due <= now &&
        atomic_compare_exchange_strong_explicit(&cpu->tick_due, &due, next, memory_order_seq_cst,
                                                memory_order_seq_cst)) {
        hosted_irq_raise(cpu, HOSTED_IRQ_TICK);
        due = next;
    }
    return due != 0 ? due : UINT64_MAX;
}

/*
 * It sleeps until the first tick that is due.  It says until when before it looks at the ticks, and
 * who sets one looks at that after it has: so one of them sees the other, and it wakes in time.
 */
static void *ticker_thread(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&ticker_stops, memory_order_acquire)) {
        uint64_t now = arch_ticks(), until = now + NS_PER_SECOND / TICKER_HZ_MIN;

        atomic_store_explicit(&ticker_until, UINT64_MAX, memory_order_seq_cst);
        for (unsigned id = 0; id < hosted_cpu_count; id++)
            until = MIN(until, ticker_serve(&hosted_cpus[id], now));
        if (hosted_console_has_input())
            hosted_irq_raise(&hosted_cpus[0], HOSTED_IRQ_INPUT);

        struct timespec end = {(time_t)(until / NS_PER_SECOND), (long)(until % NS_PER_SECOND)};

        atomic_store_explicit(&ticker_until, until, memory_order_seq_cst);
        (void)sem_clockwait(&ticker_wake, CLOCK_MONOTONIC, &end);
    }
    return NULL;
}

static void tick_set(uint64_t due, uint64_t period)
{
    unsigned long irq_state = arch_irq_save();
    struct hosted_cpu *cpu = hosted_this.cpu;

    atomic_store_explicit(&cpu->tick_period, period, memory_order_relaxed);
    atomic_store_explicit(&cpu->tick_due, due, memory_order_seq_cst);
    if (due != 0 && due < atomic_load_explicit(&ticker_until, memory_order_seq_cst))
        sem_post(&ticker_wake);
    arch_irq_restore(irq_state);
}

/* CPUs of one rate tick together: the fewer times the ticker wakes. */
void arch_tick_start(unsigned hz)
{
    uint64_t period = hz != 0 ? NS_PER_SECOND / MIN(hz, TICKER_HZ_MAX) : 0;

    tick_set(period != 0 ? arch_ticks() / period * period + period : 0, period);
}

void arch_tick_once(uint64_t ticks)
{
    tick_set(arch_ticks() + MIN(ticks, (uint64_t)NS_PER_SECOND), 0);
}

uint64_t arch_ticks(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec + child_skew_ns;
}

uint64_t arch_ticks_per_second(void)
{
    return NS_PER_SECOND;
}

/* ---- Start and stop ---- */

void hosted_irq_thread_init(void)
{
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, HOSTED_SIGNAL_IRQ);
    sigaddset(&ours, HOSTED_SIGNAL_NMI);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

void hosted_irq_start(void)
{
    struct sigaction irq = {.sa_sigaction = irq_on_signal,
                            .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK};
    struct sigaction nmi = {.sa_sigaction = irq_on_nmi,
                            .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&irq.sa_mask);
    sigemptyset(&nmi.sa_mask);
    sigaddset(&nmi.sa_mask, HOSTED_SIGNAL_IRQ);
    sigaction(HOSTED_SIGNAL_IRQ, &irq, &irq_before);
    sigaction(HOSTED_SIGNAL_NMI, &nmi, &nmi_before);
    sem_init(&ticker_wake, 0, 0);
    ticker_runs = pthread_create(&ticker, NULL, ticker_thread, NULL) == 0;
}

void hosted_irq_stop(void)
{
    if (ticker_runs) {
        atomic_store_explicit(&ticker_stops, true, memory_order_release);
        sem_post(&ticker_wake);
        pthread_join(ticker, NULL);
    }
    sem_destroy(&ticker_wake);
    sigaction(HOSTED_SIGNAL_IRQ, &irq_before, NULL);
    sigaction(HOSTED_SIGNAL_NMI, &nmi_before, NULL);
}
