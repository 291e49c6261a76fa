/*
 * Preemption: off, a flow stays on its CPU until it is on again, while interrupts come as ever.
 *
 * A count per CPU, not per flow: where it is not 0 no flow is left, so it is always that of the flow
 * that runs.  One instruction changes it, as the flow may be moved up to the moment it is not 0.
 */
#pragma once

#include "kernel/percpu.h"

struct preempt {
    uint32_t depth;  /* [P] calls of preempt_disable that are open */
    uint32_t is_due; /* [P] somebody else shall run as soon as it is 0 */
};

extern PERCPU(struct preempt, preempt);

/* Nests; any context. */
static inline void preempt_disable(void)
{
    arch_percpu_increment(&preempt.depth);
}

void preempt_now(void); /* as if the tick had found that somebody else shall run; ordinary */

/* May run others before it returns, if interrupts are on.  irq */
static inline void preempt_enable(void)
{
    arch_percpu_decrement(&preempt.depth);
    if (UNLIKELY(!arch_percpu_is_zero(&preempt.is_due)) && arch_irq_enabled())
        preempt_now();
}
