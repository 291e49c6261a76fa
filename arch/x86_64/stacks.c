/*
 * The stacks of each CPU: one block a CPU, laid out as layout.h draws it.
 *
 * CPU 0's block is part of the image; the guard pages in it are unmapped by arch_paging_init.  The
 * others' blocks are mapped in the port's window from pages that the kernel gives, guards never
 * mapped.  So a known stack's pages are always mapped: a backtrace may read them anywhere.
 */
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/window.h"

static const struct {
    const char *name;
    unsigned first_page; /* in the block; the guard is the page before */
    unsigned pages;
} stack_layout[STACK_KINDS] = {
    [STACK_DOUBLE_FAULT] = {"double fault stack", 1, STACK_FAULT_PAGES},
    [STACK_NMI] = {"NMI stack", 2 + STACK_FAULT_PAGES, STACK_FAULT_PAGES},
    [STACK_MACHINE_CHECK] = {"machine check stack", 3 + 2 * STACK_FAULT_PAGES, STACK_FAULT_PAGES},
    [STACK_PAGE_FAULT] = {"page fault stack", 4 + 3 * STACK_FAULT_PAGES, STACK_FAULT_PAGES},
    [STACK_INTERRUPT] = {"interrupt stack", 5 + 4 * STACK_FAULT_PAGES, STACK_IRQ_PAGES},
    [STACK_BOOT] = {"boot stack", 6 + 4 * STACK_FAULT_PAGES + STACK_IRQ_PAGES, STACK_BOOT_PAGES},
};

const char *stack_name(enum stack_kind kind)
{
    return stack_layout[kind].name;
}

void stack_bounds(unsigned cpu, enum stack_kind kind, uintptr_t *bottom, uintptr_t *top)
{
    *bottom = cpu_blocks[cpu].stacks + stack_layout[kind].first_page * ARCH_PAGE_BYTES;
    *top = *bottom + stack_layout[kind].pages * ARCH_PAGE_BYTES;
}

bool stack_find(uintptr_t addr, struct stack_place *place)
{
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        uintptr_t block = cpu_blocks[cpu].stacks;

        if (block == 0 || addr < block || addr - block >= STACK_BLOCK_BYTES)
            continue;
        for (enum stack_kind kind = 0; kind < STACK_KINDS; kind++) {
            uintptr_t bottom, top;

            stack_bounds(cpu, kind, &bottom, &top);
            if (addr < top) {
                *place = (struct stack_place){cpu, kind, addr < bottom};
                return true;
            }
        }
    }
    return false;
}

bool stack_block_create(unsigned cpu, void *(*take_pages)(size_t n))
{
    if (cpu_blocks[cpu].stacks != 0)
        return true;

    uintptr_t pages = (uintptr_t)take_pages(STACK_BACKED_PAGES);
    if (pages == 0)
        return false;

    uint64_t physical = direct_physical(pages);

    cpu_blocks[cpu].stack_pages = pages;
    cpu_blocks[cpu].stacks = window_stack_base(cpu);
    for (enum stack_kind kind = 0; kind < STACK_KINDS; kind++) {
        uintptr_t bottom, top;

        stack_bounds(cpu, kind, &bottom, &top);
        for (uintptr_t addr = bottom; addr < top; addr += ARCH_PAGE_BYTES) {
            window_map_page(addr, physical, PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_GLOBAL);
            physical += ARCH_PAGE_BYTES;
        }
    }
    return true;
}
