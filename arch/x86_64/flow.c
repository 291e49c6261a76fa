/*
 * Flows: how one begins, and preemption.
 *
 * Preemption.  Interrupts run on the CPU's interrupt stack, and so does who asks for preemption: it
 * sets a word of the CPU.  When the handler is through, the frame of registers that the entry code
 * made is copied to the stack of the flow that was interrupted, and that flow goes on by calling
 * kernel_preempt() and then restoring the copy:
 *
 *     interrupt stack          the flow's stack
 *      | registers |  - - ->    | what the flow was at |  <- rsp when it was interrupted
 *      | handler   |            | registers            |
 *                               | kernel_preempt ...   |  may switch to another flow
 *
 * So the interrupt stack is free again before anybody is switched to, and a flow can go on from there
 * on any CPU: nothing of the first is held over the call.  The copy may be the first to touch a page
 * of the flow's stack, since page faults have a stack of their own.
 *
 * Exceptions, NMI among them, never do that: nobody leaves their stacks but by returning.
 */
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/trap.h"

/* What stands at the `sp` of a flow that has not begun: the first two words as of any other. */
struct flow_frame {
    uintptr_t rip, rbp;
    uintptr_t entry, arg;
};

extern char flow_start[]; /* flow.S */

/* The word by which this CPU's flow is to be preempted. */
#define PREEMPT_HERE ((__seg_gs uint32_t *)(uintptr_t)&cpu_identity.preempt_asked)

void arch_flow_init(struct arch_flow *flow, uintptr_t low, uintptr_t top, void (*entry)(void *arg),
                    void *arg)
{
    struct flow_frame *first = (struct flow_frame *)top - 1;

    (void)low;
    *first = (struct flow_frame){
        .rip = (uintptr_t)flow_start, .entry = (uintptr_t)entry, .arg = (uintptr_t)arg};
    flow->sp = (uintptr_t)first;
}

void arch_flow_end(struct arch_flow *flow)
{
    (void)flow;
}

/* It has a stack and runs on it: that is all. */
void arch_flow_adopt(struct arch_flow *flow)
{
    (void)flow;
}

/* A CPU's own flows stand on the boot stacks. */
uintptr_t arch_flow_top(const struct arch_flow *flow)
{
    struct stack_place place;
    uintptr_t bottom, top;

    if (!stack_find(flow->sp, &place))
        return 0;
    stack_bounds(place.cpu, place.kind, &bottom, &top);
    return top;
}

/* Outside of an interrupt there is none at whose end to do it, so one is sent. */
void arch_preempt_ask(void)
{
    uintptr_t top = cpu_block_this()->tss.ist[STACK_INTERRUPT];

    *PREEMPT_HERE = 1;
    if (top - (uintptr_t)__builtin_frame_address(0) > STACK_IRQ_PAGES * ARCH_PAGE_BYTES)
        arch_ipi_send(arch_cpu_id());
}

struct trap_frame *flow_preempt(const struct trap_frame *frame)
{
    struct trap_frame *copy = (struct trap_frame *)ALIGN_DOWN(frame->rsp, 16u) - 1;

    *PREEMPT_HERE = 0;
    *copy = *frame;
    return copy;
}
