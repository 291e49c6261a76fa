/* Growable stacks: one page more, from the access that faults until it goes on; a stack that is kept. */
#include "mm/stack/stack.h"
#include "tests/bench/bench.h"

static void stack_grow_loop(struct bench *b)
{
    uint64_t left = b->n;

    while (left > 0) {
        struct stack stack;
        unsigned long irq;

        if (!stack_create(&stack, 0)) {
            b->skip = "no memory for a stack";
            return;
        }
        irq = port_irq_save();
        stack_enter(&stack);
        port_irq_restore(irq);
        bench_start(b);
        for (; left > 0 && stack.backed > stack.limit; left--)
            *(volatile char *)(stack.backed - 1) = 1;
        bench_stop(b);
        irq = port_irq_save();
        stack_enter(NULL);
        port_irq_restore(irq);
        stack_destroy(&stack);
    }
}
BENCH(StackGrow, .name = "StackGrow", .loop = stack_grow_loop);

static void stack_pair_loop(struct bench *b)
{
    bench_start(b);
    for (uint64_t i = b->n; i > 0; i--) {
        struct stack stack;

        if (stack_create(&stack, 0))
            stack_destroy(&stack);
    }
    bench_stop(b);
}
BENCH(StackCreate, .name = "StackCreate", .loop = stack_pair_loop);
