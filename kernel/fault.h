/*
 * Fault injection: fail the Nth acquisition.  Allocators ask fault_should_fail() once at each
 * point where memory is acquired; when it says true they must behave as if there were none.
 * Armed for the arming CPU only, so a test is deterministic while others run.
 */
#pragma once

#include "kernel/base/base.h"

bool fault_should_fail(void);      /* irq; false unless armed: one load and a branch */
void fault_fail_nth(unsigned nth); /* 1: the next acquisition on this CPU, once */
bool fault_disarm(void);           /* true: it has fired since armed */
