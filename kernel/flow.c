/* What the port asks about flows goes to who has them (kernel/flow.h). */
#include "kernel/flow.h"
#include <stdatomic.h>

static _Atomic(const struct flow_owner *) flow_owner; /* [A] release / acquire */

const struct flow_owner *flow_owner_set(const struct flow_owner *owner)
{
    return atomic_exchange_explicit(&flow_owner, owner, memory_order_acq_rel);
}

void kernel_preempt(void)
{
    const struct flow_owner *owner = atomic_load_explicit(&flow_owner, memory_order_acquire);

    if (owner != NULL)
        owner->preempt();
}

void kernel_flow_changed(bool has_entered)
{
    const struct flow_owner *owner = atomic_load_explicit(&flow_owner, memory_order_acquire);

    if (owner != NULL)
        owner->changed(has_entered);
}

bool kernel_stack_bounds(uintptr_t addr, uintptr_t *low, uintptr_t *top)
{
    const struct flow_owner *owner = atomic_load_explicit(&flow_owner, memory_order_acquire);

    return owner != NULL && owner->stack_bounds(addr, low, top);
}
