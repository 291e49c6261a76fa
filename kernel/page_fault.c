/* Whom a page fault is for (kernel/page_fault.h): nobody, until stacks that grow are set up. */
#include "kernel/page_fault.h"
#include "arch/arch.h"

static page_fault_fn *page_fault_resolve; /* [C] once set; NULL: nobody resolves any */

void page_fault_resolve_by(page_fault_fn *fn)
{
    page_fault_resolve = fn;
}

bool kernel_page_fault(uintptr_t addr, bool irq_was_on)
{
    return page_fault_resolve != NULL && page_fault_resolve(addr, irq_was_on);
}
