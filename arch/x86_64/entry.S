/*
 * Where the ways in (boot/) jump to: arch_entry(struct boot_info *info in RDI), in the state that
 * boot_info.h says.  The loader has zeroed .bss.  From here on CPU 0 runs on its own boot stack.
 */
#include "arch/x86_64/layout.h"

        .section .text.arch_entry, "ax", @progbits
        .code64

        .globl  arch_entry
        .type   arch_entry, @function
arch_entry:
        cli
        cld
        movq    $boot_stacks + STACK_BLOCK_BYTES, %rsp
        xorl    %ebp, %ebp              /* ends a walk along frame pointers */

        /* GS base 0: CPU 0, whose percpu variables stand in the image. */
        movl    $MSR_GS_BASE, %ecx
        xorl    %eax, %eax
        xorl    %edx, %edx
        wrmsr

        call    kernel_init             /* RDI is still info */
        call    kernel_run
        ud2
        .size   arch_entry, . - arch_entry

/* CPU 0's stack block: guards and stacks as layout.h draws it. */
        .section .stacks, "aw", @nobits
        .balign 4096
        .globl  boot_stacks
        .type   boot_stacks, @object
boot_stacks:
        .skip   STACK_BLOCK_BYTES
        .size   boot_stacks, . - boot_stacks

        .section .note.GNU-stack, "", @progbits
