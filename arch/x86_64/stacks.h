/*
 * Where each CPU's stacks are, by kind, and what an address is in that respect.  The layout of a
 * block of stacks is drawn in layout.h.
 */
#pragma once

#include "arch/arch.h"

enum stack_kind {
    STACK_DOUBLE_FAULT, /* the first five: numbers of the TSS's interrupt stacks, less one */
    STACK_NMI,
    STACK_MACHINE_CHECK,
    STACK_PAGE_FAULT,
    STACK_INTERRUPT,
    STACK_BOOT, /* what a CPU runs on from its start */
    STACK_KINDS
};

struct stack_place {
    unsigned cpu;
    enum stack_kind kind;
    bool is_guard; /* in the guard page below the stack */
};

extern char boot_stacks[]; /* CPU 0's block, in the image */

const char *stack_name(enum stack_kind kind); /* "boot stack" */

/* First byte and byte past the end of CPU `cpu`'s stack; the guard is the page below *bottom. */
void stack_bounds(unsigned cpu, enum stack_kind kind, uintptr_t *bottom, uintptr_t *top);

/* In which CPU's stack, or its guard, does addr lie?  Any context. */
bool stack_find(uintptr_t addr, struct stack_place *place);

/*
 * stack_block_create -- back and map the stacks of `cpu`, not CPU 0.  Does nothing if it has them.
 *   returns  false when take_pages gave NULL (nothing changed)
 */
bool stack_block_create(unsigned cpu, void *(*take_pages)(size_t n));
