/*
 * The inline part of the x86_64 port (arch/arch.h says what each function is).
 *
 * Idea: GS base is this CPU's percpu offset, so %gs:x is this CPU's copy of the percpu variable x,
 * in one instruction.  Loads go through the compiler's __seg_gs address space and are ordinary
 * loads to it: it may merge two of them, but not across the "memory" clobber of an interrupt-state
 * change, which is where a CPU can change under a caller.
 */
#pragma once

#include "boot/boot_info.h"
#include "arch/registers_x86.h"
#include "kernel/base/base.h"

/* A percpu variable: which CPU this is.  CPU 0's is all zero, which is right. */
struct cpu_identity {
    uintptr_t percpu_offset; /* [C] arch_percpu_offset(), and what GS base is */
    uint32_t cpu;            /* [C] arch_cpu_id() */
    uint32_t preempt_asked;  /* [P] 1: arch_preempt_ask was called, see flow.c */
    uint32_t relaxes;        /* CPU 0's counts for all, roughly */
};

extern struct cpu_identity cpu_identity;

/* All of a flow that does not run is on its stack. */
struct arch_flow {
    uintptr_t sp; /* while it does not run */
};

/*
 * Only the frame pointer and where to go on are pushed here: all other registers are said to be
 * overwritten, so the caller saves those that matter to it, once.
 */
static ALWAYS_INLINE void arch_flow_switch(struct arch_flow *from, struct arch_flow *to)
{
    __asm__ volatile("pushq %%rbp\n\t"
                     "pushq $1f\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq (%%rsi), %%rsp\n\t"
                     "ret\n"
                     "1:\tpopq %%rbp"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "cc", "memory");
}

#define RFLAGS_IF 0x200ul

/* Restartable sequences: nothing to find, an operand is a member of this CPU's copy at once. */
#define ARCH_PROBES                   1 /* arch/probe.h */
#define ARCH_SEQUENCES                "arch/sequence_x86.h"
#define SEQUENCE_HERE                 ""
#define SEQUENCE_AT(offset)           "%%gs:%c[percpu]+" offset
#define SEQUENCE_TOP_HERE             ""
#define SEQUENCE_TOP                  "%%gs:%c[percpu](,%[index],8)"
#define SEQUENCE_TOP_ADD(n)           "addq $" n ", " SEQUENCE_TOP
#define SEQUENCE_WORD_HERE            ""
#define SEQUENCE_WORD(offset)         "%c[closed]+" SEQUENCE_STRING(offset) "(%[top])"
#define SEQUENCE_INPUT(percpu_)       [percpu] "i"(percpu_)
#define SEQUENCE_MAGAZINE_INPUT(tops) SEQUENCE_INPUT(tops), [closed] "i"(&seq_closed)

static ALWAYS_INLINE unsigned arch_cpu_id(void)
{
    return *(const __seg_gs uint32_t *)(uintptr_t)&cpu_identity.cpu;
}

static ALWAYS_INLINE uintptr_t arch_percpu_offset(void)
{
    return *(const __seg_gs uintptr_t *)(uintptr_t)&cpu_identity.percpu_offset;
}

/* In one instruction, so that nobody can be moved to another CPU in the middle. */
static ALWAYS_INLINE void arch_percpu_increment(uint32_t *variable)
{
    __asm__ volatile("incl %%gs:%0" : "+m"(*variable) : : "memory");
}

static ALWAYS_INLINE void arch_percpu_decrement(uint32_t *variable)
{
    __asm__ volatile("decl %%gs:%0" : "+m"(*variable) : : "memory");
}

static ALWAYS_INLINE uintptr_t arch_percpu_word(const uintptr_t *variable)
{
    uintptr_t value;

    __asm__ volatile("movq %%gs:%1, %0" : "=r"(value) : "m"(*variable) : "memory");
    return value;
}

/* A branch, no value: so the compiler keeps none for later. */
static ALWAYS_INLINE bool arch_percpu_is_zero(const uint32_t *variable)
{
    __asm__ goto("cmpl $0, %%gs:%c0\n\tjne %l[other]" : : "i"(variable) : "memory", "cc" : other);
    return true;
other:
    return false;
}

static ALWAYS_INLINE void arch_own_add(_Atomic uint32_t *variable, uint32_t n)
{
    __asm__ volatile("addl %1, %0" : "+m"(*variable) : "ri"(n) : "memory", "cc");
}

/* A CPU's own flow is as good as any other. */
static ALWAYS_INLINE bool arch_idle_is_wanted(void)
{
    return false;
}

static ALWAYS_INLINE unsigned long arch_rflags(void)
{
    unsigned long flags;

    __asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
    return flags;
}

static ALWAYS_INLINE void arch_irq_enable(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static ALWAYS_INLINE void arch_irq_disable(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static ALWAYS_INLINE bool arch_irq_enabled(void)
{
    return (arch_rflags() & RFLAGS_IF) != 0;
}

static ALWAYS_INLINE unsigned long arch_irq_save(void)
{
    unsigned long state = arch_rflags();

    arch_irq_disable();
    return state;
}

static ALWAYS_INLINE void arch_irq_restore(unsigned long state)
{
    __asm__ volatile("" : : : "memory"); /* what was done with interrupts off stays before */
    if (state & RFLAGS_IF)
        arch_irq_enable();
}

/*
 * Each 32nd time only: QEMU leaves a CPU's loop for it and takes its one big lock, and who does that all
 * the time keeps from that lock a CPU that wakes up, or has device registers to write: the very one
 * that is waited for.
 */
static ALWAYS_INLINE void arch_relax(void)
{
    if (++cpu_identity.relaxes % 32 == 0)
        __asm__ volatile("pause" : : : "memory");
    else
        __asm__ volatile("" : : : "memory");
}

static ALWAYS_INLINE uint64_t arch_ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static ALWAYS_INLINE uintptr_t arch_direct_base(void)
{
    return BOOT_DIRECT_BASE;
}
