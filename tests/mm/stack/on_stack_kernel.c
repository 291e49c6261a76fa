/* On a machine interrupts have a stack of their own. */
#include "tests/mm/stack/on_stack.h"

void on_stack_begin(void)
{
}

void on_stack_end(void)
{
}
