/*
 * Pending frees: runs that have been freed without the heap's lock, and wait in their block's
 * `remote` word until someone who has the lock collects them.  (The theory stands in
 * mm/page/pending.c.)
 */
#pragma once

#include "mm/page/page_heap.h"

/* Collect what this CPU has freed.  irq; takes locks of heaps. */
void page_pending_drain(void);

/* Collect what any CPU has freed of a heap that is locked. */
void page_pending_collect_locked(struct page_heap *heap);

/* Pages freed so and not collected, those of held blocks too; the heap is locked. */
size_t page_pending_count_locked(const struct page_heap *heap);

unsigned page_pending_blocks(void); /* blocks in this CPU's list; interrupts are off */
void page_pending_check(const struct page_heap *heap); /* P10; nothing else running */
size_t page_pending_bytes(void);                       /* of all CPUs' lists */
