/*
 * Longer runs: a run that is handed out takes the free pages behind it, so that what stands in it
 * need not be copied.
 *
 * To the heap the new pages are a run of their own until the bit that says that they go on with the
 * one before is set (page_heap.h: joined).  Both happen with the heap's lock held, so nobody can
 * meet the two as two.
 *
 * Frees that are pending are collected first.  Pages in a window and kept chunks are not looked at:
 * they are not free in the heap's tables, and then the run is not extended.
 */
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/page_window.h"
#include "mm/page/pending.h"
#include "mm/page/reserve.h"

/* Whether [page, end) is free in the heap's tables. */
static bool extend_is_free(const struct page_heap *heap, size_t page, size_t end)
{
    while (page < end) {
        size_t bit = page % PAGE_BLOCK_PAGES, pages = MIN(end - page, PAGE_BLOCK_PAGES - bit);
        uint64_t want = bits_mask((unsigned)bit, pages);

        if ((page_block_free(&heap->blocks[page / PAGE_BLOCK_PAGES]) & want) != want)
            return false;
        page += pages;
    }
    return true;
}

NORETURN COLD static void extend_refused(const void *addr, size_t pages, const char *what)
{
    port_panic("page_extend(%p, %zu): %s", addr, pages, what);
}

/* Panics if [page, end) is not one run that is handed out.  The heap's lock is held. */
static void extend_check_run(struct page_heap *heap, const void *addr, size_t page, size_t pages)
{
    struct page_run run;
    bool is_held;

    (void)page_window_publish_locked(heap, page, pages);
    if (UNLIKELY(!page_heap_is_run(heap, page, pages, &is_held))) {
        const char *what = page_heap_fault(heap, page, pages, &run);

        extend_refused(addr, pages, run.page == run.end ? "not handed out" : what);
    }
}

bool page_extend(void *addr, size_t pages, size_t more)
{
    uintptr_t offset = (uintptr_t)addr - port_direct_base();
    size_t first = offset / PAGE_BYTES, page = first + pages, end = page + more, node_end;

    if (!IS_ALIGNED(offset, PAGE_BYTES))
        extend_refused(addr, pages, "not the address of a page");
    if (first >= page_heaps[0].page_limit || pages - 1 >= page_heaps[0].page_limit - first)
        extend_refused(addr, pages, "not pages of the heap");
    if (port_fault() || page_debug_is_on() || more == 0 || end < page)
        return false;

    struct page_heap *heap = &page_heaps[page_node_of(page - 1, &node_end)];

    if (end > node_end || end > heap->page_limit)
        return false;

    unsigned long irq_state = page_heap_lock(heap);

    extend_check_run(heap, addr, first, pages);
    if (!extend_is_free(heap, page, end))
        page_pending_collect_locked(heap);

    bool is_done = page_reserve_is_ordinary(heap, page, end) && extend_is_free(heap, page, end) &&
                   page_reserve_has_room(heap, more);

    if (is_done) {
        struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];

        (void)page_heap_take(heap, page, more);
        page_block_set_joined(block, page_block_joined(block) | 1ull << page % PAGE_BLOCK_PAGES);
    }
    page_heap_unlock(heap, irq_state);
    return is_done;
}
