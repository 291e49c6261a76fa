/* Interrupts' signals are put on the stack that runs: they wait. */
#define _GNU_SOURCE
#include "tests/mm/stack/on_stack.h"
#include <signal.h>
#include "arch/hosted/hosted_impl.h"

static void on_stack_mask(int how)
{
    sigset_t irq;

    sigemptyset(&irq);
    sigaddset(&irq, HOSTED_SIGNAL_IRQ);
    pthread_sigmask(how, &irq, NULL);
}

void on_stack_begin(void)
{
    on_stack_mask(SIG_BLOCK);
}

void on_stack_end(void)
{
    on_stack_mask(SIG_UNBLOCK);
}
