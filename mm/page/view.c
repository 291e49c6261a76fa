/*
 * What the page heap knows of pages (mm/page/view.h).
 *
 * What has gone out of a CPU's window on the fast path, only the window knows: so it is asked to
 * publish before its block is looked at.
 *
 * Locks: PAGE_HEAP, for one page and its run, or for one chunk.
 */
#include "mm/page/view.h"

#include "kernel/base/string.h"
#include "mm/page/nodes.h"
#include "mm/page/page_window.h"
#include "mm/page/zero.h"

/* In the heap, in a window, or on its way to one. */
static uint64_t view_free(const struct page_block *block)
{
    return page_block_free(block) | page_block_window(block) | page_block_remote(block);
}

/* ---- One page; the lock is held ---- */

/* The pages of a block that begin something: all but those that go on with a run. */
static uint64_t view_begins(struct page_heap *heap, size_t index)
{
    const struct page_block *block = &heap->blocks[index];

    page_window_publish_locked(heap, index * PAGE_BLOCK_PAGES, 1);
    return ~(page_block_taken(block) & page_block_joined(block));
}

static void view_run(struct page_heap *heap, size_t page, struct page_view *view)
{
    unsigned bit = page % PAGE_BLOCK_PAGES;
    size_t first = page / PAGE_BLOCK_PAGES, last = first;
    size_t limit = heap->page_limit / PAGE_BLOCK_PAGES;
    uint64_t begins = view_begins(heap, first);
    uint64_t at = begins & bits_mask(0, bit + 1); /* at or below the page */
    uint64_t after = begins >> bit >> 1 << bit << 1;

    while (at == 0)
        at = view_begins(heap, --first); /* page 0 goes on with nothing */
    while (after == 0 && ++last < limit)
        after = view_begins(heap, last);

    size_t end = last * PAGE_BLOCK_PAGES + (after != 0 ? (unsigned)__builtin_ctzll(after) : 0);

    view->first = first * PAGE_BLOCK_PAGES + BITS_PER_WORD - 1 - (unsigned)__builtin_clzll(at);
    view->pages = end - view->first;
}

static struct page_view view_locked(struct page_heap *heap, size_t page)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t bit = 1ull << page % PAGE_BLOCK_PAGES;
    struct page_view view = {.state = PAGE_ABSENT};

    if ((page_block_present(block) & bit) == 0)
        return view;
    page_window_publish_locked(heap, page, 1);
    if ((page_block_window(block) & bit) != 0) {
        view.state = PAGE_IN_WINDOW;
        view.cpu = (unsigned)atomic_load_explicit(&block->holder, memory_order_relaxed) - 1;
    } else if ((view_free(block) & bit) != 0) {
        view.state = PAGE_FREE;
        view.is_zero = (page_block_zero(block) & bit) != 0;
        view.is_scavenged = (page_block_scavenged(block) & bit) != 0;
    } else {
        view.state = PAGE_TAKEN;
        view_run(heap, page, &view);
    }
    return view;
}

struct page_view page_view(size_t page)
{
    if (page >= page_heaps[0].page_limit)
        return (struct page_view){.state = PAGE_ABSENT};

    struct page_heap *heap = page_heap_of(page);
    unsigned long irq_state = page_heap_lock(heap);
    struct page_view view = view_locked(heap, page);

    page_heap_unlock(heap, irq_state);
    return view;
}

/* ---- Chunks ---- */

static bool view_is_absent(const struct page_block *blocks)
{
    uint64_t present = 0;

    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++)
        present |= page_block_present(&blocks[i]);
    return present == 0;
}

static void view_count_chunk(size_t chunk, struct page_counts *counts)
{
    size_t page = chunk * CHUNK_PAGES;
    struct page_heap *heap = page_heap_of(page);
    const struct page_block *blocks = &heap->blocks[page / PAGE_BLOCK_PAGES];

    if (view_is_absent(blocks))
        return;

    unsigned long irq_state = page_heap_lock(heap);

    page_window_publish_locked(heap, page, CHUNK_PAGES);
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        uint64_t free = view_free(&blocks[i]);

        counts->present += bits_count(page_block_present(&blocks[i]));
        counts->free += bits_count(free);
        counts->zero += bits_count(free & page_block_zero(&blocks[i]));
        counts->scavenged += bits_count(free & page_block_scavenged(&blocks[i]));
    }
    page_heap_unlock(heap, irq_state);
}

struct page_counts page_count_chunks(size_t chunk, size_t chunks)
{
    struct page_counts counts = {0};
    size_t end = MIN(chunk + chunks, page_chunk_limit());

    for (; chunk < end; chunk++)
        view_count_chunk(chunk, &counts);
    return counts;
}

bool page_chunk_taken(size_t chunk, uint64_t bits[PAGE_CHUNK_BLOCKS])
{
    size_t page = chunk * CHUNK_PAGES;
    struct page_heap *heap = page_heap_of(page);
    const struct page_block *blocks = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t any = 0;

    memset(bits, 0, PAGE_CHUNK_BLOCKS * sizeof(*bits));
    if (view_is_absent(blocks))
        return false;

    unsigned long irq_state = page_heap_lock(heap);

    page_window_publish_locked(heap, chunk * CHUNK_PAGES, CHUNK_PAGES);
    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++) {
        bits[i] = page_block_taken(&blocks[i]);
        any |= bits[i];
    }
    page_heap_unlock(heap, irq_state);
    return any != 0;
}

size_t page_chunk_limit(void)
{
    return page_heaps[0].page_limit / CHUNK_PAGES;
}
