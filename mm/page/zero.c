/*
 * Zero pages.
 *
 * Idea.  A page that is free and zero need not be cleared when someone asks for PAGE_ZERO.  One bit
 * per page says so.  Where zero pages come from:
 *
 *     fresh      never used since the machine started, if the port says that such memory is zero
 *                (a process's is; a PC's is what the firmware left there)
 *     scavenged  given to the hypervisor, which gives back zeroes (mm/page/scavenge.c)
 *     ahead      cleared by a CPU that had nothing else to do
 *
 * A bit goes when its page is handed out, to whoever; a page that comes back has none.  So a bit
 * can be lost, but never says what is not so.
 *
 * Zeroing ahead follows first fit: the free pages at the lowest addresses from 16 MiB on are cleared
 * first, which are those that go out next.  It ends when page_zero_limit() pages are known to be zero: 1/64 of
 * memory and at most 16 MiB, or what zeroahead= says.  A page is cleared in its place, with the
 * heap's lock held, so that no request misses it meanwhile; the lock is released after each page,
 * and a piece of idle work is ZERO_PIECE_PAGES.  Scavenged pages are left alone: touching them
 * would take them back from the hypervisor.
 *
 * Counted are pages in the heap only.  A window keeps its zero pages apart from those that its fast
 * paths hand out (page_window.c): they are for PAGE_ZERO, and for others when nothing else is left.
 *
 * Locks: PAGE_HEAP.
 */
#include "mm/page/zero.h"

#include "mm/page/debug.h"
#include "mm/page/nodes.h"

#define ZERO_SHARE        64u        /* of memory */
#define ZERO_BYTES_MAX    (16 * MIB) /* and no more than this */
#define ZERO_PIECE_PAGES  8u         /* in one call: some 20 us */
#define ZERO_PIECE_BLOCKS 512u       /* looked at for a page, in one hold of the lock */

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

size_t page_zero_count(const struct page_heap *heap)
{
    return atomic_load_explicit(&heap->zero_pages, memory_order_relaxed);
}

static void page_zero_add(struct page_heap *heap, size_t pages)
{
    atomic_store_explicit(&heap->zero_pages, page_zero_count(heap) + pages, memory_order_relaxed);
}

static void page_zero_sub(struct page_heap *heap, size_t pages)
{
    atomic_store_explicit(&heap->zero_pages, page_zero_count(heap) - pages, memory_order_relaxed);
}

void page_zero_note(struct page_heap *heap, size_t page, size_t pages)
{
    DCHECK(port_lock_is_held(&heap->lock));
    for (size_t at = page; at < page + pages;) {
        struct page_piece piece = page_piece(at, page + pages);
        struct page_block *block = &heap->blocks[piece.block];
        uint64_t zero = page_block_zero(block);
        uint64_t more = piece.mask & page_block_free(block) & ~zero;

        if (more != 0) {
            page_block_write_zero(block, zero | more);
            page_zero_add(heap, bits_count(more));
        }
        at += piece.pages;
    }
}

bool page_zero_take(struct page_heap *heap, size_t page, size_t pages)
{
    size_t taken = 0;

    DCHECK(port_lock_is_held(&heap->lock));
    if (page_zero_count(heap) == 0)
        return false;
    for (size_t at = page; at < page + pages;) {
        struct page_piece piece = page_piece(at, page + pages);
        struct page_block *block = &heap->blocks[piece.block];
        uint64_t zero = page_block_zero(block);

        if (UNLIKELY((zero & piece.mask) != 0)) {
            page_block_write_zero(block, zero & ~piece.mask);
            taken += bits_count(zero & piece.mask);
        }
        at += piece.pages;
    }
    if (taken != 0)
        page_zero_sub(heap, taken);
    return taken == pages;
}

uint64_t page_zero_take_block(struct page_heap *heap, size_t index)
{
    uint64_t zero = page_block_zero(&heap->blocks[index]);

    DCHECK(port_lock_is_held(&heap->lock));
    if (zero != 0) {
        page_block_write_zero(&heap->blocks[index], 0);
        page_zero_sub(heap, bits_count(zero));
    }
    return zero;
}

void page_zero_give_block(struct page_heap *heap, size_t index, uint64_t zero)
{
    DCHECK(port_lock_is_held(&heap->lock));
    if (zero != 0) {
        page_block_write_zero(&heap->blocks[index], zero);
        page_zero_add(heap, bits_count(zero));
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
    if (count != page_zero_count(heap))
        port_panic("page heap: P9: %zu zero pages counted, %zu noted", count,
                   page_zero_count(heap));
}

/* ---- Ahead ---- */

/* The lowest free page, from the cursor on, that a CPU may clear; PAGE_NONE: none so far. */
static size_t page_zero_find(struct page_heap *heap)
{
    size_t blocks = heap->page_limit / PAGE_BLOCK_PAGES;
    size_t first = MAX(heap->zero_cursor, heap->low / PAGE_BLOCK_PAGES);

    for (size_t i = first; i < MIN(blocks, first + ZERO_PIECE_BLOCKS); i++) {
        const struct page_block *block = &heap->blocks[i];
        uint64_t dirty =
            page_block_free(block) & ~page_block_zero(block) & ~page_block_scavenged(block);

        heap->zero_cursor = i;
        if (dirty != 0)
            return i * PAGE_BLOCK_PAGES + (unsigned)__builtin_ctzll(dirty);
    }
    heap->zero_cursor++;
    if (heap->zero_cursor >= blocks)
        heap->zero_cursor = 0;
    return PAGE_NONE;
}

bool page_zero_ahead(struct page_heap *heap)
{
    for (unsigned i = 0; i < ZERO_PIECE_PAGES; i++) {
        unsigned long irq_state = page_heap_lock(heap);
        bool has_room = page_zero_count(heap) < heap->zero_limit;
        size_t page = has_room ? page_zero_find(heap) : PAGE_NONE;
        bool has_more = page != PAGE_NONE || (has_room && heap->zero_cursor != 0);

        if (page != PAGE_NONE) {
            port_zero_pages((void *)(port_direct_base() + page * PAGE_BYTES), 1);
            page_zero_note(heap, page, 1);
            port_stat_inc(page, zeroed_ahead);
        }
        if (!has_more)
            heap->zero_cursor = 0; /* the next time, what was freed meanwhile below */
        page_heap_unlock(heap, irq_state);
        if (!has_more)
            return false;
    }
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
