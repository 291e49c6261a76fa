/*
 * The page heap: which pages of memory are free, and where the next run is.
 *
 * Idea.  A bitmap has one bit per page, 1: free.  Over it stands a tree of summaries (summary.h):
 * a leaf describes one chunk of 512 pages, a node sixteen of the level below.
 *
 *     level 2 (root)   [          256 chunks          ] [ ...      few entries, side by side
 *     level 1          [ 16 chunks ] [ 16 chunks ] ...
 *     level 0          [c][c][c]...                                one summary per chunk
 *     blocks           64 bytes per 64 pages: bits free, present and more
 *
 * A run of n pages is found by walking the root's entries and going down only where max says that
 * the run is inside, or finding it across neighbours by adding one's end to the next one's start
 * (page_find.c).  A change follows the one free run that it lengthens or cuts upwards, as long as
 * summaries change: page_take.c, page_put.c, and above chunks page_tree.c.
 *
 * Every level and the blocks are flat tables by address, backed only where there is memory; what
 * is not backed reads as zero, which means nothing free and nothing present.  So a hole costs
 * nothing and no code asks whether a table is there.  The root stands on the lowest level that has
 * at most 16 entries: for 64 TiB, the most there is, on level 6.  So every search is O(log memory).
 *
 * Huge pages.  First fit fills memory from below, and windows take whole blocks of the lowest chunk
 * that has what is asked for.  So a chunk is broken only when no chunk below it, broken ones among
 * them, can serve the request: broken chunks gather at the low end, whole ones stay at the high.
 *
 * Cost in tables: 512 bytes per chunk and 64 + 4 + ... for summaries, 0.028 % of memory.
 *
 * Contract: everything here is exact and deterministic, address-ordered first fit; the lock is the
 * caller's.  CPUs rarely come here: they hold windows (page_window.c).
 *
 * Locks: PAGE_HEAP.  Bits of a block are also read without it, by a free that takes no lock
 * (pending.c): the bits of a page that the reader rightly owns do not change meanwhile.
 *
 * Source: Go 1.12, "Scaling the Go page allocator"; mpagealloc.go, mpallocbits.go.
 */
#include "mm/page/chunk.h"

_Static_assert(PAGE_FANOUT << (PAGE_CHUNK_SHIFT + (PAGE_LEVELS - 1) * PAGE_FANOUT_SHIFT) >=
                   MM_PHYS_BYTES / PAGE_BYTES,
               "all of memory stands below one root");
_Static_assert(1ul << PAGE_CHUNK_SHIFT == CHUNK_PAGES, "shift and size of a chunk agree");
_Static_assert(sizeof(struct page_block) == 64, "a block is one cache line");

void page_heap_shape(struct page_heap *heap, size_t page_limit)
{
    heap->page_limit = ALIGN_UP(page_limit, PAGE_ARENA_PAGES);
    CHECK(heap->page_limit > 0 && heap->page_limit <= MM_PHYS_BYTES / PAGE_BYTES);

    size_t count = heap->page_limit >> PAGE_CHUNK_SHIFT;

    for (unsigned level = 0;; level++) {
        heap->level_counts[level] = ALIGN_UP(count, PAGE_FANOUT);
        heap->top = level;
        if (count <= PAGE_FANOUT)
            return;
        count = heap->level_counts[level] >> PAGE_FANOUT_SHIFT;
    }
}

size_t page_heap_blocks_bytes(const struct page_heap *heap)
{
    return heap->page_limit / PAGE_BLOCK_PAGES * sizeof(struct page_block);
}

size_t page_heap_summaries_bytes(const struct page_heap *heap)
{
    size_t count = 0;

    for (unsigned level = 0; level <= heap->top; level++)
        count += heap->level_counts[level];
    return count * sizeof(struct summary);
}

void page_heap_place(struct page_heap *heap, void *blocks, void *summaries)
{
    struct summary *next = summaries;

    heap->blocks = blocks;
    for (unsigned level = 0; level <= heap->top; level++) {
        heap->levels[level] = next;
        next += heap->level_counts[level];
    }
    heap->floor = PAGE_DMA_PAGES;
    for (unsigned k = 0; k < PAGE_HINTS; k++)
        heap->hints[k] = (uint32_t)(heap->page_limit / CHUNK_PAGES); /* nothing is free */
    heap->free_pages = 0;
    heap->present_pages = 0;
    heap->scavenged_pages = 0;
    heap->flight_pages = 0;
}

void page_heap_set_floor(struct page_heap *heap, size_t page)
{
    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(page % CHUNK_PAGES == 0);
    heap->floor = page;
    for (unsigned k = 0; k < PAGE_HINTS; k++)
        heap->hints[k] = (uint32_t)(page / CHUNK_PAGES);
}

/* ---- Blocks in windows, and what is freed to them ---- */

NORETURN COLD void page_freed_twice(const struct page_heap *heap, const struct page_block *block,
                                    uint64_t twice)
{
    size_t page =
        (size_t)(block - heap->blocks) * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(twice);

    port_panic("page_free(%p, ...): double free, by two CPUs at once",
               (void *)(port_direct_base() + page * PAGE_BYTES));
}

void page_heap_hold(struct page_heap *heap, size_t index, unsigned cpu)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(block);
    struct summary *chunk = page_chunk(heap, page), was = *chunk;

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(!page_block_is_held(block));
    page_check_freed_once(heap, block, free);
    atomic_store_explicit(&block->holder, cpu + 1, memory_order_relaxed);
    page_block_set_window(block, free);
    page_block_set_free(block, 0);
    page_block_unscavenge(heap, block, free);
    heap->free_pages -= bits_count(free);
    page_chunk_set(chunk, page_chunk_block(page), 0);
    page_chunk_sum(chunk);
    page_tree_change(heap, page / CHUNK_PAGES, &was);
}

/* Pages of a block, free in a window or remote so far, are free; not yet in the tree. */
static void page_heap_free_bits(struct page_heap *heap, struct page_block *block, uint64_t bits)
{
    page_block_set_joined(block, page_block_joined(block) & ~bits);
    page_block_set_free(block, page_block_free(block) | bits);
    page_heap_count_free(heap, bits_count(bits));
}

void page_heap_collect(struct page_heap *heap, size_t index)
{
    struct page_block *block = &heap->blocks[index];
    uint64_t before = page_block_free(block);

    DCHECK(port_lock_is_held(&heap->lock));
    if (page_block_is_held(block) || page_block_remote(block) == 0)
        return;

    uint64_t bits = page_heap_fetch_remote(heap, block, before);

    page_heap_free_bits(heap, block, bits);
    page_heap_join_bits(heap, index, before, bits);
}

void page_heap_release(struct page_heap *heap, size_t index)
{
    struct page_block *block = &heap->blocks[index];
    uint64_t window = page_block_window(block);

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(page_block_is_held(block) && page_block_free(block) == 0);
    CHECK((window & ~page_block_present(block)) == 0);
    page_block_set_window(block, 0);
    page_heap_free_bits(heap, block, window | page_heap_fetch_remote(heap, block, window));
    atomic_store_explicit(&block->holder, 0, memory_order_release);
    if (page_block_free(block) == 0)
        return;
    page_heap_join_bits(heap, index, 0, page_block_free(block));
}
