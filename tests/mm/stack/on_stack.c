/* The switch of tests/mm/stack/on_stack.h: rbp holds the stack that it came from. */
#include "tests/mm/stack/on_stack.h"

/* Naked: what it runs on is gone between two of its instructions. */
void on_stack_call(uintptr_t sp, void (*fn)(void *arg), void *arg);
NAKED void on_stack_call(UNUSED uintptr_t sp, UNUSED void (*fn)(void *arg), UNUSED void *arg)
{
    __asm__("pushq %rbp\n\t"
            "movq %rsp, %rbp\n\t"
            "movq %rdi, %rsp\n\t"
            "movq %rdx, %rdi\n\t"
            "call *%rsi\n\t"
            "movq %rbp, %rsp\n\t"
            "popq %rbp\n\t"
            "ret");
}

void on_stack_enter(struct stack *stack)
{
    unsigned long irq = port_irq_save();

    stack_enter(stack);
    port_irq_restore(irq);
}

void on_stack_run(struct stack *stack, uintptr_t sp, void (*fn)(void *arg), void *arg)
{
    on_stack_begin();
    on_stack_enter(stack);
    on_stack_call(sp, fn, arg);
    on_stack_enter(NULL);
    on_stack_end();
}
