/* The switch of tests/mm/stack/on_stack.h: rbp holds the stack that it came from. */
#include "tests/mm/stack/on_stack.h"

void on_stack_call(uintptr_t sp, void (*fn)(void *arg), void *arg);

__asm__(".pushsection .text\n"
        ".globl on_stack_call\n"
        ".type on_stack_call, @function\n"
        "on_stack_call:\n\t"
        "pushq %rbp\n\t"
        "movq %rsp, %rbp\n\t"
        "movq %rdi, %rsp\n\t"
        "movq %rdx, %rdi\n\t"
        "call *%rsi\n\t"
        "movq %rbp, %rsp\n\t"
        "popq %rbp\n\t"
        "ret\n"
        ".size on_stack_call, . - on_stack_call\n"
        ".popsection");

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
