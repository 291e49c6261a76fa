/*
 * Where pointers may stand (arch.h): the image's data without the block of CPU 0's stacks, which
 * ends it and has guard pages in it, and of each CPU's stacks the live part.
 *
 * A stack that was entered by an interrupt has at its top the frame of what was interrupted, and in
 * that the stack pointer to go on from; the last is the boot stack, or the current flow's.
 */
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/trap.h"

void arch_data_ranges(arch_range_fn *fn, void *arg)
{
    fn((uintptr_t)__data_start, (uintptr_t)boot_stacks, arg);
    fn((uintptr_t)boot_stacks + STACK_BLOCK_BYTES, (uintptr_t)__data_end, arg);
}

void arch_stack_pages(arch_range_fn *fn, void *arg)
{
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        uintptr_t pages = cpu_blocks[cpu].stack_pages;

        if (pages != 0)
            fn(pages, pages + STACK_BACKED_PAGES * ARCH_PAGE_BYTES, arg);
    }
}

size_t arch_stack_ranges(uintptr_t sp, struct arch_range out[ARCH_STACK_RANGES])
{
    struct stack_place place;
    uintptr_t bottom, top;
    size_t count = 0;

    while (count < ARCH_STACK_RANGES && stack_find(sp, &place) && !place.is_guard) {
        stack_bounds(place.cpu, place.kind, &bottom, &top);
        out[count++] = (struct arch_range){sp, top};
        if (place.kind == STACK_BOOT)
            return count;
        sp = ((const struct trap_frame *)top)[-1].rsp;
    }
    if (count < ARCH_STACK_RANGES && kernel_stack_bounds(sp, &bottom, &top))
        out[count++] = (struct arch_range){sp, top};
    return count;
}
