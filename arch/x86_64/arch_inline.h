/*
 * The inline part of the x86_64 port (arch/arch.h says what each function is).
 *
 * Idea: GS base points at this CPU's struct cpu_block (cpu_block.h), so one %gs-relative load
 * gives what is most asked for.  The loads go through the compiler's __seg_gs address space and
 * are ordinary loads to it: it may merge two of them, but not across the "memory" clobber of an
 * interrupt-state change, which is where a CPU can change under a caller.
 */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

/*
 * Byte offsets in struct cpu_block, asserted there.  At 0 stands the block's own address: clang
 * takes %gs:0 for that, as the ELF ABI for thread-local storage has it, and folds loads through it.
 */
#define CPU_BLOCK_SELF          0
#define CPU_BLOCK_PERCPU_OFFSET 8
#define CPU_BLOCK_CPU           16

#define RFLAGS_IF 0x200ul

/* Restartable sequences: this CPU's copy of a percpu variable is at its address + %gs:8. */
#define ARCH_SEQUENCES         "arch/sequence_x86.h"
#define SEQUENCE_HERE          "movq %%gs:8, %[here]\n\t"
#define SEQUENCE_AT(offset)    "%c[window]+" offset "(%[here])"
#define SEQUENCE_INPUT(window) [window] "i"(window)

_Static_assert(CPU_BLOCK_PERCPU_OFFSET == 8, "as SEQUENCE_HERE has it");

static ALWAYS_INLINE unsigned arch_cpu_id(void)
{
    return *(const __seg_gs uint32_t *)CPU_BLOCK_CPU;
}

static ALWAYS_INLINE uintptr_t arch_percpu_offset(void)
{
    return *(const __seg_gs uintptr_t *)CPU_BLOCK_PERCPU_OFFSET;
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

static ALWAYS_INLINE void arch_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
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
