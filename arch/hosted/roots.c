/*
 * Where pointers may stand (arch.h): the program's data, which the library's is a part of, and the
 * stacks of threads that hold CPUs.  A thread that is stopped is in a signal handler on its alternate
 * stack, where in the signal's frame all of its registers are, and where its other stack was at.
 *
 * Not among them: threads that hold no CPU, thread-local variables, what malloc of the process has
 * handed out, shared libraries' data.
 */
#include "arch/hosted/hosted_impl.h"

#define RED_ZONE_BYTES 128 /* below the stack pointer, in use all the same (x86-64 psABI, 3.2.2) */

/* From the linker and the C library's start-up code. */
extern char __data_start[] __attribute__((weak));
extern char _end[] __attribute__((weak));
extern char __start_spandrel_data[] __attribute__((weak));
extern char __stop_spandrel_data[] __attribute__((weak));
extern char __start_spandrel_bss[] __attribute__((weak));
extern char __stop_spandrel_bss[] __attribute__((weak));

void arch_data_ranges(arch_range_fn *fn, void *arg)
{
    fn((uintptr_t)__data_start, (uintptr_t)_end, arg);
    fn((uintptr_t)__start_spandrel_data, (uintptr_t)__stop_spandrel_data, arg);
    fn((uintptr_t)__start_spandrel_bss, (uintptr_t)__stop_spandrel_bss, arg);
    fn((uintptr_t)__start_percpu, (uintptr_t)__stop_percpu, arg);
}

/* Threads' stacks are the process's. */
void arch_stack_pages(arch_range_fn *fn, void *arg)
{
    (void)fn, (void)arg;
}

size_t arch_stack_ranges(uintptr_t sp, struct arch_range out[ARCH_STACK_RANGES])
{
    uintptr_t low, top;
    size_t count = 0;

    if (sp >= hosted_this.trap_stack && sp < hosted_this.trap_stack_end) {
        out[count++] = (struct arch_range){sp, hosted_this.trap_stack_end};
        sp = hosted_this.interrupted_sp - RED_ZONE_BYTES;
    }
    if (hosted_stack_find(sp, &low, &top))
        out[count++] = (struct arch_range){sp, top};
    return count;
}
