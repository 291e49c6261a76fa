/*
 * GDT, TSS, IDT and the control registers.
 *
 * Each CPU has a GDT and a TSS in its block; all share one IDT.  Every gate is an interrupt gate:
 * a handler runs with interrupts off from its first instruction to its last.  So all device
 * interrupts can share one interrupt stack (IST) per CPU, and what comes in spite of that (NMI,
 * machine check, double fault, a page fault because a stack ran out) has a stack of its own.  Other
 * exceptions run on the stack that they interrupt.
 */
#include "arch/x86_64/descriptors.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/trap.h"

#define GDT_CODE        0x00af9b000000ffffull /* 64-bit, ring 0 */
#define GDT_DATA        0x00cf93000000ffffull
#define GDT_TSS_PRESENT 0x890000000000ull /* available 64-bit TSS */
#define IDT_GATE        0x8e00            /* present, ring 0, interrupt gate */

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint64_t idt[VECTOR_COUNT][2]; /* constant after descriptors_init */

/* The interrupt stack of a vector, as IDT and TSS count: from 1; 0: stay on the current one. */
static unsigned vector_stack(unsigned vector)
{
    switch (vector) {
    case VECTOR_NMI:
        return STACK_NMI + 1;
    case VECTOR_DOUBLE:
        return STACK_DOUBLE_FAULT + 1;
    case VECTOR_PAGE:
        return STACK_PAGE_FAULT + 1;
    case VECTOR_MACHINE:
        return STACK_MACHINE_CHECK + 1;
    default:
        return vector >= VECTOR_FIRST_IRQ ? STACK_INTERRUPT + 1 : 0;
    }
}

void descriptors_init(void)
{
    for (unsigned vector = 0; vector < VECTOR_COUNT; vector++) {
        uint64_t entry = (uintptr_t)trap_stubs + vector * TRAP_STUB_BYTES;

        idt[vector][0] = (entry & 0xffff) | SELECTOR_CODE << 16 |
                         (uint64_t)vector_stack(vector) << 32 | (uint64_t)IDT_GATE << 32 |
                         (entry >> 16 & 0xffff) << 48;
        idt[vector][1] = entry >> 32;
    }
}

static void gdt_fill(struct cpu_block *block)
{
    uint64_t tss = (uintptr_t)&block->tss;

    block->gdt[SELECTOR_CODE / 8] = GDT_CODE;
    block->gdt[SELECTOR_DATA / 8] = GDT_DATA;
    block->gdt[SELECTOR_TSS / 8] = GDT_TSS_PRESENT | (sizeof(block->tss) - 1) |
                                   (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
    block->gdt[SELECTOR_TSS / 8 + 1] = tss >> 32;
}

void descriptors_load(struct cpu_block *block)
{
    struct table_pointer gdt_pointer = {sizeof(block->gdt) - 1, (uintptr_t)block->gdt};
    struct table_pointer idt_pointer = {sizeof(idt) - 1, (uintptr_t)idt};

    for (enum stack_kind kind = 0; kind < STACK_BOOT; kind++) {
        uintptr_t bottom, top;

        stack_bounds(block->cpu, kind, &bottom, &top);
        block->tss.ist[kind] = top;
    }
    block->tss.io_map_base = sizeof(block->tss);
    gdt_fill(block);

    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\tmovl %2, %%ds\n\t"
                     "movl %2, %%es\n\t"
                     "movl %2, %%ss\n\t"
                     "movl %3, %%fs\n\t"
                     "movl %3, %%gs\n\t"
                     "ltr %w4\n\t"
                     "lidt %5"
                     :
                     : "m"(gdt_pointer), "i"(SELECTOR_CODE), "r"(SELECTOR_DATA), "r"(0),
                       "r"(SELECTOR_TSS), "m"(idt_pointer)
                     : "rax", "memory");
    msr_write(MSR_GS_BASE, block->percpu_offset); /* after the selector, which cleared it */
    *(struct cpu_identity *)((uintptr_t)&cpu_identity + block->percpu_offset) =
        (struct cpu_identity){.percpu_offset = block->percpu_offset, .cpu = block->cpu};
}

void cpu_protect(void)
{
    uint32_t basic = cpuid(1).edx, extended = cpuid(7).ebx;
    uint64_t cr4 = CR4_PAE | (cr4_read() & CR4_LA57);

    if (basic & 1u << 7)
        cr4 |= CR4_MCE;
    if (basic & 1u << 13)
        cr4 |= CR4_PGE;
    if (extended & 1u << 7)
        cr4 |= CR4_SMEP;
    if (extended & 1u << 20)
        cr4 |= CR4_SMAP;
    if (cpuid(7).ecx & 1u << 2)
        cr4 |= CR4_UMIP;

    msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_NXE);
    cr0_write((cr0_read() | CR0_WP | CR0_NE | CR0_MP) & ~(CR0_EM | CR0_TS | CR0_CD | CR0_NW));
    cr4_write(cr4);
}
