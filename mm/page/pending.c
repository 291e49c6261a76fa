/*
 * Pending frees: page_free without a lock, for pages that are not in this CPU's window.
 *
 * Idea.  A free need not be in the tree of summaries at once.  It sets its bits in the block's
 * `remote` word, atomically, and the block goes into a list of this CPU when it had none there so
 * far.  When the list is full, half of it is collected in one hold of the heap's lock: 4,096 pages
 * that are freed in any order come from some 64 blocks, so each free pays 1/64 of a visit.
 *
 *     block   remote  ..##..#.......    set by any CPU, no lock          page_free_slow
 *             free    #...........##    |= remote, under the lock        page_heap_collect
 *
 * What must hold, and does:
 *
 *   A block that is not held and has bits in `remote` is in the list of some CPU, or a CPU is about
 *   to put it there.  Who sets the first bit puts it there; who collects takes all of them, by
 *   one atomic operation.  So a list may name a block that has nothing left, or is held by now, or
 *   stands in another list too: collecting it again does nothing.  What becomes remote while a block
 *   is held is collected when it is given back.
 *
 *   No double free passes.  Of two frees of one page, in whatever order they set its bit, one
 *   finds it set.  Unless it has been collected in between: then the page is free in the heap and
 *   remote too, which whoever collects it or hands it out sees, before he does.  (If by then it has
 *   been handed out, the second free is one of somebody else's page, which nobody can tell.)
 *
 *   A window knows what it has handed out.  A page of a block that becomes a window while it is
 *   freed here was handed out before, so it is not in the window's domain and a give of it misses.
 *   Frees into a block that is held take the way with the lock, which tells the window.
 *
 * Nothing is stranded: a request that finds no run collects from the lists of all CPUs before it
 * fails, without asking them; what it may miss is a block that is about to be put into a list, its
 * bits set, by a CPU that has been interrupted there.  An idle CPU collects its own after a while.
 * A list is short enough that it can hold no more than 1/PENDING_SHARE of memory.
 *
 * Cost: 50 instructions and two atomic operations, and a share of the visit.
 *
 * Locks: PAGE_HEAP to collect.
 */
#include "mm/page/pending.h"

#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page_window.h"

#define PENDING_BLOCKS_MAX 128u
#define PENDING_SHARE      16u /* of memory, at most, in one CPU's list */

/*
 * Lock letters: [A] atomic; [P] this CPU's, interrupts off.
 * Invariant, tested by page_pending_check():
 *   P10  the pages in `remote` words are those freed so, less those collected
 */
struct page_pending {
    unsigned first, count; /* [P] the list: slots, oldest first */
    _Atomic uint32_t
        blocks[PENDING_BLOCKS_MAX]; /* [A] numbers of blocks, a ring; release / acquire */
    _Atomic uint64_t freed_pages[PORT_NODE_MAX]; /* [A] by any context; relaxed */
} __attribute__((aligned(PORT_LINE_BYTES)));

static PORT_PERCPU(struct page_pending, page_pending);

PORT_STAT(page, pending_full);

/* Blocks that a list may have. */
static unsigned pending_room(const struct page_heap *heap)
{
    size_t blocks = page_node_pages[heap - page_heaps] / PAGE_BLOCK_PAGES / PENDING_SHARE;

    return (unsigned)MIN(MAX(blocks, 1ul), (size_t)PENDING_BLOCKS_MAX);
}

/* Collect the `count` blocks that have been longest in this CPU's list.  Interrupts are off. */
static void pending_collect_oldest(struct page_pending *pending, unsigned count)
{
    struct page_heap *locked = NULL;
    unsigned long lock_state = 0;

    for (; count > 0; count--, pending->count--, pending->first++) {
        size_t index = atomic_load_explicit(&pending->blocks[pending->first % PENDING_BLOCKS_MAX],
                                            memory_order_relaxed);
        struct page_heap *heap = page_heap_of(index * PAGE_BLOCK_PAGES);

        if (heap != locked) {
            if (locked != NULL)
                page_heap_unlock(locked, lock_state);
            lock_state = page_heap_lock(heap);
            locked = heap;
        }
        page_heap_collect(heap, index);
    }
    if (locked != NULL)
        page_heap_unlock(locked, lock_state);
}

void page_pending_drain(void)
{
    unsigned long irq_state = port_irq_save();
    struct page_pending *pending = port_this_cpu(page_pending);

    pending_collect_oldest(pending, pending->count);
    port_irq_restore(irq_state);
}

/*
 * A block has bits in `remote` that nobody's list accounts for.  When the list is full, its older
 * half goes: the blocks of the younger are likely to get more.
 */
static NOINLINE void pending_push(const struct page_heap *heap, const struct page_block *block)
{
    unsigned long irq_state = port_irq_save();
    struct page_pending *pending = port_this_cpu(page_pending);

    if (pending->count >= pending_room(heap)) {
        port_stat_inc(page, pending_full);
        pending_collect_oldest(pending, (pending->count + 1) / 2);
    }

    unsigned slot = (pending->first + pending->count++) % PENDING_BLOCKS_MAX;

    atomic_store_explicit(&pending->blocks[slot], (uint32_t)(block - heap->blocks),
                          memory_order_release);
    port_irq_restore(irq_state);
}

/* Two frees of one page: take this one back.  Others may have come in between, and not pushed. */
static NOINLINE COLD void pending_undo(void *addr, size_t pages, struct page_heap *heap,
                                       uint64_t mask)
{
    struct page_block *block =
        &heap->blocks[((uintptr_t)addr - port_direct_base()) / PAGE_BYTES / PAGE_BLOCK_PAGES];

    atomic_fetch_and_explicit(&block->remote, ~mask, memory_order_relaxed);
    pending_push(heap, block);
    page_free_locked(addr, pages);
}

/* page_free of what lies in this heap, if anywhere.  Calls nothing before its end: no frame. */
static ALWAYS_INLINE void pending_free(struct page_heap *heap, void *addr, size_t pages)
{
    uintptr_t offset = (uintptr_t)addr - port_direct_base();
    size_t page = offset / PAGE_BYTES;
    unsigned bit = page % PAGE_BLOCK_PAGES;

    if (UNLIKELY(offset % PAGE_BYTES != 0 || page >= heap->page_limit ||
                 pages - 1 >= PAGE_BLOCK_PAGES - bit || page_debug_is_on())) {
        page_free_locked(addr, pages);
        return;
    }

    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t mask = bits_mask(bit, pages);
    bool is_held = page_block_is_held(block); /* first: what a window published is there then */
    uint64_t not_taken =
        page_block_free(block) | page_block_remote(block) | ~page_block_present(block);
    uint64_t joined = page_block_joined(block);
    size_t end = page + pages;

    /*
     * Handed out (where a block is not held nothing is in a window), the first page not joined, the
     * rest joined, the page behind not.
     */
    if (UNLIKELY(is_held || (not_taken & mask) != 0 || !page_bits_are_run(joined, mask) ||
                 (end % PAGE_BLOCK_PAGES == 0 && end != heap->page_limit &&
                  page_continues_run(heap, end)))) {
        page_free_locked(addr, pages);
        return;
    }

    uint64_t before = atomic_fetch_or_explicit(&block->remote, mask, memory_order_acq_rel);

    if (UNLIKELY((before & mask) != 0)) {
        pending_undo(addr, pages, heap, mask & ~before);
        return;
    }
    atomic_fetch_add_explicit(&port_this_cpu(page_pending)->freed_pages[heap - page_heaps], pages,
                              memory_order_relaxed);
    if (before == 0)
        pending_push(heap, block);
}

/* On other nodes than that of the lowest memory. */
static NOINLINE void pending_free_far(void *addr, size_t pages)
{
    pending_free(page_heap_of(((uintptr_t)addr - port_direct_base()) / PAGE_BYTES), addr, pages);
}

NOINLINE void page_free_slow(void *addr, size_t pages)
{
    const struct node_part *low = &node_parts[0];

    if (UNLIKELY(((uintptr_t)addr - port_direct_base()) / PAGE_BYTES >= low->end))
        pending_free_far(addr, pages);
    else if (LIKELY(pages == 1))
        pending_free(low->heap, addr, 1);
    else if (pages <= PAGE_BLOCK_PAGES)
        pending_free(low->heap, addr, pages);
    else
        page_free_locked(addr, pages);
}

/*
 * Other CPUs' lists may change meanwhile.  A block stays in its slot until it has been collected, so
 * who looks at all slots misses none; every number in them has been a block's at some time, or is 0.
 */
void page_pending_collect_locked(struct page_heap *heap)
{
    unsigned cpus = port_cpu_count();

    if (page_pending_count_locked(heap) == 0)
        return;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        const struct page_pending *pending = port_cpu(page_pending, cpu);

        for (unsigned i = 0; i < PENDING_BLOCKS_MAX; i++) {
            size_t index = atomic_load_explicit(&pending->blocks[i], memory_order_acquire);

            if (page_heap_of(index * PAGE_BLOCK_PAGES) == heap)
                page_heap_collect(heap, index);
        }
    }
}

size_t page_pending_count_locked(const struct page_heap *heap)
{
    unsigned cpus = port_cpu_count();
    uint64_t pages = heap->remote_pages;

    for (unsigned cpu = 0; cpu < cpus; cpu++)
        pages += atomic_load_explicit(&port_cpu(page_pending, cpu)->freed_pages[heap - page_heaps],
                                      memory_order_relaxed);
    return (int64_t)pages > 0 ? pages : 0; /* collected, by a CPU that has not counted them yet */
}

unsigned page_pending_blocks(void)
{
    return port_this_cpu(page_pending)->count;
}

size_t page_pending_bytes(void)
{
    return port_cpu_count() * sizeof(struct page_pending);
}

void page_pending_check(const struct page_heap *heap)
{
    size_t noted = page_pending_count_locked(heap), counted = 0;

    for (size_t i = 0; i < heap->page_limit / PAGE_BLOCK_PAGES; i++)
        counted += bits_count(page_block_remote(&heap->blocks[i]));
    if (counted != noted)
        port_panic("page heap: P10: %zu pending pages counted; %zu noted", counted, noted);
}
