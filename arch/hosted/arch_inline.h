/*
 * The inline half of the port to a Linux process; included by arch/arch.h only.
 *
 * A thread that holds a CPU has hosted_this.cpu set.  Whether its interrupts are on is a number in
 * the same thread-local struct: how deep arch_irq_save calls are nested, under a generation that
 * changes whenever a thread gets a CPU.  So a state that is restored out of order, twice, or on
 * another CPU than it was saved on never matches, and the port panics.
 *
 * A kernel thread goes from one of the process's threads to another (flow.c).  So the address of the
 * thread-local struct is found anew at each use, by asm that the compiler does not merge.
 *
 * A signal stands for an interrupt: its handler runs what is pending if interrupts are on, else it
 * leaves the pending bits, which arch_irq_restore finds.  No system call on these paths.
 */
#pragma once

#include <stdatomic.h>
#include "arch/registers_x86.h"
#include "kernel/base/base.h"

#if defined(__SANITIZE_THREAD__)
#define HOSTED_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define HOSTED_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HOSTED_THREAD_SANITIZER 0
#endif

enum hosted_cpu_state {
    HOSTED_CPU_OFF,     /* not started */
    HOSTED_CPU_IDLE,    /* its idle thread runs it */
    HOSTED_CPU_WANTED,  /* a thread waits until the idle thread or the borrower gives it up */
    HOSTED_CPU_GIVEN,   /* given up, not yet taken */
    HOSTED_CPU_HELD,    /* a thread holds it */
    HOSTED_CPU_LOAN,    /* the thread that called hosted_start holds it until another needs it */
    HOSTED_CPU_REFUSED, /* a thread has waited for the loan to end, and is to see that it does not */
    HOSTED_CPU_STOP,    /* its idle thread shall end */
};

/* green: on a stack of its own; else native: a thread's own flow (flow.c). */
struct arch_flow {
    uintptr_t sp;                 /* while it does not run */
    uintptr_t low, top;           /* green: its stack */
    struct hosted_thread *thread; /* whose own flow it is; NULL: green */
    void *fiber;                  /* the thread sanitizer's */
    void *fake_stack;             /* the address sanitizer's */
};

void arch_flow_switch(struct arch_flow *from, struct arch_flow *to);

/* Lock letters: [C] constant while started, [L] hosted_lock, [A] atomic, [P] the holder only. */
struct hosted_cpu {
    _Atomic uint32_t pending;     /* [A] enum hosted_irq bits; seq_cst against owner_tid */
    unsigned id;                  /* [C] */
    uintptr_t percpu_offset;      /* [C] */
    _Atomic int owner_tid;        /* [A] thread that signals go to, 0: none; seq_cst, see pending */
    _Atomic bool nmi_pending;     /* [A] acq_rel */
    _Atomic bool is_wanted;       /* [A] the idle thread shall give the CPU up; acquire / release */
    _Atomic uint64_t tick_due;    /* [A] next tick, in arch_ticks(), 0: none; seq_cst, see irq.c */
    _Atomic uint64_t tick_period; /* [A] from one to the next, 0: one only; relaxed */
    enum hosted_cpu_state state;  /* [L] */
    bool is_parked;               /* [L] held or on loan, but the idle thread runs it (enter.c) */
    struct hosted_thread *holder; /* [L] who holds it or has the loan */
    struct arch_flow *next;       /* [P] for the idle thread, NULL: its own flow; see flow.c */
    volatile uint64_t taken;      /* [P] interrupts taken, so that arch_idle misses none */
} __attribute__((aligned(64)));

/* What the port knows of a thread.  volatile: its own signal handlers write it too. */
struct hosted_thread {
    struct hosted_cpu *volatile cpu; /* NULL: it holds none */
    volatile uintptr_t percpu;       /* cpu->percpu_offset for sequences, or HOSTED_NO_CPU */
    volatile unsigned long irq;      /* generation << HOSTED_IRQ_DEPTH_BITS | depth; depth 0: on */
    unsigned relaxes;                /* calls of arch_relax */
    bool is_idle;                    /* the idle thread of a CPU */
    bool is_starter;                 /* called hosted_start: a lost loan may come back */
    bool is_firm;                    /* got its CPU by hosted_cpu_enter */
    bool has_trap_stack;             /* trap_stack is mapped */
    uint64_t idle_seen;              /* cpu->taken when arch_idle returned last */
    struct arch_flow native;         /* this thread's own flow */
    uintptr_t stack_low, stack_high; /* bounds of its stack; 0, 0: not known */
    uintptr_t trap_stack;            /* the alternate stack, for signals; 0: none */
    uintptr_t trap_stack_end;
    uintptr_t prior_stack; /* the one that it had before; 0: none */
    size_t prior_bytes;
    volatile uintptr_t interrupted_sp; /* on the alternate stack: where the other one is at */
};

#define HOSTED_NO_CPU (1ul << 63) /* with it, no address in user space stays positive */

#define HOSTED_IRQ_DEPTH_BITS 16
#define HOSTED_IRQ_DEPTH_MASK ((1ul << HOSTED_IRQ_DEPTH_BITS) - 1)

extern __thread struct hosted_thread hosted_self __attribute__((tls_model("local-exec")));
extern uintptr_t hosted_ram_base; /* page-aligned; 0: not started */

/* The slow halves.  hosted_cpu_missing panics unless this thread can have its loan back. */
struct hosted_cpu *hosted_cpu_missing(void);
unsigned long hosted_irq_save_slow(void);
NORETURN COLD void hosted_irq_misnested(unsigned long state);
void hosted_irq_take(void);
void hosted_relax_slow(void);

static ALWAYS_INLINE struct hosted_thread *hosted_this_find(void)
{
    struct hosted_thread *self;

    __asm__ volatile("movq %%fs:0, %0\n\tleaq hosted_self@tpoff(%0), %0" : "=r"(self));
    return self;
}

#define hosted_this (*hosted_this_find())

static ALWAYS_INLINE struct hosted_cpu *hosted_cpu_here(void)
{
    struct hosted_cpu *cpu = hosted_this.cpu;

    return LIKELY(cpu != NULL) ? cpu : hosted_cpu_missing();
}

static ALWAYS_INLINE unsigned arch_cpu_id(void)
{
    return hosted_cpu_here()->id;
}

static ALWAYS_INLINE uintptr_t arch_percpu_offset(void)
{
    return hosted_cpu_here()->percpu_offset;
}

/*
 * Restartable sequences.  What this thread's CPU is, is read inside the sequence, by one load: a
 * loan may end at any instruction.  Without a CPU the sum is negative.
 *
 * No operand has an index, and what is committed is computed apart: cores that foresee which store a
 * load will meet, and then forward it in no time, do so for a register and a displacement only.
 */
#define ARCH_PROBES    1 /* arch/probe.h */
#define ARCH_SEQUENCES "arch/sequence_x86.h"
#define SEQUENCE_HERE                                          \
    "leaq %[percpu], %[here]\n\t"                              \
    "addq %%fs:hosted_self@tpoff+%c[percpu_here], %[here]\n\t" \
    "js %l[miss]\n\t"
#define SEQUENCE_AT(offset) offset "(%[here])"
#define SEQUENCE_TOP_HERE   "leaq (%[here],%[index],8), %[here]\n\t"
#define SEQUENCE_TOP        "(%[here])"
#define SEQUENCE_TOP_ADD(n) "leaq " n "(%[top]), %[top]\n\tmovq %[top], " SEQUENCE_TOP
#define SEQUENCE_WORD_HERE        \
    "leaq %[closed], %[word]\n\t" \
    "addq %[top], %[word]\n\t"
#define SEQUENCE_WORD(offset) SEQUENCE_STRING(offset) "(%[word])"
#define SEQUENCE_INPUT(percpu_) \
    [percpu] "m"(*(percpu_)), [percpu_here] "i"(__builtin_offsetof(struct hosted_thread, percpu))
#define SEQUENCE_MAGAZINE_INPUT(tops) SEQUENCE_INPUT(tops), [closed] "m"(seq_closed)

static ALWAYS_INLINE unsigned long arch_irq_save(void)
{
    struct hosted_thread *self = hosted_this_find();
    unsigned long state = self->irq;

    self->irq = state + 1;
    atomic_signal_fence(memory_order_seq_cst);

    /* After the store: a loan may end by a signal up to here. */
    if (UNLIKELY(self->cpu == NULL))
        state = hosted_irq_save_slow();
    return state;
}

static ALWAYS_INLINE void arch_irq_restore(unsigned long state)
{
    struct hosted_thread *self = hosted_this_find();
    struct hosted_cpu *cpu = self->cpu;

    if (UNLIKELY(self->irq != state + 1))
        hosted_irq_misnested(state);

    atomic_signal_fence(memory_order_seq_cst);
    self->irq = state;
    atomic_signal_fence(memory_order_seq_cst);
    if ((state & HOSTED_IRQ_DEPTH_MASK) == 0 &&
        UNLIKELY(atomic_load_explicit(&cpu->pending, memory_order_relaxed) != 0))
        hosted_irq_take();
}

static ALWAYS_INLINE bool arch_irq_enabled(void)
{
    (void)hosted_cpu_here();
    return (hosted_this.irq & HOSTED_IRQ_DEPTH_MASK) == 0;
}

void arch_irq_enable(void);
void arch_irq_disable(void);

/* CPUs may be more than cores: every few turns another thread may run (hosted_relax_slow). */
static ALWAYS_INLINE void arch_relax(void)
{
    if (++hosted_this.relaxes % 16 == 0)
        hosted_relax_slow();
    __builtin_ia32_pause();
}

/* With interrupts off: else a loan may end in the middle, and this be no more than a number. */
static ALWAYS_INLINE void hosted_percpu_add(uint32_t *variable, uint32_t n)
{
    unsigned long state = arch_irq_save();

    *(uint32_t *)((uintptr_t)variable + arch_percpu_offset()) += n;
    arch_irq_restore(state);
}

static ALWAYS_INLINE void arch_percpu_increment(uint32_t *variable)
{
    hosted_percpu_add(variable, 1);
}

static ALWAYS_INLINE void arch_percpu_decrement(uint32_t *variable)
{
    hosted_percpu_add(variable, (uint32_t)-1);
}

/* Nobody is moved between two instructions; but a loan may end there, and another be given. */
static ALWAYS_INLINE uintptr_t arch_percpu_word(const uintptr_t *variable)
{
    for (;;) {
        const struct hosted_cpu *cpu = hosted_cpu_here();
        uintptr_t word = *(const volatile uintptr_t *)((uintptr_t)variable + cpu->percpu_offset);

        if (LIKELY(hosted_this.cpu == cpu))
            return word;
    }
}

static ALWAYS_INLINE bool arch_percpu_is_zero(const uint32_t *variable)
{
    for (;;) {
        const struct hosted_cpu *cpu = hosted_cpu_here();
        uint32_t word = *(const volatile uint32_t *)((uintptr_t)variable + cpu->percpu_offset);

        if (LIKELY(hosted_this.cpu == cpu))
            return word == 0;
    }
}

/* In C, so that the thread sanitizer sees it. */
static ALWAYS_INLINE void arch_own_add(_Atomic uint32_t *variable, uint32_t n)
{
    uint32_t value = atomic_load_explicit(variable, memory_order_relaxed);

    atomic_store_explicit(variable, value + n, memory_order_release);
}

/* Another thread waits for this CPU, which its idle thread gives up. */
static ALWAYS_INLINE bool arch_idle_is_wanted(void)
{
    return atomic_load_explicit(&hosted_cpu_here()->is_wanted, memory_order_acquire);
}

uint64_t arch_ticks(void); /* nanoseconds of the monotonic clock */

static ALWAYS_INLINE uintptr_t arch_direct_base(void)
{
    return hosted_ram_base;
}
