/*
 * Numbers that C and assembly share: selectors, vectors, model specific registers, the layout of a
 * CPU's stack block.
 *
 * A stack block is one virtual range with every stack of a CPU in it, each above an unmapped guard
 * page (g); CPU 0's stands in the image (.stacks), the others' in the port's window:
 *
 *      g DF DF g NM NM g MC MC g PF PF g IRQ x 4 g BOOT x 8
 *      0       3       6       9       12        17        26 pages
 */
#pragma once

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

#define VECTOR_DEBUG      1
#define VECTOR_NMI        2
#define VECTOR_DOUBLE     8
#define VECTOR_STACK      12
#define VECTOR_PROTECTION 13
#define VECTOR_PAGE       14
#define VECTOR_MACHINE    18
#define VECTOR_FIRST_IRQ  32 /* below: exceptions; 32 .. 47: the two PICs, masked */
#define VECTOR_SERIAL     0x30
#define VECTOR_TICK       0xe0
#define VECTOR_IPI        0xf0
#define VECTOR_APIC_ERROR 0xfe
#define VECTOR_SPURIOUS   0xff
#define VECTOR_COUNT      256
#define TRAP_STUB_BYTES   16

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_FIRST 0x800
#define MSR_EFER         0xc0000080
#define MSR_GS_BASE      0xc0000101

#define STACK_FAULT_PAGES  2
#define STACK_IRQ_PAGES    4
#define STACK_BOOT_PAGES   8
#define STACK_BACKED_PAGES (4 * STACK_FAULT_PAGES + STACK_IRQ_PAGES + STACK_BOOT_PAGES)
#define STACK_BLOCK_PAGES  (STACK_BACKED_PAGES + 6)
#define STACK_BLOCK_BYTES  (STACK_BLOCK_PAGES * 4096)
