/* Page faults that somebody can resolve: the port asks here before it calls one a trap. */
#pragma once

#include "kernel/base/base.h"

/*
 * page_fault_resolve_by -- from now on fn(addr, irq_was_on) is asked of every access to a page that
 * is not there: see kernel_page_fault in arch/arch.h.
 *   context  boot CPU, before others start; the last one stands
 */
typedef bool page_fault_fn(uintptr_t addr, bool irq_was_on);
void page_fault_resolve_by(page_fault_fn *fn);
