/*
 * From the firmware's page tables, stack and segments to the kernel's.
 *
 * This code stands in the loader's image, which the kernel's tables map only here, at its own
 * address.  It moves the kernel's segments to their places, which the firmware may have occupied
 * until now: with its page tables, its stack, its tables of segments and traps.  So nothing of the
 * firmware's is used any more by then, and no memory but struct handover, the segments and the new
 * stack.
 *
 * State on arrival as boot/boot_info.h says; besides: %cs 0x08 and %ss 0x10 in a flat GDT of the
 * loader's, an empty IDT, EFER.NXE and CR0.WP on, no global translations left.
 */

#define MSR_EFER 0xc0000080
#define EFER_NXE_BIT 11
#define CR0_WP_BIT 16
#define CR4_PGE_BIT 7

/* struct handover, struct handover_segment: see loader.h */
#define HANDOVER_ENTRY     0
#define HANDOVER_INFO      8
#define HANDOVER_STACK_TOP 16
#define HANDOVER_COUNT     24
#define HANDOVER_SEGMENTS  32
#define SEGMENT_TO         0
#define SEGMENT_FROM       8
#define SEGMENT_COPY       16
#define SEGMENT_CLEAR      24
#define SEGMENT_BYTES      32

    .text
    .globl uefi_handover, uefi_handover_end
    .type uefi_handover, @function
uefi_handover: /* rdi struct handover, rsi root, rdx gdt */
    cli
    cld
    lgdt (%rdx)
    lidt uefi_no_idt(%rip)

    movl $MSR_EFER, %ecx
    rdmsr
    btsl $EFER_NXE_BIT, %eax
    wrmsr
    movq %cr0, %rax
    btsq $CR0_WP_BIT, %rax
    movq %rax, %cr0
    movq %cr4, %rax
    btrq $CR4_PGE_BIT, %rax
    movq %rax, %cr4
    movq %rsi, %cr3

    movq HANDOVER_STACK_TOP(%rdi), %rsp
    pushq $0x08
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs

    movq %rdi, %rdx
    movq HANDOVER_COUNT(%rdx), %r8
    leaq HANDOVER_SEGMENTS(%rdx), %r9
    jmp 3f
2:  movq SEGMENT_TO(%r9), %rdi
    movq SEGMENT_FROM(%r9), %rsi
    movq SEGMENT_COPY(%r9), %rcx
    rep movsq
    movq SEGMENT_CLEAR(%r9), %rcx
    rep stosq
    addq $SEGMENT_BYTES, %r9
3:  subq $1, %r8
    jns 2b

    movq HANDOVER_INFO(%rdx), %rdi
    xorl %ebp, %ebp
    pushq %rbp /* a return address: where backtraces end */
    jmp *HANDOVER_ENTRY(%rdx)

    .balign 8
uefi_no_idt:
    .word 0
    .quad 0
uefi_handover_end:
    .size uefi_handover, . - uefi_handover

    .data
    .balign 8
    .globl uefi_gdt, uefi_gdt_end
uefi_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
uefi_gdt_end:

    .section .note.GNU-stack, "", @progbits
