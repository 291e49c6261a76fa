/*
 * The port's own window of addresses: device registers, views of firmware tables, stacks, and the
 * guard pool of arch/arch.h.
 */
#pragma once

#include "arch/x86_64/paging.h"

enum window_view { WINDOW_VIEW_ROOT, WINDOW_VIEW_TABLE, WINDOW_VIEWS };

void window_init(void); /* hang the window into the page tables; boot CPU */

/*
 * window_map_device -- device registers, uncached; for good.
 *   returns  address of physical byte `physical`
 */
volatile void *window_map_device(uint64_t physical, size_t bytes);

/*
 * window_view -- a read-only look at physical memory, mapped or not otherwise.
 *   returns  address of byte `physical`, good until the next call with the same `view`; NULL when
 *            the bytes are too many or past what a CPU can address
 *   context  boot CPU only
 */
const void *window_view(enum window_view view, uint64_t physical, size_t bytes);

uintptr_t window_stack_base(unsigned cpu); /* where the stack block of `cpu` goes */
void window_map_page(uintptr_t addr, uint64_t physical, uint64_t entry_bits);
