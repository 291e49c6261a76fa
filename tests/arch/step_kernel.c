/* One instruction at a time: the debug trap that RFLAGS.TF raises after each. */
#include "tests/arch/step.h"
#include "arch/x86_64/trap.h"

#define TRAP_FLAG 0x100ull

static void (*step_before)(uintptr_t pc); /* boot CPU's; constant during a run */
static bool step_is_over;                 /* of the CPU that steps */

static void step_on_trap(struct trap_frame *frame)
{
    step_before(frame->rip);
    if (step_is_over)
        frame->rflags &= ~TRAP_FLAG;
}

void step_end(void)
{
    step_is_over = true;
}

void step_run(void (*fn)(void *arg), void *arg, void (*before)(uintptr_t pc))
{
    step_before = before;
    step_is_over = false;
    trap_on_step = step_on_trap;
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
    fn(arg);
    __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" : : : "memory", "cc");
    trap_on_step = NULL;
}
