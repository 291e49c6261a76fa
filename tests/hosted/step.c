/*
 * One instruction at a time: the SIGTRAP that the trap flag raises after each.  Signals stay blocked
 * in its handler, so an IPI that it sends arrives as it returns, at the instruction to be run.
 *
 * What an interrupt does as interrupts come on is stepped too, a thousand times slower than else: so there
 * are no ticks meanwhile, of which the next would always be due before one is through.
 */
#define _GNU_SOURCE
#include "tests/arch/step.h"
#include "kernel/time.h"
#include <signal.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100

static void (*step_before)(uintptr_t pc); /* constant during a run */
static bool step_is_over;                 /* of the CPU that steps */

static void step_on_signal(int signal, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)signal, (void)info;
    step_before((uintptr_t)registers[REG_RIP]);
    if (step_is_over)
        registers[REG_EFL] &= ~TRAP_FLAG;
}

void step_end(void)
{
    step_is_over = true;
}

/* The pushes stay clear of what the compiler keeps below the stack pointer. */
void step_run(void (*fn)(void *arg), void *arg, void (*before)(uintptr_t pc))
{
    struct sigaction action = {.sa_sigaction = step_on_signal, .sa_flags = SA_SIGINFO}, old;

    sigfillset(&action.sa_mask);
    sigaction(SIGTRAP, &action, &old);
    step_before = before;
    step_is_over = false;
    arch_tick_start(0);
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     :
                     :
                     : "memory", "cc");
    fn(arg);
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     :
                     :
                     : "memory", "cc");
    arch_tick_start(TIME_TICK_HZ);
    sigaction(SIGTRAP, &old, NULL);
}
