/*
 * The page heap: which pages of memory are free, and where the next run is.
 *
 * Idea.  A bitmap has one bit per page, 1: free.  Over it stands a tree of summaries (summary.h):
 * a leaf describes one chunk of 512 pages, a node eight of the level below.
 *
 *     level 2 (root)   [          64 chunks           ] [ ...      few entries, side by side
 *     level 1          [ 8 chunks ] [ 8 chunks ] ...
 *     level 0          [c][c][c]...                                one word per chunk
 *     blocks           512 bits per chunk: 8 words free, 8 words present
 *
 * A run of n pages is found by walking the root's entries and going down only where max says that
 * the run is inside, or finding it across neighbours by adding one's end to the next one's start
 * (page_find.c).  A change recomputes the summaries above it, as long as they change.
 *
 * Every level and the bitmap are flat tables by address, backed only where there is memory; what
 * is not backed reads as zero, which means nothing free and nothing present.  So a hole costs
 * nothing and no code asks whether a table is there.  The root stands on the lowest level that has
 * at most 8 entries, or on level 4, the last whose stretch (8 GiB) a summary can describe: above
 * 64 GiB the walk over the root is linear, one word per 8 GiB.
 *
 * Cost in tables: 128 bytes per chunk and 8 + 1 + ... for summaries, 0.007 % of memory.
 *
 * Contract: everything here is exact and deterministic, address-ordered first fit; the lock is the
 * caller's.  CPUs rarely come here: they hold windows (page_window.c).
 *
 * Locks: PAGE_HEAP.  Bits of a block are also read without it, by page_free on a window: the bits
 * of a page that the reader rightly owns do not change meanwhile.
 *
 * Source: Go 1.12, "Scaling the Go page allocator"; mpagealloc.go, mpallocbits.go.
 */
#include "mm/page/page_heap.h"

_Static_assert(PAGE_CHUNK_SHIFT + (PAGE_LEVELS - 1) * PAGE_FANOUT_SHIFT == SUMMARY_BITS,
               "the highest level's stretch is what a summary can describe");
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
        if (count <= PAGE_FANOUT || level == PAGE_LEVELS - 1)
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
    return count * sizeof(summary_t);
}

void page_heap_place(struct page_heap *heap, void *blocks, void *summaries)
{
    summary_t *next = summaries;

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

unsigned long page_heap_lock(struct page_heap *heap)
{
    unsigned long irq_state = port_lock(&heap->lock);

    heap->lock_count++;
    return irq_state;
}

void page_heap_unlock(struct page_heap *heap, unsigned long irq_state)
{
    port_unlock(&heap->lock, irq_state);
}

/* ---- Summaries ---- */

/* The summary that a chunk's bits give: summary_merge, of words. */
static summary_t page_chunk_summary(const struct page_block *blocks)
{
    size_t i = 0;

    while (i < PAGE_CHUNK_BLOCKS && ~page_block_free(&blocks[i]) == 0)
        i++;

    size_t run = i * BITS_PER_WORD;

    if (i == PAGE_CHUNK_BLOCKS)
        return summary_pack(run, run, run);

    size_t start = run + bits_low_run(page_block_free(&blocks[i]));
    size_t max = 0;

    for (; i < PAGE_CHUNK_BLOCKS; i++) {
        uint64_t free = page_block_free(&blocks[i]);

        if (free == 0) {
            max = MAX(max, run);
            run = 0;
        } else if (~free == 0) {
            run += BITS_PER_WORD;
        } else {
            max = MAX(max, run + bits_low_run(free));
            run = bits_high_run(free);
            if (max < BITS_PER_WORD && bits_run_starts(free, max + 1) != 0)
                max = bits_longest_run(free);
        }
    }
    return summary_pack(start, MAX(max, run), run);
}

/* What the level below says that entry `index` of `level` is. */
static summary_t page_summary_of(const struct page_heap *heap, unsigned level, size_t index)
{
    if (level == 0)
        return page_chunk_summary(&heap->blocks[index * PAGE_CHUNK_BLOCKS]);
    return summary_merge(&heap->levels[level - 1][index << PAGE_FANOUT_SHIFT], PAGE_FANOUT,
                         1ul << page_level_shift(level - 1));
}

/* Write one summary; true if it was another. */
static inline bool page_summary_set(summary_t *entry, summary_t summary)
{
    bool has_changed = *entry != summary;

    *entry = summary;
    return has_changed;
}

/* Bits of [page, page + pages) have changed: make the summaries above them true again. */
static void page_heap_summarise(struct page_heap *heap, size_t page, size_t pages)
{
    size_t first = page / CHUNK_PAGES, last = (page + pages - 1) / CHUNK_PAGES;
    size_t part_pages = CHUNK_PAGES; /* that an entry of the level below describes */
    bool has_changed = false;

    for (size_t i = first; i <= last; i++)
        has_changed |= page_summary_set(&heap->levels[0][i],
                                        page_chunk_summary(&heap->blocks[i * PAGE_CHUNK_BLOCKS]));
    for (unsigned level = 1; has_changed && level <= heap->top; level++) {
        const summary_t *parts = heap->levels[level - 1];

        first /= PAGE_FANOUT;
        last /= PAGE_FANOUT;
        has_changed = false;
        for (size_t i = first; i <= last; i++)
            has_changed |=
                page_summary_set(&heap->levels[level][i],
                                 summary_merge(&parts[i * PAGE_FANOUT], PAGE_FANOUT, part_pages));
        part_pages *= PAGE_FANOUT;
    }
}

/* ---- Bits; the lock is held ---- */

/* `pages` more are free, at or above `page`. */
static void page_heap_note_free(struct page_heap *heap, size_t page, size_t pages)
{
    heap->free_pages += pages;
    heap->low = MIN(heap->low, MAX(page, PAGE_DMA_PAGES));
}

void page_heap_add(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK(pages > 0 && page < end && end <= heap->page_limit);
    for (size_t at = page; at < end;) {
        struct page_piece piece = page_piece(at, end);
        struct page_block *block = &heap->blocks[piece.block];
        uint64_t present = page_block_present(block);

        CHECK((present & piece.mask) == 0);
        atomic_store_explicit(&block->present, present | piece.mask, memory_order_relaxed);
        page_block_set_free(block, page_block_free(block) | piece.mask);
        at += piece.pages;
    }
    heap->present_pages += pages;
    page_heap_note_free(heap, page, pages);
    page_heap_summarise(heap, page, pages);
}

void page_heap_take(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    for (size_t at = page; at < end;) {
        struct page_piece piece = page_piece(at, end);
        struct page_block *block = &heap->blocks[piece.block];
        uint64_t free = page_block_free(block);

        CHECK((~free & piece.mask) == 0);
        page_block_set_free(block, free & ~piece.mask);
        page_block_unscavenge(heap, block, piece.mask);
        at += piece.pages;
    }
    heap->free_pages -= pages;
    if (heap->low == page)
        heap->low = end;
    page_heap_summarise(heap, page, pages);
}

uint64_t page_heap_take_block(struct page_heap *heap, size_t index)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(block);

    DCHECK(port_lock_is_held(&heap->lock));
    page_block_set_free(block, 0);
    page_block_unscavenge(heap, block, free);
    heap->free_pages -= bits_count(free);
    if (heap->low - page < PAGE_BLOCK_PAGES)
        heap->low = page + PAGE_BLOCK_PAGES;
    page_heap_summarise(heap, page, PAGE_BLOCK_PAGES);
    return free;
}

void page_heap_put_block(struct page_heap *heap, size_t index, uint64_t bits)
{
    struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(block);

    DCHECK(port_lock_is_held(&heap->lock));
    CHECK((bits & (free | ~page_block_present(block))) == 0);
    if (bits == 0)
        return;
    page_block_set_free(block, free | bits);
    page_heap_note_free(heap, page + (unsigned)__builtin_ctzll(bits), bits_count(bits));
    page_heap_summarise(heap, page, PAGE_BLOCK_PAGES);
}

size_t page_heap_first_not_taken(const struct page_heap *heap, size_t page, size_t pages)
{
    for (size_t at = page; at < page + pages;) {
        struct page_piece piece = page_piece(at, page + pages);
        const struct page_block *block = &heap->blocks[piece.block];
        uint64_t taken = page_block_present(block) & ~page_block_free(block);

        if (UNLIKELY((~taken & piece.mask) != 0))
            return piece.block * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(~taken & piece.mask);
        at += piece.pages;
    }
    return PAGE_NONE;
}

void page_heap_put(struct page_heap *heap, size_t page, size_t pages)
{
    size_t end = page + pages;

    DCHECK(port_lock_is_held(&heap->lock));
    for (size_t at = page; at < end;) {
        struct page_piece piece = page_piece(at, end);
        struct page_block *block = &heap->blocks[piece.block];

        page_block_set_free(block, page_block_free(block) | piece.mask);
        at += piece.pages;
    }
    page_heap_note_free(heap, page, pages);
    page_heap_summarise(heap, page, pages);
}

/* ---- Reports and checks; nothing else changes the heap meanwhile ---- */

static size_t page_count_whole(const struct page_heap *heap, unsigned level, size_t first,
                               size_t count)
{
    size_t whole = 0;

    for (size_t i = first; i < first + count; i++) {
        size_t max = summary_max(heap->levels[level][i]);

        if (max == 1ul << page_level_shift(level))
            whole += max / CHUNK_PAGES;
        else if (max >= CHUNK_PAGES)
            whole += page_count_whole(heap, level - 1, i << PAGE_FANOUT_SHIFT, PAGE_FANOUT);
    }
    return whole;
}

size_t page_heap_whole_chunks(const struct page_heap *heap)
{
    return page_count_whole(heap, heap->top, 0, heap->level_counts[heap->top]);
}

size_t page_heap_largest_run(const struct page_heap *heap)
{
    const summary_t *root = heap->levels[heap->top];
    size_t full = 1ul << page_level_shift(heap->top);
    size_t longest = 0, run = 0;

    for (size_t i = 0; i < heap->level_counts[heap->top]; i++) {
        run += summary_start(root[i]);
        longest = MAX(longest, run);
        longest = MAX(longest, summary_max(root[i]));
        if (summary_start(root[i]) != full)
            run = summary_end(root[i]);
    }
    return longest;
}

static void page_heap_check_bits(const struct page_heap *heap)
{
    size_t free_pages = 0, present_pages = 0, scavenged_pages = 0;

    for (size_t i = 0; i < heap->page_limit / PAGE_BLOCK_PAGES; i++) {
        uint64_t free = page_block_free(&heap->blocks[i]);
        uint64_t present = page_block_present(&heap->blocks[i]);
        size_t page = i * PAGE_BLOCK_PAGES;

        if ((free & ~present) != 0)
            port_panic("page heap: P1: pages %#lx..: free %#lx, present %#lx", page, free, present);
        if (free != 0 && page + PAGE_BLOCK_PAGES > PAGE_DMA_PAGES && page < heap->low &&
            page + (unsigned)__builtin_ctzll(free) < heap->low)
            port_panic("page heap: P4: pages %#lx..: free %#lx below %#lx", page, free, heap->low);
        free_pages += bits_count(free);
        present_pages += bits_count(present);
        if ((page_block_scavenged(&heap->blocks[i]) & ~free) != 0)
            port_panic("page heap: P6: pages %#lx..: free %#lx, scavenged %#lx", page, free,
                       page_block_scavenged(&heap->blocks[i]));
        scavenged_pages += bits_count(page_block_scavenged(&heap->blocks[i]));
    }
    if (scavenged_pages != heap->scavenged_pages)
        port_panic("page heap: P6: %zu scavenged counted; %zu noted", scavenged_pages,
                   heap->scavenged_pages);
    if (free_pages != heap->free_pages || present_pages != heap->present_pages)
        port_panic("page heap: P3: %zu free, %zu present counted; %zu, %zu noted", free_pages,
                   present_pages, heap->free_pages, heap->present_pages);
}

void page_heap_check(const struct page_heap *heap)
{
    page_heap_check_bits(heap);
    for (unsigned level = 0; level <= heap->top; level++) {
        size_t count = heap->page_limit >> page_level_shift(level);

        for (size_t i = 0; i < count; i++) {
            summary_t want = page_summary_of(heap, level, i);

            if (heap->levels[level][i] != want)
                port_panic("page heap: P2: level %u entry %zu is %#lx, below it says %#lx", level,
                           i, heap->levels[level][i], want);
        }
    }
}
