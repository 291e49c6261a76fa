/*
 * Leaving a flow and going on with another.
 *
 * A flow that does not run has on its stack, from its `sp` on, what arch_flow_switch pushed: struct
 * flow_frame (flow.c).  Nothing else belongs to a flow: of the rest a call may change every register,
 * and flags are the same everywhere, interrupts off.
 */
        .section .text.arch_flow_switch, "ax", @progbits
        .code64

/* from in %rdi, to in %rsi; `sp` is the first member of both. */
        .balign 16
        .globl  arch_flow_switch
        .type   arch_flow_switch, @function
arch_flow_switch:
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        ret
        .size   arch_flow_switch, . - arch_flow_switch

/*
 * A new flow's first switch "returns" to here: entry in %rbx, its argument in %r12, and 0 in %rbp, so
 * that backtraces end with this function.
 */
        .balign 16
        .globl  flow_start
        .type   flow_start, @function
flow_start:
        movq    %r12, %rdi
        call    *%rbx
        ud2
        .size   flow_start, . - flow_start

        .section .note.GNU-stack, "", @progbits
