/* Traps and interrupts: the frame that the entry code builds, and where each goes. */
#pragma once

#include "arch/arch.h"

/* As trap_entry.S pushes it: last pushed first. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rdx, rcx, rbx, rax;
    uint64_t vector;
    uint64_t error;                    /* 0 where the CPU gives none */
    uint64_t rip, cs, rflags, rsp, ss; /* by the CPU */
};

#define TRAP_ERROR_PRESENT (1u << 0) /* in the error code of a page fault: the right is missing */
#define TRAP_ERROR_WRITE   (1u << 1)

extern char trap_stubs[];  /* one entry point a vector, TRAP_STUB_BYTES apart */
extern char trap_return[]; /* where trap_dispatch returns to */
extern char trap_resume[]; /* where kernel_preempt does */

/* For tests: called after each instruction while RFLAGS.TF is set; NULL: that is a trap. */
extern void (*trap_on_step)(struct trap_frame *frame);

/* From trap_entry.S, interrupts off.  Not NULL: as flow_preempt. */
struct trap_frame *trap_dispatch(struct trap_frame *frame);

/*
 * flow_preempt -- at the end of an interrupt in which preemption was asked for (flow.c): the copy of
 * its frame, on the stack of what was interrupted, on which to call kernel_preempt first.
 */
struct trap_frame *flow_preempt(const struct trap_frame *frame);

static inline bool flow_is_preempted(void)
{
    return *(const __seg_gs uint32_t *)(uintptr_t)&cpu_identity.preempt_asked != 0;
}

/* Name the trap for a report: into text[0 .. bytes). */
void trap_describe(const struct trap_frame *frame, uint64_t cr2, char *text, size_t bytes);

/* An interrupt that is not an exception (interrupt.c). */
void interrupt_dispatch(unsigned vector);
