/* The machine's verdict (kernel/verdict.h). */
#include "kernel/verdict.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/print.h"

static _Atomic unsigned verdict_wrong; /* [A] relaxed */

void verdict_add_wrong(unsigned count)
{
    atomic_fetch_add_explicit(&verdict_wrong, count, memory_order_relaxed);
}

unsigned verdict_wrong_count(void)
{
    return atomic_load_explicit(&verdict_wrong, memory_order_relaxed);
}

void verdict_end(void)
{
    unsigned wrong = verdict_wrong_count();

    if (wrong == 0)
        printk("power off: nothing was found wrong\n");
    else
        printk("power off: found wrong: %u\n", wrong);
    arch_exit(wrong == 0 ? 0 : 1);
}
