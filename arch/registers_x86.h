/* Registers that a call leaves as they are, of x86-64; both ports' arch_inline.h include this. */
#pragma once

#include "kernel/base/base.h"

#define ARCH_REGISTERS 6

static ALWAYS_INLINE void arch_registers_save(uintptr_t to[ARCH_REGISTERS])
{
    __asm__ volatile("movq %%rbx, 0(%0)\n\t"
                     "movq %%rbp, 8(%0)\n\t"
                     "movq %%r12, 16(%0)\n\t"
                     "movq %%r13, 24(%0)\n\t"
                     "movq %%r14, 32(%0)\n\t"
                     "movq %%r15, 40(%0)"
                     :
                     : "r"(to)
                     : "memory");
}
