/*
 * Where every trap and interrupt enters: a stub per vector, which makes all stacks alike by pushing
 * a 0 where the CPU pushes no error code, and a common part that saves the registers as struct
 * trap_frame (trap.h).
 *
 * The kernel never leaves ring 0, so GS base is right at any time and nothing is swapped.  RBP
 * points to the frame during the call, and the call returns to trap_return, or trap_resume: that is
 * how a walk along frame pointers knows where it passes from a handler to what was interrupted
 * (backtrace.c).
 *
 * Where trap_dispatch gives a frame, that is a copy on the interrupted flow's stack: the CPU goes on
 * there with kernel_preempt(), which may return on another CPU (flow.c).
 */
#include "arch/x86_64/layout.h"

/* Does the CPU push an error code? */
#define HAS_ERROR_CODE(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21 || \
                           (v) == 29 || (v) == 30)

        .section .text.trap_entry, "ax", @progbits
        .code64

        .balign TRAP_STUB_BYTES
        .globl  trap_stubs, trap_return, trap_resume
        .type   trap_stubs, @function
trap_stubs:
        .set    vector, 0
        .rept   VECTOR_COUNT
        .balign TRAP_STUB_BYTES
        .if     !HAS_ERROR_CODE(vector)
        pushq   $0
        .endif
        pushq   $vector
        jmp     trap_common
        .set    vector, vector + 1
        .endr
        .size   trap_stubs, . - trap_stubs

        .type   trap_common, @function
trap_common:
        pushq   %rax
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, %rdi
        movq    %rsp, %rbp
        cld
        call    trap_dispatch
trap_return:
        testq   %rax, %rax
        jnz     trap_preempt
trap_restore:
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rdx
        popq    %rcx
        popq    %rbx
        popq    %rax
        addq    $16, %rsp               /* vector, error */
        iretq
trap_preempt:
        movq    %rax, %rsp
        movq    %rax, %rbp
        call    kernel_preempt
trap_resume:
        jmp     trap_restore
        .size   trap_common, . - trap_common

        .section .note.GNU-stack, "", @progbits
