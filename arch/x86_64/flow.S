/*
 * Where a new flow begins: its first switch returns to here, with the rest of struct flow_frame
 * (flow.c) on its stack.  The 0 for %rbp ends backtraces with this function.
 */
        .section .text.flow_start, "ax", @progbits
        .code64

        .balign 16
        .globl  flow_start
        .type   flow_start, @function
flow_start:
        popq    %rbp
        popq    %rax                    /* entry */
        popq    %rdi                    /* its argument */
        call    *%rax
        ud2
        .size   flow_start, . - flow_start

        .section .note.GNU-stack, "", @progbits
