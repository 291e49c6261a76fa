/*
 * Page windows: page_alloc and page_free without a lock.
 *
 * Idea.  Each CPU holds one window: a block of 64 aligned pages, as a word of bits in which 1 is a
 * page that this CPU may hand out.  In the heap's bitmap these pages are taken.  A request for
 * fewer than 16 pages finds a run in the word and clears it; a free inside the block sets the bits
 * again.  Both are a load and a store of one word of this CPU's own, with interrupts off.
 *
 *     heap's block    ##...............   1: free in the heap (freed here by another CPU)
 *     window          ....##.#####.####   1: free in the window        never both, P5
 *
 * A miss gives the window back to the heap, finds a run there and takes the whole block in which
 * the run lies.  A run that crosses blocks, or lies in a block that another CPU holds, is taken
 * from the heap by itself, so that a block is in one window at most.
 *
 * A double free is found wherever the page is free: in the window and in the heap's block (two
 * loads on the fast path), and, when the free goes to the heap, in the windows of other CPUs.
 * Their words are read without stopping them: the bits of a page that the caller rightly owns are
 * 0 there and stay 0.
 *
 * Windows strand nothing.  When the heap has no run, this CPU's window is given back, and in
 * ordinary context every CPU's, before the request fails.
 *
 * Locks: PAGE_HEAP in the slow halves.  Source: Go's page cache (mpagecache.go).
 */
#include "mm/page/page.h"

#include "kernel/base/string.h"
#include "mm/page/page_heap.h"

#define WINDOW_RUN_MAX 15ul /* pages in a request that a window serves; a quarter of it, as in Go */
#define WINDOW_BYTES   (PAGE_BLOCK_PAGES * PAGE_BYTES)
#define PAGE_SHIFT     12u

/*
 * AGREED (A): I build on B's struct page_block as it stands (window, remote, joined, holder; hold,
 * release, put -> bool, fault).  The fast path works on per-CPU words of mine only; before a put,
 * release, fault or check I write a held block's `window` and `joined` from them, under the heap's
 * lock (the holder or whoever frees): so treat `window` and `joined` of a held block as [L], and read
 * them plainly.  After a put that made pages remote I tell the holder, which merges them.
 * This file becomes two: page_window.c (fast paths, windows), page_slow.c (heap side, with a
 * struct page_heap * passed throughout, for nodes); C, E: edit after they arrive.
 */
/*
 * [P] this CPU's, interrupts off; written with the heap's lock held too where it says [L].
 * Invariant:
 *   P5  a page that is free in a window is present, not free in the heap, and in no other window
 */
struct page_window {
    _Atomic uint64_t free;    /* [P] bit: may be handed out; others read it, relaxed */
    uintptr_t base;           /* [P L] direct-map address of the block's first byte; 0: no block */
    struct page_block *block; /* [P L] the block in the heap; NULL: none */
};

static PORT_PERCPU(struct page_window, page_window);

/* [L] the heap's lock: the block that each CPU holds, or NULL; side by side for quick reading. */
static struct page_block *page_window_blocks[PORT_CPU_MAX];

PORT_STAT(page, alloc_failed);
PORT_STAT(page, window_miss);
PORT_STAT(page, drain_retry);

static inline uint64_t window_free(const struct page_window *window)
{
    return atomic_load_explicit(&window->free, memory_order_relaxed);
}

static inline void window_set_free(struct page_window *window, uint64_t bits)
{
    atomic_store_explicit(&window->free, bits, memory_order_relaxed);
}

static inline void *page_address(size_t page)
{
    return (void *)(port_direct_base() + page * PAGE_BYTES);
}

/* ---- Windows and the heap; the heap's lock is held ---- */

/* Give this CPU's window back. */
static void window_return_locked(struct page_window *window)
{
    if (window->block == NULL)
        return;

    page_heap_put_block(&page_heap, (size_t)(window->block - page_heap.blocks),
                        window_free(window));
    window_set_free(window, 0);
    window->base = 0;
    window->block = NULL;
    page_window_blocks[port_cpu_id()] = NULL;
}

static bool block_is_held(const struct page_block *block)
{
    unsigned cpus = port_cpu_count();

    for (unsigned cpu = 0; cpu < cpus; cpu++)
        if (page_window_blocks[cpu] == block)
            return true;
    return false;
}

/* Take the run, and the rest of its block as this CPU's window where that may be. */
static void window_take_locked(struct page_window *window, size_t page, size_t pages)
{
    size_t index = page / PAGE_BLOCK_PAGES;
    unsigned bit = page % PAGE_BLOCK_PAGES;
    struct page_block *block = &page_heap.blocks[index];

    if (bit + pages > PAGE_BLOCK_PAGES || block_is_held(block)) {
        page_heap_take(&page_heap, page, pages);
        return;
    }
    window_set_free(window, page_heap_take_block(&page_heap, index) & ~bits_mask(bit, pages));
    window->base = (uintptr_t)page_address(index * PAGE_BLOCK_PAGES);
    window->block = block;
    page_window_blocks[port_cpu_id()] = block;
}

/* One try to take a run from the heap; returns its first page or PAGE_NONE. */
static size_t page_take(size_t pages, size_t align, size_t limit)
{
    bool is_small = pages <= WINDOW_RUN_MAX && limit == PAGE_NONE;
    unsigned long irq_state = page_heap_lock(&page_heap);
    struct page_window *window = port_this_cpu(page_window);

    if (is_small)
        window_return_locked(window);

    size_t page = page_heap_find(&page_heap, pages, align, limit);

    if (page == PAGE_NONE && window_free(window) != 0) {
        window_return_locked(window);
        page = page_heap_find(&page_heap, pages, align, limit);
    }
    if (page != PAGE_NONE) {
        if (is_small)
            window_take_locked(window, page, pages);
        else
            page_heap_take(&page_heap, page, pages);
    }
    page_heap_unlock(&page_heap, irq_state);
    return page;
}

static size_t page_window_count(void)
{
    unsigned cpus = port_cpu_count();
    size_t pages = 0;

    for (unsigned cpu = 0; cpu < cpus; cpu++)
        pages += bits_count(window_free(port_cpu(page_window, cpu)));
    return pages;
}

/* ---- Taking ---- */

/* From this CPU's window, at a position in `aligned`; NULL when it has no such run. */
static ALWAYS_INLINE void *window_alloc(size_t pages, uint64_t aligned)
{
    unsigned long irq_state = port_irq_save();
    struct page_window *window = port_this_cpu(page_window);
    uint64_t free = window_free(window);
    uint64_t starts = bits_run_starts(free, pages) & aligned;
    void *addr = NULL;

    if (LIKELY(starts != 0)) {
        size_t bit = (size_t)__builtin_ctzll(starts);
        uint64_t run = pages == 1 ? starts & -starts : bits_mask((unsigned)bit, pages);

        window_set_free(window, free & ~run);
        addr = (void *)(window->base + bit * PAGE_BYTES);
    }
    port_irq_restore(irq_state);
    return addr;
}

static ALWAYS_INLINE void *page_finish(void *addr, size_t pages, unsigned flags)
{
    if (UNLIKELY((flags & PAGE_ZERO) != 0))
        memset(addr, 0, pages * PAGE_BYTES);
    return addr;
}

static NOINLINE void *page_alloc_slow(size_t pages, size_t align, size_t limit, unsigned flags)
{
    if (pages == 0 || pages > PAGE_RUN_MAX || !is_pow2(align))
        return NULL;

    size_t page = page_take(pages, align, limit);

    port_stat_inc(page, window_miss);
    if (page == PAGE_NONE && port_can_wait()) {
        page_scavenge_hold();
        if (page_window_count() > 0) {
            port_stat_inc(page, drain_retry);
            page_drain_all();
        }
        page = page_take(pages, align, limit);
        page_scavenge_release();
    }
    if (page == PAGE_NONE) {
        port_stat_inc(page, alloc_failed);
        return NULL;
    }
    return page_finish(page_address(page), pages, flags);
}

void *page_alloc(size_t pages, unsigned flags)
{
    if (UNLIKELY(port_fault()))
        return NULL;
    if (LIKELY(pages - 1 < WINDOW_RUN_MAX)) {
        void *addr = window_alloc(pages, ~0ull);

        if (LIKELY(addr != NULL))
            return page_finish(addr, pages, flags);
    }
    return page_alloc_slow(pages, 1, PAGE_NONE, flags);
}

void *page_alloc_aligned(size_t pages, size_t align_pages, uintptr_t limit, unsigned flags)
{
    size_t limit_page = limit == 0 || limit == UINTPTR_MAX ? PAGE_NONE : limit / PAGE_BYTES;

    if (UNLIKELY(port_fault()))
        return NULL;
    if (pages - 1 < WINDOW_RUN_MAX && align_pages <= PAGE_BLOCK_PAGES && is_pow2(align_pages) &&
        limit_page == PAGE_NONE) {
        void *addr = window_alloc(pages, bits_aligned(align_pages));

        if (LIKELY(addr != NULL))
            return page_finish(addr, pages, flags);
    }
    return page_alloc_slow(pages, align_pages, limit_page, flags);
}

/* ---- Giving back ---- */

NORETURN COLD static void page_free_failed(const void *addr, size_t pages, size_t page,
                                           const char *what)
{
    size_t block = page / PAGE_BLOCK_PAGES;

    port_print("page_free(%p, %zu): page %#lx: %s\n", addr, pages, page * PAGE_BYTES, what);
    if (page < page_heap.page_limit)
        port_print("  block %#lx: free %#lx, present %#lx; heap below %#lx\n", block * WINDOW_BYTES,
                   page_block_free(&page_heap.blocks[block]),
                   page_block_present(&page_heap.blocks[block]), page_heap.page_limit * PAGE_BYTES);
    port_panic("page_free(%p, %zu): %s", addr, pages, what);
}

/* Panic unless every page of the run is taken: from the heap, and from every window. */
static void page_check_taken_locked(const void *addr, size_t page, size_t pages)
{
    size_t bad = page_heap_first_not_taken(&page_heap, page, pages);
    unsigned cpus = port_cpu_count();

    if (bad != PAGE_NONE) {
        uint64_t present = page_block_present(&page_heap.blocks[bad / PAGE_BLOCK_PAGES]);

        page_free_failed(addr, pages, bad,
                         present >> bad % PAGE_BLOCK_PAGES & 1 ? "double free, it is in the heap"
                                                               : "not a page of the heap");
    }
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        if (page_window_blocks[cpu] == NULL)
            continue;

        size_t first = (size_t)(page_window_blocks[cpu] - page_heap.blocks) * PAGE_BLOCK_PAGES;
        size_t from = MAX(first, page);
        size_t end = MIN(first + PAGE_BLOCK_PAGES, page + pages);

        uint64_t free = window_free(port_cpu(page_window, cpu));

        if (from < end && (free & page_piece(from, end).mask) != 0) {
            port_print("the window of CPU %u at %#lx: free %#lx\n", cpu, first * PAGE_BYTES, free);
            page_free_failed(addr, pages, from, "double free, it is in a CPU's window");
        }
    }
}

static NOINLINE void page_free_slow(void *addr, size_t pages)
{
    uintptr_t offset = (uintptr_t)addr - port_direct_base();
    size_t page = offset / PAGE_BYTES;

    if (!IS_ALIGNED(offset, PAGE_BYTES))
        page_free_failed(addr, pages, page, "not the address of a page");
    if (pages == 0)
        page_free_failed(addr, pages, page, "no pages");
    if (page >= page_heap.page_limit || pages > page_heap.page_limit - page)
        page_free_failed(addr, pages, page, "not a page of the heap");

    unsigned long irq_state = page_heap_lock(&page_heap);

    page_check_taken_locked(addr, page, pages);
    page_heap_put(&page_heap, page, pages);
    page_heap_unlock(&page_heap, irq_state);
}

void page_free(void *addr, size_t pages)
{
    if (addr == NULL)
        return;

    unsigned long irq_state = port_irq_save();
    struct page_window *window = port_this_cpu(page_window);
    uintptr_t offset = (uintptr_t)addr - window->base;

    /* Rotated, an offset that is not a multiple of a page is a large number too. */
    size_t bit = offset >> PAGE_SHIFT | offset << (64 - PAGE_SHIFT);

    if (LIKELY(bit < PAGE_BLOCK_PAGES && pages - 1 < WINDOW_RUN_MAX &&
               bit + pages <= PAGE_BLOCK_PAGES)) {
        uint64_t mask = bits_mask((unsigned)bit, pages);
        uint64_t free = window_free(window);
        uint64_t not_taken =
            free | page_block_free(window->block) | ~page_block_present(window->block);

        if (LIKELY((not_taken & mask) == 0)) {
            window_set_free(window, free | mask);
            port_irq_restore(irq_state);
            return;
        }
    }
    port_irq_restore(irq_state);
    page_free_slow(addr, pages); /* finds the same fault again, and says which */
}

/* ---- Draining and counting ---- */

void page_drain_this_cpu(void *unused)
{
    unsigned long irq_state = page_heap_lock(&page_heap);

    (void)unused;
    window_return_locked(port_this_cpu(page_window));
    page_heap_unlock(&page_heap, irq_state);
}

void page_drain_all(void)
{
    port_call_all(page_drain_this_cpu, NULL);
}

size_t page_free_count(void)
{
    unsigned long irq_state = page_heap_lock(&page_heap);
    size_t pages = page_heap.free_pages + page_heap.flight_pages + page_window_count();

    page_heap_unlock(&page_heap, irq_state);
    return pages;
}

struct page_stats page_stats(void)
{
    unsigned long irq_state = page_heap_lock(&page_heap);
    size_t window_pages = page_window_count();
    struct page_stats stats = {
        .ram_pages = page_heap.present_pages,
        .free_pages = page_heap.free_pages + page_heap.flight_pages + window_pages,
        .scavenged_pages = page_heap.scavenged_pages,
        .window_pages = window_pages,
        .whole_chunks = page_heap_whole_chunks(&page_heap),
        .largest_run = page_heap_largest_run(&page_heap),
        .meta_bytes = page_table_bytes() + port_cpu_count() * sizeof(struct page_window),
        .heap_locks = page_heap.lock_count,
    };

    page_heap_unlock(&page_heap, irq_state);
    return stats;
}

void page_check(void)
{
    unsigned cpus = port_cpu_count();

    page_heap_check(&page_heap);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        const struct page_window *window = port_cpu(page_window, cpu);
        uint64_t free = window_free(window);

        if (window->block != page_window_blocks[cpu])
            port_panic("page heap: P5: CPU %u's window is not the one noted", cpu);
        if (window->block == NULL ? free != 0
                                  : (free & (page_block_free(window->block) |
                                             ~page_block_present(window->block))) != 0)
            port_panic("page heap: P5: CPU %u's window %#lx: free %#lx", cpu, window->base, free);
        for (unsigned other = 0; other < cpu; other++)
            if (window->block != NULL && window->block == page_window_blocks[other])
                port_panic("page heap: P5: CPUs %u and %u hold one block", other, cpu);
    }
}
