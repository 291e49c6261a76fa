/*
 * Code that runs on a growable stack, for tests of those: without threads.
 *
 * on_stack_run -- run fn(arg) with the stack pointer at `sp`, 16-byte aligned, on `stack`, which this
 * CPU enters meanwhile.  Interrupts stay on or off as they are; it may fault as often as it likes.
 */
#pragma once

#include "mm/stack/stack.h"

void on_stack_run(struct stack *stack, uintptr_t sp, void (*fn)(void *arg), void *arg);

/*
 * The port's half.  Between these nothing but fn itself puts anything on the stack that runs: hosted,
 * interrupts' signals wait.
 */
void on_stack_begin(void);
void on_stack_end(void);

/* Enter a stack, or leave the one that was entered (NULL). */
void on_stack_enter(struct stack *stack);
