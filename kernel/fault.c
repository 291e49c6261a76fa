/*
 * Fault injection (kernel/fault.h): a countdown per CPU, so that a test that arms it is not
 * disturbed by what other CPUs acquire.
 */
#include "kernel/fault.h"

extern fault_fn *const __start_fault_table[] __attribute__((weak));
extern fault_fn *const __stop_fault_table[] __attribute__((weak));

PERCPU(struct fault_arm, fault_arm);

bool fault_count(struct fault_arm *arm)
{
    arm->has_fired = --arm->left == 0;
    return arm->has_fired;
}

void fault_fail_nth(unsigned nth)
{
    unsigned long irq_state = arch_irq_save();

    *this_cpu(fault_arm) = (struct fault_arm){.left = nth};
    for (fault_fn *const *hook = __start_fault_table; hook < __stop_fault_table; hook++)
        (*hook)();
    arch_irq_restore(irq_state);
}

bool fault_disarm(void)
{
    unsigned long irq_state = arch_irq_save();
    struct fault_arm *arm = this_cpu(fault_arm);
    bool has_fired = arm->has_fired;

    *arm = (struct fault_arm){0};
    arch_irq_restore(irq_state);
    return has_fired;
}
