/*
 * Who decides what flow runs on a CPU: the scheduler, which stands in a higher layer and says so here.
 * Tests take its place for a while.
 */
#pragma once

#include "arch/arch.h"

struct flow_owner {
    void (*preempt)(void);                                                /* kernel_preempt */
    void (*changed)(bool has_entered);                                    /* kernel_flow_changed */
    bool (*stack_bounds)(uintptr_t addr, uintptr_t *low, uintptr_t *top); /* kernel_stack_bounds */
};

/*
 * flow_owner_set -- `owner` decides from here on, on all CPUs.  It stays as it is as long.
 *   owner    NULL: nobody; nothing happens at a preemption
 *   returns  who did until now
 *   context  irq; a CPU may still be calling the one before
 */
const struct flow_owner *flow_owner_set(const struct flow_owner *owner);
