/*
 * The kept chunk of a CPU: one run of 2 MiB that it has freed.  (The theory stands in
 * mm/page/kept_chunk.c.)  Functions that end in _locked: the heap is locked, interrupts are off.
 */
#pragma once

#include "mm/page/page_heap.h"

/* Keep a chunk that is being freed.  False: this CPU keeps one already, or it is not one run. */
bool page_chunk_keep_locked(struct page_heap *heap, size_t page);

/* Hand out this CPU's chunk, of that heap: its first page, or PAGE_NONE. */
size_t page_chunk_reuse_locked(struct page_heap *heap);

/* All CPUs' chunks of a heap become free in it.  this_cpu: this one's, whatever the heap; irq. */
void page_chunk_collect_locked(struct page_heap *heap);
void page_chunk_drain_this_cpu(void);

bool page_chunk_is_kept(void); /* by this CPU; interrupts are off */
