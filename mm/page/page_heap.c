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
 * summaries change (page_tree.c).
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
 * Cost in tables: 512 bytes per chunk and 32 + 2 + ... for summaries, 0.026 % of memory.
 *
 * Contract: everything here is exact and deterministic, address-ordered first fit; the lock is the
 * caller's.  CPUs rarely come here: they hold windows (page_window.c).
 *
 * Locks: PAGE_HEAP.  Bits of a block are also read without it, by a free that takes no lock
 * (pending.c): the bits of a page that the reader rightly owns do not change meanwhile.
 *
 * Source: Go 1.12, "Scaling the Go page allocator"; mpagealloc.go, mpallocbits.go.
 */
#include "mm/page/page_heap.h"

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
    heap->low = heap->page_limit;
    heap->free_pages = 0;
    heap->present_pages = 0;
    heap->scavenged_pages = 0;
    heap->flight_pages = 0;
}

/* ---- Giving and taking; the lock is held ---- */

static inline bool page_is_in_one_chunk(size_t page, size_t pages)
{
    return page % CHUNK_PAGES + pages <= CHUNK_PAGES;
}

/* Pages that are taken become free, or remote; they are joined no longer. */
static void page_heap_set_free(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages, remote = 0;

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];

        if (UNLIKELY(page_block_is_held(block))) {
            atomic_fetch_or_explicit(&block->remote, walk.mask, memory_order_acq_rel);
            remote += bits_count(walk.mask);
        } else {
            page_block_set_joined(block, page_block_joined(block) & ~walk.mask);
            page_block_set_free(block, page_block_free(block) | walk.mask);
        }
    }
    heap->free_pages += pages - remote;
    heap->remote_pages += remote;
    page_heap_note_free(heap, page);
    if (remote == 0 && page_is_in_one_chunk(page, pages))
        page_tree_grow(heap, page_tree_run(heap, page, end));
    else if (remote != pages)
        page_tree_recompute(heap, page, pages);
}

/* A whole chunk becomes free; its blocks are not held. */
static void page_heap_set_chunk_free(struct page_heap *heap, size_t page)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];

    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++, block++) {
        page_block_set_free(block, ~0ull);
        page_block_set_joined(block, 0);
    }
    heap->free_pages += CHUNK_PAGES;
    page_heap_note_free(heap, page);
    page_tree_grow(heap, (struct page_run){page, page + CHUNK_PAGES});
}

void page_heap_add(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(pages > 0 && page < end && end <= heap->page_limit);
    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];
        uint64_t present = page_block_present(block);

        CHECK((present & walk.mask) == 0);
        atomic_store_explicit(&block->present, present | walk.mask, memory_order_relaxed);
    }
    heap->present_pages += pages;
    page_heap_set_free(heap, page, pages);
}

/* A page that is free has been freed once more, by a CPU that did not see that it was (pending.c). */
NORETURN COLD static void page_freed_twice(const struct page_heap *heap,
                                           const struct page_block *block, uint64_t twice)
{
    size_t page =
        (size_t)(block - heap->blocks) * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(twice);

    port_panic("page_free(%p, ...): double free, by two CPUs at once",
               (void *)(port_direct_base() + page * PAGE_BYTES));
}

static inline void page_check_freed_once(const struct page_heap *heap,
                                         const struct page_block *block, uint64_t free)
{
    if (UNLIKELY((free & page_block_remote(block)) != 0))
        page_freed_twice(heap, block, free & page_block_remote(block));
}

/* A whole chunk is handed out as one run. */
static void page_heap_take_chunk(struct page_heap *heap, size_t page)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    size_t end = page + CHUNK_PAGES;
    uint64_t joined = ~1ull;

    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++, block++) {
        CHECK(~page_block_free(block) == 0);
        page_check_freed_once(heap, block, ~0ull);
        page_block_set_free(block, 0);
        page_block_unscavenge(heap, block, ~0ull);
        page_block_set_joined(block, joined);
        joined = ~0ull;
    }
    heap->free_pages -= CHUNK_PAGES;
    if (heap->low == page)
        heap->low = end;
    page_tree_shrink(heap, (struct page_run){page, end}, page, end);
}

/* Clear the bits of a free run, which is handed out as one. */
static void page_heap_clear_free(struct page_heap *heap, size_t page, size_t end)
{
    uint64_t first = 1ull << page % PAGE_BLOCK_PAGES; /* in the first block: not joined */

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];
        uint64_t free = page_block_free(block);

        CHECK((~free & walk.mask) == 0);
        page_check_freed_once(heap, block, walk.mask);
        page_block_set_free(block, free & ~walk.mask);
        page_block_unscavenge(heap, block, walk.mask);
        page_block_set_joined(block, page_block_joined(block) | (walk.mask & ~first));
        first = 0;
    }
    heap->free_pages -= end - page;
    if (heap->low == page)
        heap->low = end;
}

void page_heap_take(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    if (page_is_in_one_chunk(page, pages)) {
        if (pages == CHUNK_PAGES) {
            page_heap_take_chunk(heap, page);
            return;
        }

        struct page_run run = page_tree_run(heap, page, end);

        page_heap_clear_free(heap, page, end);
        page_tree_shrink(heap, run, page, end);
    } else {
        page_heap_clear_free(heap, page, end);
        page_tree_recompute(heap, page, pages);
    }
}

/* Whether [page, page + pages) is one run, whole. */
static inline bool page_is_run(const struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;
    uint64_t first = 1ull << page % PAGE_BLOCK_PAGES;

    for (struct page_walk walk = page_walk(page, end); page_walk_on(&walk); page_walk_next(&walk)) {
        const struct page_block *block = &heap->blocks[walk.index];
        uint64_t right = page_block_taken(block) & (page_block_joined(block) ^ first);

        if ((~right & walk.mask) != 0)
            return false;
        first = 0;
    }
    return end == heap->page_limit || !page_continues_run(heap, end);
}

/* Whether a chunk is one run, and none of it is held. */
static bool page_chunk_is_run(const struct page_heap *heap, size_t page)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t joined = ~1ull;

    for (size_t i = 0; i < PAGE_CHUNK_BLOCKS; i++, block++) {
        if (page_block_is_held(block) || (page_block_free(block) | page_block_remote(block)) != 0 ||
            ~page_block_present(block) != 0 || page_block_joined(block) != joined)
            return false;
        joined = ~0ull;
    }
    page += CHUNK_PAGES;
    return page == heap->page_limit || !page_continues_run(heap, page);
}

static NOINLINE bool page_heap_put_slow(struct page_heap *heap, size_t page, size_t pages)
{
    if (pages == CHUNK_PAGES && page % CHUNK_PAGES == 0 && page_chunk_is_run(heap, page)) {
        page_heap_set_chunk_free(heap, page);
        return true;
    }
    if (UNLIKELY(!page_is_run(heap, page, pages)))
        return false;
    page_heap_set_free(heap, page, pages);
    return true;
}

/* The free run around has reached the block's edge, or is news to the chunk. */
static NOINLINE void page_heap_grow_slow(struct page_heap *heap, size_t page, size_t end)
{
    page_tree_grow(heap, page_tree_run(heap, page, end));
}

/*
 * Most runs lie in one block, with a page after them, and the free run that comes to be inside is
 * no news to the chunk: about 60 instructions.
 */
bool page_heap_put(struct page_heap *heap, size_t page, size_t pages)
{
    struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    unsigned bit = page % PAGE_BLOCK_PAGES;

    DCHECK(port_lock_is_held(&heap->lock));
    if (UNLIKELY(pages >= PAGE_BLOCK_PAGES - bit || page_block_is_held(block)))
        return page_heap_put_slow(heap, page, pages);

    uint64_t mask = ((1ull << pages) - 1) << bit;
    uint64_t joined = page_block_joined(block), free = page_block_free(block);

    /* The first is not joined, the rest is, the page after is not. */
    if (UNLIKELY((page_block_present(block) & ~(free | page_block_remote(block)) & mask) != mask ||
                 (joined & (mask | mask << 1)) != (mask & mask << 1)))
        return false;
    free |= mask;
    page_block_set_free(block, free);
    page_block_set_joined(block, joined & ~mask);
    heap->free_pages += pages;
    page_heap_note_free(heap, page);

    /* Free pages below the first of the run, and above it. */
    unsigned below = (unsigned)__builtin_clzll(~(free << 1 << (PAGE_BLOCK_PAGES - 1 - bit)));
    unsigned above = (unsigned)__builtin_ctzll(~(free >> 1 >> bit));

    if (below == bit || bit + above == PAGE_BLOCK_PAGES - 1 ||
        below + above >= heap->levels[0][page / CHUNK_PAGES].max)
        page_heap_grow_slow(heap, page, page + pages);
    return true;
}

/* ---- Blocks in windows ---- */

void page_heap_hold(struct page_heap *heap, size_t index, unsigned cpu)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(block);

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(!page_block_is_held(block));
    page_check_freed_once(heap, block, free);
    atomic_store_explicit(&block->holder, cpu + 1, memory_order_relaxed);
    page_block_set_window(block, free);
    page_block_set_free(block, 0);
    page_block_unscavenge(heap, block, free);
    heap->free_pages -= bits_count(free);
    if (heap->low - page < PAGE_BLOCK_PAGES)
        heap->low = page + PAGE_BLOCK_PAGES;
    page_tree_recompute(heap, page, PAGE_BLOCK_PAGES);
}

uint64_t page_heap_fetch_remote(struct page_heap *heap, struct page_block *block)
{
    uint64_t remote = atomic_exchange_explicit(&block->remote, 0, memory_order_acq_rel);

    heap->remote_pages -= bits_count(remote);
    return remote;
}

/* Pages of a block become free, or are so in a window; not yet in the tree. */
static void page_heap_free_bits(struct page_heap *heap, struct page_block *block, uint64_t bits)
{
    page_block_set_joined(block, page_block_joined(block) & ~bits);
    page_block_set_free(block, page_block_free(block) | bits);
    heap->free_pages += bits_count(bits);
}

/* Until `remote` is empty: who sets a bit beside others leaves it to us (pending.c). */
static uint64_t page_heap_collect_bits(struct page_heap *heap, struct page_block *block)
{
    uint64_t remote = page_block_remote(block), left = remote, all = 0;

    while (left != 0) {
        page_check_freed_once(heap, block, page_block_free(block));
        page_heap_free_bits(heap, block, left);
        all |= left;
        remote = atomic_fetch_and_explicit(&block->remote, ~left, memory_order_acq_rel);
        left = remote & ~left;
    }
    heap->remote_pages -= bits_count(all);
    return all;
}

void page_heap_collect(struct page_heap *heap, size_t index)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;

    DCHECK(port_lock_is_held(&heap->lock));
    if (page_block_is_held(block) || page_block_remote(block) == 0)
        return;

    uint64_t bits = page_heap_collect_bits(heap, block);
    unsigned first = (unsigned)__builtin_ctzll(bits), pages = bits_count(bits);

    page_heap_note_free(heap, page + first);
    if (bits >> first == ~0ull >> (PAGE_BLOCK_PAGES - pages)) /* side by side: one run grows */
        page_tree_grow(heap, page_tree_run(heap, page + first, page + first + pages));
    else
        page_tree_recompute(heap, page, PAGE_BLOCK_PAGES);
}

void page_heap_release(struct page_heap *heap, size_t index)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t window = page_block_window(block);

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(page_block_is_held(block) && page_block_free(block) == 0);
    CHECK((window & page_block_remote(block)) == 0 && (window & ~page_block_present(block)) == 0);
    page_block_set_window(block, 0);
    page_heap_free_bits(heap, block, window);
    page_heap_collect_bits(heap, block);
    atomic_store_explicit(&block->holder, 0, memory_order_release);
    if (page_block_free(block) == 0)
        return;
    page_heap_note_free(heap, page);
    page_tree_recompute(heap, page, PAGE_BLOCK_PAGES);
}
