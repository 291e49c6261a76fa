/*
 * Where pointers may stand (arch.h): the program's data, which the library's is a part of, and the
 * stacks of threads that hold CPUs.  A thread that is stopped is in a signal handler on its own
 * stack, and all of its registers are in the signal's frame there.
 *
 * Not among them: threads that hold no CPU, thread-local variables, what malloc of the process has
 * handed out, shared libraries' data.
 */
#include "arch/hosted/hosted_impl.h"

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
    if (sp < hosted_this.stack_low || sp >= hosted_this.stack_high)
        return 0;
    out[0] = (struct arch_range){sp, hosted_this.stack_high};
    return 1;
}
