/*
 * Fault injection: fail the Nth acquisition.  Allocators ask fault_should_fail() once at each
 * point where memory is acquired; when it says true they must behave as if there were none.
 * Armed for the arming CPU only, so a test is deterministic while others run.
 */
#pragma once

#include "kernel/base/base.h"

/*
 * What is on a fast path does not ask.  So that it acquires nothing while a fault is armed,
 * FAULT_HOOK(fn) at file scope has fn() called when one is, on the CPU that arms, interrupts off:
 * to give back what that CPU has cached.  The slow path caches nothing while fault_is_armed().
 */
typedef void fault_fn(void);
#define FAULT_HOOK(fn) static fault_fn *const fault_ptr_##fn USED SECTION("fault_table") = fn

bool fault_should_fail(void);      /* irq; false unless armed: one load and a branch */
bool fault_is_armed(void);         /* irq; on this CPU, and has not fired */
void fault_fail_nth(unsigned nth); /* 1: the next acquisition on this CPU, once */
bool fault_disarm(void);           /* true: it has fired since armed */
