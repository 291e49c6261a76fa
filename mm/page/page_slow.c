/*
 * The slow ways of pages: from and to the heap, by its lock; reports and counts.
 *
 * A request that its CPU's window does not serve: any run in the window, at an alignment; else a
 * run in the heap, for a small one with the rest of its block as the new window; else the same once
 * more when all CPUs have given their windows back, and once more when shrinkers (shrink.h) have
 * given what they can; only ordinary context may wait for these.
 *
 * Locks: PAGE_HEAP.
 */
#include "mm/page/debug.h"
#include "mm/page/kept_chunk.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/page_window.h"
#include "mm/page/pending.h"
#include "mm/page/reserve.h"
#include "mm/page/shrink.h"
#include "mm/page/zero.h"

PORT_STAT(page, alloc_failed);
PORT_STAT(page, drain_retry);
PORT_STAT(page, zero_known);
PORT_STAT(page, zero_cleared);

/* ---- Taking ---- */

struct page_request {
    size_t pages, align, limit;
    unsigned flags;
    bool is_zero; /* out: what was taken is known to be zero */
};

/*
 * For a small request, a run that a window can take, if there is one: at an alignment at which it
 * lies in one block.  A run across blocks would come from the heap and go back to it each time.
 */
static size_t page_find_in_block(struct page_heap *heap, const struct page_request *want,
                                 size_t page)
{
    size_t align = want->align;

    if (LIKELY(page % PAGE_BLOCK_PAGES + want->pages <= PAGE_BLOCK_PAGES))
        return page;
    while (align < want->pages)
        align *= 2;

    size_t within = page_reserve_find(heap, want->pages, align, PAGE_NONE, want->flags);

    return within != PAGE_NONE ? within : page;
}

/* Where memory is not short, without a look at what is reserved. */
static size_t page_find(struct page_heap *heap, const struct page_request *want)
{
    if (LIKELY(page_reserve_is_far(heap, want->pages))) {
        size_t page =
            page_heap_find_above(heap, want->pages, want->align, heap->floor, want->limit);

        if (LIKELY(page != PAGE_NONE))
            return page;
    }
    return page_reserve_find(heap, want->pages, want->align, want->limit, want->flags);
}

/* Whether this CPU's window is one of another heap. */
static bool page_window_is_elsewhere(const struct page_heap *heap)
{
    const struct page_heap *of = page_window_heap();

    return of != heap && of != NULL;
}

/* Take the free run at `page`, its block as the window with it where that is worth it. */
static size_t page_take_found(struct page_heap *heap, struct page_request *want, size_t page)
{
    bool is_small = want->pages <= PAGE_WINDOW_RUN_MAX && want->limit == PAGE_NONE;

    if (is_small && !page_window_is_elsewhere(heap) &&
        page_window_is_worth_locked(heap, page, want->pages)) {
        page = page_find_in_block(heap, want, page);
        if (page_window_may_take_locked(heap, page, want->pages)) {
            want->is_zero = page_window_take_locked(heap, page, want->pages);
            return page;
        }
    }
    want->is_zero = page_heap_take(heap, page, want->pages) == want->pages;
    return page;
}

/* This CPU's kept chunk, if that is what is wanted, and ordinary requests may have more. */
static size_t page_take_kept(struct page_heap *heap, const struct page_request *want)
{
    if (LIKELY(want->pages != CHUNK_PAGES) || want->align > CHUNK_PAGES || want->limit != PAGE_NONE)
        return PAGE_NONE;
    if ((want->flags & PAGE_RESERVE) == 0 && !page_reserve_has_room(heap, 0))
        return PAGE_NONE;
    return page_chunk_reuse_locked(heap);
}

/* Take a run from one heap: its first page, or PAGE_NONE.  Interrupts are off. */
static size_t page_take_from(struct page_heap *heap, struct page_request *want)
{
    if (UNLIKELY(page_window_is_elsewhere(heap)) && page_window_free() == 0)
        page_window_return();

    unsigned long irq_state = page_heap_lock(heap);
    size_t page = page_take_kept(heap, want);

    if (page != PAGE_NONE) {
        page_heap_unlock(heap, irq_state);
        return page;
    }
    page = page_find(heap, want);
    if (UNLIKELY(page == PAGE_NONE)) {
        if (page_window_heap() == heap)
            page_window_return_locked();
        page_chunk_collect_locked(heap);
        page_pending_collect_locked(heap);
        page = page_find(heap, want);
    }
    if (LIKELY(page != PAGE_NONE))
        page = page_take_found(heap, want, page);
    page_heap_unlock(heap, irq_state);
    return page;
}

/* One try, from the nearest node that has such a run; its first page, or PAGE_NONE. */
static size_t page_take(struct page_request *want)
{
    unsigned long irq_state = port_irq_save();
    size_t page = PAGE_NONE;

    for (unsigned nth = 0; nth < page_node_count && page == PAGE_NONE; nth++)
        page = page_take_from(page_heap_near(nth), want);
    port_irq_restore(irq_state);
    return page;
}

/*
 * From this CPU's window: for PAGE_ZERO, a run that is zero; else such a one from the heap, rather
 * than one that has to be cleared.
 */
static void *page_take_window(struct page_request *want)
{
    if (want->pages > PAGE_WINDOW_RUN_MAX || want->limit != PAGE_NONE)
        return NULL;
    if ((want->flags & PAGE_ZERO) != 0) {
        void *addr = page_window_search_zero(want->pages, want->align);

        if (addr == NULL && !port_fault_is_armed() && !page_debug_is_on())
            addr = page_zero_alloc(want->pages, want->align, want->flags);
        want->is_zero = addr != NULL;
        if (addr != NULL)
            return addr;
    }
    return page_window_search(want->pages, want->align);
}

/* No run in the heaps: ask for what others hold.  Ordinary context. */
static size_t page_take_back(struct page_request *want)
{
    port_stat_inc(page, drain_retry);
    page_scavenge_hold();
    page_drain_all();

    size_t page = page_take(want);

    if (page == PAGE_NONE && page_shrink(want->pages))
        page = page_take(want);
    page_scavenge_release();
    return page;
}

static void *page_take_anywhere(struct page_request *want)
{
    void *addr = page_take_window(want);

    if (addr != NULL)
        return addr;
    if (UNLIKELY(port_fault_is_armed()) && port_fault())
        return NULL;

    size_t page = page_take(want);

    if (page == PAGE_NONE && port_can_wait() && want->pages <= want->limit &&
        want->pages <= page_nodes_memory())
        page = page_take_back(want);
    if (page == PAGE_NONE)
        return NULL;
    if (page_debug_is_on())
        page_debug_alloc(page, want->pages);
    return page_address(page);
}

NOINLINE void *page_alloc_slow(size_t pages, size_t align, size_t limit, unsigned flags)
{
    struct page_request want = {.pages = pages, .align = align, .limit = limit, .flags = flags};

    if (pages == 0 || pages > PAGE_RUN_MAX || !is_pow2(align))
        return NULL;

    void *addr = page_take_anywhere(&want);

    if (addr == NULL) {
        port_stat_inc(page, alloc_failed);
    } else if ((flags & PAGE_ZERO) != 0 && want.is_zero) {
        port_stat_add(page, zero_known, pages);
    } else if ((flags & PAGE_ZERO) != 0) {
        port_stat_add(page, zero_cleared, pages);
        port_zero_pages(addr, pages);
    }
    return addr;
}

void *page_alloc_aligned(size_t pages, size_t align_pages, uintptr_t limit, unsigned flags)
{
    size_t limit_page = limit == 0 || limit == UINTPTR_MAX ? PAGE_NONE : limit / PAGE_BYTES;

    return page_alloc_slow(pages, align_pages, limit_page, flags);
}

/* ---- Giving back ---- */

NORETURN COLD static void page_free_failed(const void *addr, size_t pages, const char *what)
{
    size_t page = ((uintptr_t)addr - port_direct_base()) / PAGE_BYTES;

    if (page < page_heaps[0].page_limit) {
        const struct page_block *block = &page_heap_of(page)->blocks[page / PAGE_BLOCK_PAGES];

        port_print("  pages %#lx..: free %#lx, window %#lx, remote %#lx, present %#lx, joined "
                   "%#lx, held %lu\n",
                   ALIGN_DOWN(page, PAGE_BLOCK_PAGES), page_block_free(block),
                   page_block_window(block), page_block_remote(block), page_block_present(block),
                   page_block_joined(block), (unsigned long)block->holder);
        page_owner_print(page);
    }
    port_panic("page_free(%p, %zu): %s", addr, pages, what);
}

/* Not one run, whole: say why and what is there. */
NORETURN COLD static void page_free_refused(const struct page_heap *heap, const void *addr,
                                            size_t page, size_t pages)
{
    struct page_run run;
    const char *what = page_heap_fault(heap, page, pages, &run);

    if (run.page != run.end)
        port_print("page_free(%p, %zu): the run there is %p, %zu pages\n", addr, pages,
                   page_address(run.page), run.end - run.page);
    page_free_failed(addr, pages, what);
}

/* A free that is right is noted and its pages poisoned, before they can be anybody else's. */
static NOINLINE void page_free_debug(const struct page_heap *heap, const void *addr, size_t page,
                                     size_t pages)
{
    struct page_run run;

    if (page_heap_fault(heap, page, pages, &run) != NULL)
        page_free_refused(heap, addr, page, pages);
    page_debug_free(page, pages);
}

/* By the heap's lock: runs that pending.c does not take, and those that are wrong. */
NOINLINE void page_free_locked(const void *addr, size_t pages)
{
    uintptr_t offset = (uintptr_t)addr - port_direct_base();
    size_t page = offset / PAGE_BYTES;
    struct page_heap *heap = page_heap_of(page);

    if (addr == NULL)
        return;
    if (!IS_ALIGNED(offset, PAGE_BYTES))
        page_free_failed(addr, pages, "not the address of a page");
    if (pages == 0)
        page_free_failed(addr, pages, "no pages");
    if (page >= heap->page_limit || pages > heap->page_limit - page)
        page_free_failed(addr, pages, "not a page of the heap");

    if (page_debug_is_on())
        page_free_debug(heap, addr, page, pages);

    unsigned long irq_state = page_heap_lock(heap);

    if (pages == CHUNK_PAGES &&
        LIKELY(page_chunk_keep_locked(heap, page) || page_heap_put_whole(heap, page))) {
        page_heap_unlock(heap, irq_state);
        return;
    }

    bool is_held = page_window_publish_locked(heap, page, pages);

    if (UNLIKELY(!page_heap_put(heap, page, pages)))
        page_free_refused(heap, addr, page, pages);
    if (is_held)
        page_window_notify_locked(heap, page, pages);
    page_heap_unlock(heap, irq_state);
}

/* ---- Counting and checking ---- */

size_t page_free_count(void)
{
    size_t pages = 0;

    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_heap *heap = &page_heaps[node];
        unsigned long irq_state = page_heap_lock(heap);

        pages += heap->free_pages + heap->flight_pages + page_window_count_locked(heap) +
                 page_pending_count_locked(heap);
        page_heap_unlock(heap, irq_state);
    }
    return pages;
}

struct page_stats page_node_stats(unsigned node)
{
    struct page_heap *heap = &page_heaps[node];
    unsigned long irq_state = page_heap_lock(heap);
    size_t window_pages = page_window_count_locked(heap);
    size_t pending_pages = page_pending_count_locked(heap);
    struct page_stats stats = {
        .ram_pages = heap->present_pages,
        .free_pages = heap->free_pages + heap->flight_pages + window_pages + pending_pages,
        .window_pages = window_pages,
        .pending_pages = pending_pages,
        .whole_chunks = page_heap_whole_chunks(heap),
        .scavenged_pages = heap->scavenged_pages,
        .largest_run = page_heap_largest_run(heap),
        .heap_locks = heap->lock_count,
        .reserved_pages = page_reserve_held_back(heap),
        .zero_pages = page_heap_zero_pages(heap),
    };

    page_heap_unlock(heap, irq_state);
    return stats;
}

struct page_stats page_stats(void)
{
    struct page_stats sum = {.meta_bytes =
                                 page_table_bytes() + page_window_bytes() + page_pending_bytes()};

    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_stats stats = page_node_stats(node);

        sum.ram_pages += stats.ram_pages;
        sum.free_pages += stats.free_pages;
        sum.window_pages += stats.window_pages;
        sum.pending_pages += stats.pending_pages;
        sum.whole_chunks += stats.whole_chunks;
        sum.scavenged_pages += stats.scavenged_pages;
        sum.largest_run = MAX(sum.largest_run, stats.largest_run);
        sum.heap_locks += stats.heap_locks;
        sum.reserved_pages += stats.reserved_pages;
        sum.zero_pages += stats.zero_pages;
    }
    return sum;
}

void page_check(void)
{
    page_window_check(); /* first: it tells the heaps what the windows hold */
    for (unsigned node = 0; node < port_node_count(); node++) {
        page_heap_check(&page_heaps[node]);
        page_pending_check(&page_heaps[node]);
        page_zero_check(&page_heaps[node]);
    }
}
