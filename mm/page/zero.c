/*
 * Zero pages.
 *
 * Idea.  A page that is free and zero need not be cleared when someone asks for PAGE_ZERO.  One bit
 * per page says so.  Where zero pages come from:
 *
 *     fresh      never used since the machine started, if the port says that such memory is zero
 *                (a process's is; a PC's is what the firmware left there)
 *     scavenged  given to the host below, if it says that it gives back zeroes: one whose process
 *                this machine is does; a virtio balloon does not
 *     ahead      cleared by a CPU that had nothing else to do
 *
 * (What a balloon's device does to a reported page is its own affair: VIRTIO 1.2, 5.5.6.7.1, has the
 * driver treat it as uninitialized unless VIRTIO_BALLOON_F_PAGE_POISON is negotiated, and then it is
 * the driver who has to fill pages first.  So a zero page that goes there is known no longer.)
 *
 * A bit goes when its page is handed out, to whoever; a page that comes back has none.  So a bit
 * can be lost, but never says what is not so.
 *
 * PAGE_ZERO, for a run that fits in a window, takes a zero one first: from this CPU's window, which
 * keeps its zero pages apart from those that its fast paths hand out (page_window.c); else the lowest
 * in the heap of its own node, by itself.  That is as many instructions as clearing one page with
 * rep stosq has words, but leaves memory and the CPU's cache alone.  It is looked for from zero_low
 * on, past what is not free by the tree, in ZERO_LOOK_CHUNKS chunks at most: what is cleared ahead
 * lies together, so more is looked at only where zero pages are few and far between, and the next
 * request goes on from there.  Memory below 16 MiB and devices' stays for who needs it.
 *
 *     .#.##.# [whole] 0000000 [.......] [.......] [.......]     # taken, . free, 0 free and zero
 *             next    cleared
 *
 * Zeroing ahead keeps out of the way of ordinary requests: they fill what is free among broken
 * chunks from below and then break the first whole chunk.  So it begins behind that, and has what is
 * below last.  There PAGE_ZERO breaks one chunk at a time, which fills up before the next.  It ends
 * when zero_limit pages are known to be zero: 1/64 of memory and at most 16 MiB, or what zeroahead=
 * says.  A page is cleared in its place, with the heap's lock held, so that no request misses it
 * meanwhile; the lock is released after each page, and a piece of idle work is ZERO_PIECE_PAGES.
 * Scavenged pages are left alone: touching them would take them back from the host.
 *
 * Whoever finds nothing to clear in one look stops until the next tick; a pass over all of memory in
 * vain is the last until pages have become free.
 *
 * Counted are pages in the heap only, not those in windows.
 *
 * Locks: PAGE_HEAP.
 */
#include "mm/page/zero.h"

#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/page_window.h"
#include "mm/page/reserve.h"

#define ZERO_SHARE       64u        /* of memory */
#define ZERO_BYTES_MAX   (16 * MIB) /* and no more than this */
#define ZERO_PIECE_PAGES 8u         /* in one call: some 20 us */
#define ZERO_LOOK_CHUNKS 32u        /* with free pages, looked at in one hold of the lock */

PORT_STAT(page, zeroed_ahead);

void page_zero_init(void)
{
    uint64_t bytes = port_setting_zeroahead();
    size_t memory = page_nodes_memory();

    if (bytes == PORT_SETTING_AUTO)
        bytes = MIN(memory * PAGE_BYTES / ZERO_SHARE, ZERO_BYTES_MAX);
    bytes = MIN(bytes, memory * PAGE_BYTES);
    if (page_debug_poisons())
        bytes = 0; /* free pages hold the pattern */
    for (unsigned node = 0; node < port_node_count(); node++)
        page_heaps[node].zero_limit = page_node_share(&page_heaps[node], bytes / PAGE_BYTES);
}

static void page_zero_add(struct page_heap *heap, size_t pages)
{
    atomic_store_explicit(&heap->zero_pages, page_heap_zero_pages(heap) + pages,
                          memory_order_relaxed);
}

static size_t page_zero_low(const struct page_heap *heap)
{
    return atomic_load_explicit(&heap->zero_low, memory_order_relaxed);
}

static void page_zero_set_low(struct page_heap *heap, size_t block)
{
    atomic_store_explicit(&heap->zero_low, block, memory_order_relaxed);
}

void page_zero_note(struct page_heap *heap, size_t page, size_t pages)
{
    DCHECK(port_lock_is_held(&heap->lock));
    page_zero_set_low(heap, MIN(page_zero_low(heap), page / PAGE_BLOCK_PAGES));
    for (struct page_walk walk = page_walk(page, page + pages); page_walk_on(&walk);
         page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];
        uint64_t zero = page_block_zero(block);
        uint64_t more = walk.mask & page_block_free(block) & ~zero;

        if (more != 0) {
            page_block_write_zero(block, zero | more);
            page_zero_add(heap, bits_count(more));
        }
    }
}

uint64_t page_zero_take_block(struct page_heap *heap, size_t index)
{
    uint64_t zero = page_block_zero(&heap->blocks[index]);

    DCHECK(port_lock_is_held(&heap->lock));
    page_block_unzero(heap, &heap->blocks[index], ~0ull);
    return zero;
}

void page_zero_give_block(struct page_heap *heap, size_t index, uint64_t zero)
{
    DCHECK(port_lock_is_held(&heap->lock));
    if (zero != 0) {
        page_block_write_zero(&heap->blocks[index], zero);
        page_zero_add(heap, bits_count(zero));
        page_zero_set_low(heap, MIN(page_zero_low(heap), index));
    }
}

void page_zero_check(const struct page_heap *heap)
{
    size_t count = 0;

    for (size_t i = 0; i < heap->page_limit / PAGE_BLOCK_PAGES; i++) {
        const struct page_block *block = &heap->blocks[i];
        uint64_t zero = page_block_zero(block), free = page_block_free(block);

        if ((zero & ~free) != 0)
            port_panic("page heap: P9: pages %#lx..: zero %#lx, free %#lx", i * PAGE_BLOCK_PAGES,
                       zero, free);
        count += bits_count(zero);
    }
    if (count != page_heap_zero_pages(heap))
        port_panic("page heap: P9: %zu zero pages counted, %zu noted", count,
                   page_heap_zero_pages(heap));
}

/* ---- Looking; the lock is held ---- */

static size_t zero_chunk_limit(const struct page_heap *heap)
{
    return heap->page_limit / CHUNK_PAGES;
}

static size_t zero_block_limit(const struct page_heap *heap)
{
    return heap->page_limit / PAGE_BLOCK_PAGES;
}

/* The lowest chunk of ordinary memory above 16 MiB. */
static size_t zero_chunk_first(const struct page_heap *heap)
{
    return heap->reserve.device_end / CHUNK_PAGES;
}

/* The next chunk from `chunk` on with anything free, or the limit. */
static size_t zero_chunk_next(struct page_heap *heap, size_t chunk)
{
    size_t page = page_heap_find_above(heap, 1, 1, chunk * CHUNK_PAGES, PAGE_NONE);

    return page != PAGE_NONE ? page / CHUNK_PAGES : zero_chunk_limit(heap);
}

/* ---- For PAGE_ZERO ---- */

/* The first such run from a block on, in its chunk. */
static size_t zero_find_in_chunk(struct page_heap *heap, size_t block, size_t pages, size_t align)
{
    size_t end = ALIGN_DOWN(block, PAGE_CHUNK_BLOCKS) + PAGE_CHUNK_BLOCKS;

    for (; block < end; block++) {
        uint64_t zero = page_block_zero(&heap->blocks[block]);
        uint64_t starts = bits_run_starts(zero, pages) & bits_aligned(align);

        if (starts != 0)
            return block * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(starts);
        if (zero == 0 && block == page_zero_low(heap))
            page_zero_set_low(heap, block + 1);
    }
    return PAGE_NONE;
}

/* One look: where the last one has come to nothing, this goes on. */
static size_t zero_find(struct page_heap *heap, size_t pages, size_t align)
{
    size_t block = MAX(page_zero_low(heap), zero_chunk_first(heap) * PAGE_CHUNK_BLOCKS);

    page_zero_set_low(heap, block);
    for (unsigned i = 0; i < ZERO_LOOK_CHUNKS && block < zero_block_limit(heap); i++) {
        size_t page = zero_find_in_chunk(heap, block, pages, align);

        if (page != PAGE_NONE)
            return page;

        size_t next = ALIGN_DOWN(block, PAGE_CHUNK_BLOCKS) + PAGE_CHUNK_BLOCKS;

        block = zero_chunk_next(heap, next / PAGE_CHUNK_BLOCKS) * PAGE_CHUNK_BLOCKS;
        if (page_zero_low(heap) == next)
            page_zero_set_low(heap, block);
    }
    return PAGE_NONE;
}

void *page_zero_alloc(size_t pages, size_t align, unsigned flags)
{
    struct page_heap *heap = page_node_near(port_cpu_node(port_cpu_id()), 0);

    if (page_heap_zero_pages(heap) == 0 || page_zero_low(heap) >= zero_block_limit(heap) ||
        align > PAGE_BLOCK_PAGES)
        return NULL;

    unsigned long irq_state = page_heap_lock(heap);
    size_t page = PAGE_NONE;

    if ((flags & PAGE_RESERVE) != 0 || page_reserve_has_room(heap, pages))
        page = zero_find(heap, pages, align);
    if (page != PAGE_NONE) {
        CHECK(page_heap_take(heap, page, pages) == pages);
    }
    page_heap_unlock(heap, irq_state);
    return page != PAGE_NONE ? page_address(page) : NULL;
}

/* ---- Ahead ---- */

static unsigned zero_news(const struct page_heap *heap)
{
    return atomic_load_explicit(&heap->zero_pass.news, memory_order_relaxed);
}

static void zero_set_news(struct page_heap *heap, unsigned news)
{
    atomic_store_explicit(&heap->zero_pass.news, (uint8_t)news, memory_order_relaxed);
}

/* Behind the first whole chunk, if there is more. */
static size_t zero_pass_start(struct page_heap *heap)
{
    size_t first = zero_chunk_first(heap);
    size_t whole =
        page_heap_find_above(heap, CHUNK_PAGES, CHUNK_PAGES, first * CHUNK_PAGES, PAGE_NONE);

    return whole != PAGE_NONE ? whole / CHUNK_PAGES + 1 : first;
}

/* The pass has come to an end: of its first part, or a new one begins; false: all has been seen. */
static bool zero_pass_turn(struct page_heap *heap)
{
    struct page_zero_pass *pass = &heap->zero_pass;
    size_t first = zero_chunk_first(heap);

    if (pass->start > first) {
        pass->next = first;
        pass->end = pass->start;
        pass->start = first;
        return true;
    }
    if (zero_news(heap) != PAGE_ZERO_NEWS) {
        zero_set_news(heap, PAGE_ZERO_SEEN);
        return false;
    }
    zero_set_news(heap, PAGE_ZERO_LOOKS);
    pass->next = pass->start = zero_pass_start(heap);
    pass->end = zero_chunk_limit(heap);
    return true;
}

/* There are enough: when they no longer are, a pass begins anew. */
static void zero_pass_end(struct page_heap *heap)
{
    struct page_zero_pass *pass = &heap->zero_pass;

    pass->next = pass->end = pass->start = 0;
    zero_set_news(heap, PAGE_ZERO_NEWS);
}

static size_t zero_find_dirty(const struct page_heap *heap, size_t chunk)
{
    size_t first = chunk * PAGE_CHUNK_BLOCKS;

    for (size_t i = first; i < first + PAGE_CHUNK_BLOCKS; i++) {
        const struct page_block *block = &heap->blocks[i];
        uint64_t dirty =
            page_block_free(block) & ~page_block_zero(block) & ~page_block_scavenged(block);

        if (dirty != 0)
            return i * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(dirty);
    }
    return PAGE_NONE;
}

/* One look: a page to clear, or PAGE_NONE. */
static size_t zero_pass_find(struct page_heap *heap)
{
    struct page_zero_pass *pass = &heap->zero_pass;

    for (unsigned i = 0; i < ZERO_LOOK_CHUNKS; i++) {
        pass->next = MIN(zero_chunk_next(heap, pass->next), pass->end);
        if (pass->next == pass->end) {
            if (!zero_pass_turn(heap))
                return PAGE_NONE;
            continue;
        }

        size_t page = zero_find_dirty(heap, pass->next);

        if (page != PAGE_NONE)
            return page;
        pass->next++;
    }
    return PAGE_NONE;
}

/* Clear a page; false: none in this look. */
static bool zero_clear_one(struct page_heap *heap)
{
    unsigned long irq_state = page_heap_lock(heap);
    size_t page = PAGE_NONE;

    if (page_heap_zero_pages(heap) < heap->zero_limit)
        page = zero_pass_find(heap);
    if (page != PAGE_NONE) {
        port_zero_pages(page_address(page), 1);
        page_zero_note(heap, page, 1);
        port_stat_inc(page, zeroed_ahead);
        if (page_heap_zero_pages(heap) == heap->zero_limit)
            zero_pass_end(heap);
    }
    page_heap_unlock(heap, irq_state);
    return page != PAGE_NONE;
}

bool page_zero_ahead(struct page_heap *heap)
{
    for (unsigned i = 0; i < ZERO_PIECE_PAGES; i++)
        if (page_heap_zero_pages(heap) >= heap->zero_limit || zero_news(heap) == PAGE_ZERO_SEEN ||
            !zero_clear_one(heap))
            return false;
    return true;
}

/* Of the own node's memory first. */
static bool page_zero_idle(void)
{
    unsigned node = port_cpu_node(port_cpu_id());

    for (unsigned nth = 0; nth < port_node_count(); nth++)
        if (page_zero_ahead(page_node_near(node, nth)))
            return true;
    return false;
}
PORT_IDLE_WORK(page_zero_idle);
