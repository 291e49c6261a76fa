/*
 * Flows of the hosted port (arch.h), and which thread runs which.
 *
 * A flow on a stack of its own is green: the idle thread of a CPU carries it, by going over to its
 * stack.  A thread's own flow, on its native stack, is the CPU's own if that is an idle thread, else
 * it is bound: that of the thread that holds the CPU.  To leave a bound flow is to hand the CPU to its
 * idle thread and to wait; to go on with one is to hand it back (enter.c: parked).
 *
 *     holder    bound flow --park--.                               .--goes on
 *                                   \                             /
 *     idle      (waits) ------------ own: carry --> green --> own: hand over --> (waits)
 *     thread                          stack   swap      swap
 *
 * So a switch between green flows swaps stacks; one from a green flow to a thread's goes by way of the
 * idle thread's own stack, where flow_carry reads from the CPU what is next.  Who waits holds no CPU,
 * and is woken with a new binding: whatever was known of the thread, or of interrupts, is another's.
 * A green flow goes from thread to thread, so hosted_this is found anew at each use.
 *
 * All of this is done with interrupts off, and not in signal handlers, which run on the alternate
 * stack.  Where a handler asks for preemption it leaves a bit (irq.c).
 *
 * A flow is known to sanitizers: to the one for addresses by its stack's bounds, to the one for threads
 * as a fiber.  Where they are not linked, these functions are NULL.
 *
 * After fork there is one thread: its own flow and green ones go on by swapping stacks, no others do.
 */
#include "arch/hosted/hosted_impl.h"

#define WEAK __attribute__((weak))

WEAK void __sanitizer_start_switch_fiber(void **fake_save, const void *low, size_t bytes);
WEAK void __sanitizer_finish_switch_fiber(void *fake, const void **low, size_t *bytes);
WEAK void __asan_unpoison_memory_region(const volatile void *addr, size_t bytes);
WEAK void *__tsan_get_current_fiber(void);
WEAK void *__tsan_create_fiber(unsigned flags);
WEAK void __tsan_destroy_fiber(void *fiber);
WEAK void __tsan_switch_to_fiber(void *fiber, unsigned flags);

/* What flow_swap_stacks leaves at `sp`, last pushed first. */
struct flow_frame {
    uintptr_t r15, r14, r13, r12, rbx, rbp;
    uintptr_t rip;
};

/* Save the first's stack pointer, go on at the second. */
void flow_swap_stacks(uintptr_t *from_sp, uintptr_t to_sp);

/* Where a new flow's first swap "returns" to: no frame above it. */
extern char flow_start[];
NORETURN void flow_begin(void *arg, void (*entry)(void *arg));

__asm__(".text\n\t"
        ".balign 16\n\t"
        ".globl flow_swap_stacks, flow_start\n\t"
        ".type flow_swap_stacks, @function\n\t"
        ".type flow_start, @function\n"
        "flow_swap_stacks:\n\t"
        "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\t"
        "movq %rsi, %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
        "ret\n\t"
        ".size flow_swap_stacks, . - flow_swap_stacks\n\t"
        ".balign 16\n"
        "flow_start:\n\t"
        "movq %r12, %rdi\n\t"
        "movq %rbx, %rsi\n\t"
        "call flow_begin\n\t"
        "ud2\n\t"
        ".size flow_start, . - flow_start\n\t");

/* ---- Beginning and end ---- */

void flow_begin(void *arg, void (*entry)(void *arg))
{
    if (__sanitizer_finish_switch_fiber != NULL)
        __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
    entry(arg);
    kernel_panic("a flow's entry has returned");
}

void arch_flow_init(struct arch_flow *flow, uintptr_t low, uintptr_t top, void (*entry)(void *arg),
                    void *arg)
{
    struct flow_frame *first = (struct flow_frame *)top - 1;

    *first = (struct flow_frame){
        .rbx = (uintptr_t)entry, .r12 = (uintptr_t)arg, .rip = (uintptr_t)flow_start};
    *flow = (struct arch_flow){.sp = (uintptr_t)first, .low = low, .top = top};
    if (__tsan_create_fiber != NULL)
        flow->fiber = __tsan_create_fiber(0);
}

void arch_flow_end(struct arch_flow *flow)
{
    if (__asan_unpoison_memory_region != NULL)
        __asan_unpoison_memory_region((void *)flow->sp, flow->top - flow->sp);
    if (__tsan_destroy_fiber != NULL)
        __tsan_destroy_fiber(flow->fiber);
}

void arch_flow_adopt(struct arch_flow *flow)
{
    *flow = (struct arch_flow){.thread = hosted_this_find()};
}

/* It waits, so its thread exists. */
uintptr_t arch_flow_top(const struct arch_flow *flow)
{
    return flow->thread->stack_high;
}

void hosted_flow_thread_init(void)
{
    struct hosted_thread *self = hosted_this_find();

    self->native.thread = self;
    self->native.low = self->stack_low;
    self->native.top = self->stack_high;
    if (__tsan_get_current_fiber != NULL)
        self->native.fiber = __tsan_get_current_fiber();
}

/* ---- Switching ---- */

/* On one thread.  What is between the sanitizers' calls is neither flow's. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) static void flow_swap(
    struct arch_flow *from, struct arch_flow *to)
{
    uintptr_t to_sp = to->sp;

    if (__sanitizer_start_switch_fiber != NULL)
        __sanitizer_start_switch_fiber(&from->fake_stack, (void *)to->low, to->top - to->low);
    if (__tsan_switch_to_fiber != NULL)
        __tsan_switch_to_fiber(to->fiber, 0);
    flow_swap_stacks(&from->sp, to_sp);
    if (__sanitizer_finish_switch_fiber != NULL)
        __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
}

/* This thread is an idle thread, on its own stack. */
bool hosted_flow_carry(struct hosted_cpu *cpu)
{
    struct hosted_thread *self = hosted_this_find();

    for (;;) {
        struct arch_flow *next = cpu->next;

        if (next == NULL)
            return false;
        if (next->thread == self)
            return true;
        if (next->thread == NULL)
            flow_swap(&self->native, next);
        else
            hosted_cpu_hand_over(cpu, next->thread);
    }
}

/* The one thread of a forked child. */
static void flow_switch_forked(struct arch_flow *from, struct arch_flow *to)
{
    struct hosted_thread *self = hosted_this_find();

    if (to->thread != NULL && to->thread != self)
        kernel_panic("after fork: a switch to a flow whose thread does not exist");
    flow_swap(from->thread != NULL ? &self->native : from, to->thread != NULL ? &self->native : to);
}

static void flow_check_switch(const struct hosted_cpu *cpu, const struct arch_flow *from)
{
    unsigned long depth = hosted_this.irq & HOSTED_IRQ_DEPTH_MASK;

    if (depth != 1)
        kernel_panic("arch_flow_switch: on CPU %u interrupts are at depth %lu, not 1", cpu->id,
                     depth);
    if (from->thread != NULL && from->thread != hosted_this_find())
        kernel_panic("arch_flow_switch: from a flow that does not run on CPU %u", cpu->id);
}

/* The registers stand in the caller's frame, since who waits keeps them where nobody finds them. */
static void flow_switch_native(struct hosted_cpu *cpu, struct arch_flow *from)
{
    uintptr_t registers[ARCH_REGISTERS];

    arch_registers_save(registers);
    from->sp = (uintptr_t)registers;
    if (!hosted_this.is_idle)
        hosted_cpu_park(cpu);
    else if (!hosted_flow_carry(cpu))
        kernel_flow_changed(false);
    __asm__ volatile("" : : "r"(registers) : "memory");
}

void arch_flow_switch(struct arch_flow *from, struct arch_flow *to)
{
    struct hosted_cpu *cpu = hosted_cpu_here();

    flow_check_switch(cpu, from);
    cpu->next = to;
    if (hosted_is_forked)
        flow_switch_forked(from, to);
    else if (from->thread != NULL)
        flow_switch_native(cpu, from);
    else
        flow_swap(from, to->thread != NULL ? &hosted_this.native : to);
}

void arch_preempt_ask(void)
{
    atomic_fetch_or_explicit(&hosted_cpu_here()->pending, HOSTED_IRQ_PREEMPT, memory_order_seq_cst);
}
