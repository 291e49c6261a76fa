/*
 * Kept chunks: a run of 2 MiB that is freed and asked for again costs no tree.
 *
 * Huge pages come and go one by one.  To free one changes all summaries above it, to hand it out
 * again changes them back.  So each CPU keeps the last one that it has freed: its pages are remote,
 * as after a free that takes no lock (pending.c), so that they count as free and a second free of
 * them is found; and whoever needs memory collects them.
 *
 *     chunk   joined  .###############   as when it was handed out: it goes out again as one run
 *             remote  ################
 *
 * What is in a slot is only a hint.  Blocks of it may have been collected, through a list of pending
 * frees that names one of them for older reasons, and may even be free again in other runs; so what
 * the bits say decides, under the heap's lock.
 *
 * Devices' memory, below the floor, is not kept: an ordinary request could have it.
 *
 * Cost: 45 instructions to keep, beside the check that it is one run; 30 to hand out.  At most 2 MiB
 * a CPU, until it is idle.  Locks: PAGE_HEAP.
 */
#include "mm/page/kept_chunk.h"

#include "mm/page/debug.h"
#include "mm/page/nodes.h"

static PORT_PERCPU(_Atomic size_t, kept_chunk); /* [A] its first page, or 0; lock of its heap */

static size_t kept_load(_Atomic size_t *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

bool page_chunk_is_kept(void)
{
    return kept_load(port_this_cpu(kept_chunk)) != 0;
}

static void kept_set_remote(struct page_heap *heap, size_t page, uint64_t bits)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];

#pragma GCC unroll 8
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
        atomic_store_explicit(&block[i].remote, bits, memory_order_release);
}

bool page_chunk_keep_locked(struct page_heap *heap, size_t page)
{
    _Atomic size_t *slot = port_this_cpu(kept_chunk);

    if (kept_load(slot) != 0 || page < heap->floor || page_debug_is_on() ||
        heap != page_heap_near(0) || !page_heap_is_chunk(heap, page))
        return false;
    kept_set_remote(heap, page, ~0ull);
    heap->remote_pages += CHUNK_PAGES;
    atomic_store_explicit(slot, page, memory_order_relaxed);
    return true;
}

/* Whether all of it is remote, and one run. */
static bool kept_is_whole(const struct page_heap *heap, size_t page)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t all = page_block_joined(block) ^ 1;

#pragma GCC unroll 8
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        all &= page_block_remote(&block[i]);
        if (i > 0)
            all &= page_block_joined(&block[i]);
    }
    return ~all == 0;
}

/* What a slot says is there becomes free in the heap, as far as it is so. */
static void kept_collect(struct page_heap *heap, size_t page)
{
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
        page_heap_collect(heap, page / PAGE_BLOCK_PAGES + i);
}

size_t page_chunk_reuse_locked(struct page_heap *heap)
{
    _Atomic size_t *slot = port_this_cpu(kept_chunk);
    size_t page = kept_load(slot);

    if (page == 0 || page_heap_of(page) != heap)
        return PAGE_NONE;
    atomic_store_explicit(slot, 0, memory_order_relaxed);
    if (UNLIKELY(!kept_is_whole(heap, page))) {
        kept_collect(heap, page);
        return PAGE_NONE;
    }
    kept_set_remote(heap, page, 0);
    heap->remote_pages -= CHUNK_PAGES;
    return page;
}

void page_chunk_collect_locked(struct page_heap *heap)
{
    unsigned cpus = port_cpu_count();

    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        _Atomic size_t *slot = port_cpu(kept_chunk, cpu);
        size_t page = kept_load(slot);

        if (page == 0 || page_heap_of(page) != heap)
            continue;
        atomic_store_explicit(slot, 0, memory_order_relaxed);
        kept_collect(heap, page);
    }
}

void page_chunk_drain_this_cpu(void)
{
    unsigned long irq_state = port_irq_save();
    size_t page = kept_load(port_this_cpu(kept_chunk));

    if (page != 0) {
        struct page_heap *heap = page_heap_of(page);
        unsigned long lock_state = page_heap_lock(heap);

        /* Who has collected it meanwhile has left nothing for us. */
        atomic_store_explicit(port_this_cpu(kept_chunk), 0, memory_order_relaxed);
        kept_collect(heap, page);
        page_heap_unlock(heap, lock_state);
    }
    port_irq_restore(irq_state);
}
