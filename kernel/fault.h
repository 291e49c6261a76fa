/*
 * Fault injection: fail the Nth acquisition.  Allocators ask fault_should_fail() once at each
 * point where memory is acquired; when it says true they must behave as if there were none.
 * Armed for the arming CPU only, so a test is deterministic while others run.
 */
#pragma once

#include "kernel/percpu.h"

/*
 * What is on a fast path does not ask.  So that it acquires nothing while a fault is armed,
 * FAULT_HOOK(fn) at file scope has fn() called when one is, on the CPU that arms, interrupts off:
 * to give back what that CPU has cached.  The slow path caches nothing while fault_is_armed().
 */
typedef void fault_fn(void);
#define FAULT_HOOK(fn) static fault_fn *const fault_ptr_##fn USED SECTION("fault_table") = fn

struct fault_arm {
    unsigned left;  /* [P] acquisitions up to and with the one that fails; 0: not armed */
    bool has_fired; /* [P] since armed */
};

extern PERCPU(struct fault_arm, fault_arm);

COLD bool fault_count(struct fault_arm *arm);

/* irq; false unless armed: one load and a branch */
static inline bool fault_should_fail(void)
{
    struct fault_arm *arm = this_cpu(fault_arm);

    return UNLIKELY(arm->left != 0) && fault_count(arm);
}

/* irq; on this CPU, and has not fired */
static inline bool fault_is_armed(void)
{
    return UNLIKELY(this_cpu(fault_arm)->left != 0);
}

void fault_fail_nth(unsigned nth); /* 1: the next acquisition on this CPU, once */
bool fault_disarm(void);           /* true: it has fired since armed */
