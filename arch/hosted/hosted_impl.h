/* What the files of arch/hosted share. */
#pragma once

#include <pthread.h>
#include <signal.h>
#include "arch/arch.h"

/* Why a CPU was interrupted: bits of hosted_cpu.pending. */
enum hosted_irq {
    HOSTED_IRQ_IPI = 1 << 0,
    HOSTED_IRQ_TICK = 1 << 1,
    HOSTED_IRQ_INPUT = 1 << 2,   /* standard input has something */
    HOSTED_IRQ_REVOKE = 1 << 3,  /* the loan ends */
    HOSTED_IRQ_OTHERS = 1 << 4,  /* forked child: another CPU has something pending */
    HOSTED_IRQ_PREEMPT = 1 << 5, /* kernel_preempt() is due; not in signal handlers */
};

#define HOSTED_SIGNAL_IRQ (SIGRTMIN + 1)
#define HOSTED_SIGNAL_NMI (SIGRTMIN + 2)

/* Registers at a signal. */
struct trap_frame {
    const ucontext_t *context;
};

extern char __start_percpu[], __stop_percpu[]; /* per-CPU variables, CPU 0's copy; linker */

/* machine.c */
extern bool hosted_is_forked; /* a child after fork: the other CPUs' threads do not exist */

/* cpu.c */
extern struct hosted_cpu hosted_cpus[ARCH_CPU_MAX];
extern unsigned hosted_cpu_count;   /* [C] as hosted_start was told; 0: not started */
extern pthread_mutex_t hosted_lock; /* every CPU's state; *_locked functions need it */
extern pthread_cond_t hosted_changed[ARCH_CPU_MAX]; /* that CPU's state */

/* This thread becomes a CPU that no thread has; it ceases to be one (async-signal-safe). */
void hosted_cpu_bind(struct hosted_cpu *cpu, unsigned long irq_depth);
void hosted_cpu_unbind(void);
void hosted_cpu_bind_entered(struct hosted_cpu *cpu); /* and tells the kernel; interrupts on */
void hosted_cpu_pin(const struct hosted_cpu *cpu);    /* this thread to a core, where that helps */
void hosted_cpu_unpin(void);
void hosted_cpu_set_locked(struct hosted_cpu *cpu, enum hosted_cpu_state state);

/*
 * hosted_cpu_park, hosted_cpu_hand_over -- the CPU goes from its holder to its idle thread; back to
 * the holder.  Called by the one that gives it, interrupts off; returns when it has it again, in a new
 * binding, interrupts off.  The second, to the idle thread, also when the CPU was left.
 */
void hosted_cpu_park(struct hosted_cpu *cpu);
void hosted_cpu_hand_over(struct hosted_cpu *cpu, const struct hosted_thread *holder);

bool hosted_cpu_watch_fork(void); /* once per process */
void hosted_cpu_boot(void);       /* this thread becomes CPU 0, interrupts off */
void hosted_cpu_boot_done(void);  /* interrupts on; CPU 0 gets its idle thread */
void hosted_cpu_stop_all(void);   /* every idle thread ends */

/* enter.c */
void hosted_loan_init(void);
void hosted_loan_fini(void);

/*
 * hosted_cpu_claim_locked -- take a CPU in state `from`, IDLE or LOAN, out of use.
 *   returns  the CPU, its state GIVEN, the lock let go meanwhile; NULL: there is none
 *   pairs    hosted_cpu_take_locked, hosted_cpu_set_locked
 */
struct hosted_cpu *hosted_cpu_claim_locked(enum hosted_cpu_state from);
void hosted_cpu_take_locked(struct hosted_cpu *cpu, enum hosted_cpu_state state); /* HELD, LOAN */
void hosted_cpu_give_back(const char *caller); /* what this thread holds, if anything */
void hosted_cpu_revoked(void);                 /* interrupts off: this thread's loan ends */
NORETURN COLD void hosted_die_without_cpu(const char *message);

/* flow.c */
/* On an idle thread's own stack: run cpu->next, and so on.  False: that was NULL. */
bool hosted_flow_carry(struct hosted_cpu *cpu);
void hosted_flow_thread_init(void); /* this thread's own flow; its stack's bounds are known */

/* irq.c */
void hosted_irq_handle(void); /* all that is pending but PREEMPT; else as hosted_irq_take */
void hosted_irq_raise(struct hosted_cpu *cpu, uint32_t bits); /* any context; 0: only wake */
void hosted_irq_thread_init(void);                            /* this thread takes its signals */
void hosted_irq_start(void);                                  /* signal handlers */
void hosted_irq_stop(void);                                   /* ticks, signal handlers */

/* memory.c */
bool hosted_memory_map(size_t ram_bytes); /* RAM and tables; false: said why */
void hosted_memory_unmap(void);
bool hosted_stacks_has(uintptr_t addr);                    /* is it one for stacks? */
bool hosted_stacks_can_read(uintptr_t addr, size_t bytes); /* and backed; any context */
const char *hosted_memory_name(uintptr_t addr); /* what an address belongs to, for reports */

/* trap.c */
void hosted_trap_start(void);
void hosted_trap_stop(void);
void hosted_trap_thread_init(void); /* this thread's stack bounds and trap stack */
void hosted_trap_thread_fini(void);

/* Around a signal handler's work: where what it has interrupted is at. */
uintptr_t hosted_trap_enter(const ucontext_t *context);
void hosted_trap_leave(uintptr_t entered);

/* The stack of this thread, or of the kernel thread on it, that holds addr; not the alternate one. */
bool hosted_stack_find(uintptr_t addr, uintptr_t *low, uintptr_t *top);

/* symbols.c */
void hosted_symbols_load(void);
void hosted_symbols_unload(void);

/* reset.c */
bool hosted_reset_prepare(void); /* remember the first state; false: it cannot be put back */
void hosted_reset(void);         /* put it back */

/* console.c */
bool hosted_console_has_input(void); /* the kernel reads standard input and a byte waits */
