/*
 * The PVH entry: `qemu -kernel` starts the kernel's ELF file here, without firmware.
 *
 * State on entry: 32-bit protected mode, flat segments, paging and interrupts off, %ebx the
 * physical address of the start info.  This code makes page tables that map the first 4 GiB at
 * their physical addresses and the first 2 GiB at the link addresses, everything allowed, and calls
 * pvh_main at its link address in long mode.  pvh_main then builds the real tables.
 *
 * Source: Xen, docs/misc/pvh.pandoc; System V ABI, "Note Section".
 */

#define KERNEL_BASE 0xffffffff80000000
#define PHYS(symbol) ((symbol) - KERNEL_BASE)

#define PAGE_BYTES   4096
#define STACK_BYTES  (4 * PAGE_BYTES)
#define TABLE        0x03 /* present, writable */
#define LARGE_PAGE   0x83 /* present, writable, 2 MiB */
#define LARGE_BYTES  0x200000
#define IDENTITY_GIB 4

#define CR0_PE 0x00000001
#define CR0_WP 0x00010000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define EFER_NXE 0x800

#define CPUID_EXT_MAX 0x80000000
#define CPUID_EXT     0x80000001
#define CPUID_EDX_NX  0x00100000
#define CPUID_EDX_LM  0x20000000

#define COM1         0x3f8
#define EXIT_PORT    0xf4
#define EXIT_FAIL    1
#define NOTE_PHYS32_ENTRY 18

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, NOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad PHYS(pvh_entry)

    .section .boot.text, "ax", @progbits
    .code32
    .globl pvh_entry
    .type pvh_entry, @function
pvh_entry:
    cli
    cld
    movl %ebx, %ebp

    movl $CPUID_EXT_MAX, %eax
    cpuid
    cmpl $CPUID_EXT, %eax
    jb pvh_no_long_mode
    movl $CPUID_EXT, %eax
    cpuid
    andl $(CPUID_EDX_LM | CPUID_EDX_NX), %edx
    cmpl $(CPUID_EDX_LM | CPUID_EDX_NX), %edx
    jne pvh_no_long_mode

    /* Four level-1 tables in a row: 2 MiB pages for the first 4 GiB. */
    movl $PHYS(pvh_level1), %edi
    movl $LARGE_PAGE, %eax
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $8, %edi
    addl $LARGE_BYTES, %eax
    jnc 1b

    /* They hang below the first entries of level 2, the first two below the last entries too. */
    movl $PHYS(pvh_level1) + TABLE, %eax
    movl $PHYS(pvh_level2), %edi
    movl $IDENTITY_GIB, %ecx
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $PAGE_BYTES, %eax
    loop 2b
    movl $PHYS(pvh_level1) + TABLE, PHYS(pvh_level2) + 510 * 8
    movl $PHYS(pvh_level1) + PAGE_BYTES + TABLE, PHYS(pvh_level2) + 511 * 8
    movl $PHYS(pvh_level2) + TABLE, PHYS(pvh_level3)
    movl $PHYS(pvh_level2) + TABLE, PHYS(pvh_level3) + 511 * 8

    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PHYS(pvh_level3), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $(EFER_LME | EFER_NXE), %eax
    wrmsr
    movl %cr0, %eax
    orl $(CR0_PG | CR0_WP | CR0_PE), %eax
    movl %eax, %cr0
    lgdt PHYS(pvh_gdt_low)
    ljmp $8, $PHYS(pvh_long_mode)

    /* Say so on the serial port, end QEMU. */
pvh_no_long_mode:
    movl $PHYS(pvh_no_long_mode_text), %esi
3:  movw $(COM1 + 5), %dx
4:  inb %dx, %al
    testb $0x20, %al
    jz 4b
    lodsb
    testb %al, %al
    jz 5f
    movw $COM1, %dx
    outb %al, %dx
    jmp 3b
5:  movb $EXIT_FAIL, %al
    outb %al, $EXIT_PORT
6:  hlt
    jmp 6b

    .code64
pvh_long_mode:
    movabsq $pvh_high, %rax
    jmp *%rax
pvh_high:
    lgdt pvh_gdt_high(%rip)
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq $pvh_stack_top, %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    call pvh_main
    .size pvh_entry, . - pvh_entry

    .section .boot.rodata, "a", @progbits
pvh_no_long_mode_text:
    .asciz "spandrel loader: this CPU has no long mode with no-execute pages\r\n"

    .balign 8
pvh_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
pvh_gdt_low:
    .word pvh_gdt_low - pvh_gdt - 1
    .long PHYS(pvh_gdt)
    .balign 8
pvh_gdt_high:
    .word pvh_gdt_low - pvh_gdt - 1
    .quad pvh_gdt

    .section .boot.bss, "aw", @nobits
    .balign PAGE_BYTES
pvh_level3:
    .skip PAGE_BYTES
pvh_level2:
    .skip PAGE_BYTES
pvh_level1:
    .skip IDENTITY_GIB * PAGE_BYTES
pvh_stack:
    .skip STACK_BYTES
pvh_stack_top:

    .section .note.GNU-stack, "", @progbits
