/*
 * What another CPU runs first: a page of real-mode code, copied below 1 MiB by start.c, which goes
 * straight to long mode.  It is entered at its first byte with CS = page / 16, IP = 0; the fields
 * at its end are filled in for each CPU before it is started (struct trampoline in start.c).
 *
 * The page is mapped at its own physical address while this runs, since paging goes on in the
 * middle of it.
 */
#include "arch/x86_64/layout.h"

#define AT(label) ((label) - trampoline_start)

        .section .rodata.trampoline, "a", @progbits
        .balign 16
        .globl  trampoline_start, trampoline_fields, trampoline_end
trampoline_start:
        .code16
        cli
        cld
        movw    %cs, %ax
        movw    %ax, %ds
        movl    AT(field_cr4), %eax
        movl    %eax, %cr4
        movl    AT(field_cr3), %eax
        movl    %eax, %cr3
        movl    $MSR_EFER, %ecx
        movl    AT(field_efer), %eax
        xorl    %edx, %edx
        wrmsr
        lgdtl   AT(field_gdt_bytes)
        movl    AT(field_cr0), %eax
        movl    %eax, %cr0              /* protection and paging at once: long mode */
        ljmpl   *AT(field_long_entry)

        .code64
trampoline_long:
        movl    $SELECTOR_DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movq    field_stack(%rip), %rsp
        movq    field_block(%rip), %rdi
        movq    field_entry(%rip), %rax
        xorl    %ebp, %ebp
        call    *%rax
        ud2

        .balign 16
trampoline_gdt:                         /* by the selectors of layout.h */
        .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff

        .balign 8
trampoline_fields:
field_stack:
        .quad   0
field_block:
        .quad   0
field_entry:
        .quad   0
field_cr0:
        .long   0
field_cr3:
        .long   0
field_cr4:
        .long   0
field_efer:
        .long   0
field_long_entry:                       /* linear address, selector */
        .long   AT(trampoline_long)
        .word   SELECTOR_CODE
field_gdt_bytes:
        .word   23
        .long   AT(trampoline_gdt)      /* linear address */
trampoline_end:

        .section .note.GNU-stack, "", @progbits
