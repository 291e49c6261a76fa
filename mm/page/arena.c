/*
 * Tables by arena.
 *
 * Each heap's blocks and summaries, and what layers above know of every page or granule (spans,
 * owners), are flat tables by address.  Addresses are reserved for all of them from physical 0 to
 * the highest page, and read as zero; what the tables say about an arena is backed when memory in
 * it opens, so a hole costs nothing.
 *
 *     RAM        [ arena ][ arena ]   hole            [ arena ]
 *     blocks     [ 16 KiB][ 16 KiB]   zero, shared    [ 16 KiB]
 *     spans      [ 64 KiB][ 64 KiB]   zero, shared    [ 64 KiB]
 *
 * The pages that back them come from the node's store, a part of its memory at the end of its
 * longest run: so they are near what they describe, and in nobody's way.  0.13 % of memory.
 *
 * Clearing them is half of the work, and is done without the lock; with it, page tables change,
 * some 80 instructions a page.
 *
 * Locks: ARENAS, for page tables, stores and counts; nothing is taken inside it.
 */
#include "mm/page/arena.h"

#include "mm/page/nodes.h"

struct arena_table {
    char *base;         /* [C] once created; NULL: no table */
    size_t arena_bytes; /* [C] */
    size_t pages;       /* [L] that back it, page tables included */
};

/* Lock letters: [C] constant from page_heap_start on, [L] lock. */
static struct {
    port_lock_t lock;
    struct arena_table tables[PAGE_ARENA_TABLES_MAX];
    size_t limit;             /* [C] arenas, from physical 0 on */
    size_t pages;             /* [L] taken from stores */
    struct page_store *store; /* [L] of the call under way */
    struct page_run clear;    /* [L] likewise: taken and cleared, and not yet in a table */
    size_t backed;            /* [L] likewise: pages that it has put to use */
} arenas = {.lock = PORT_LOCK_INIT(ARENAS)};

static void *arena_reserve(const char *what, size_t bytes)
{
    void *table = port_table_reserve(ALIGN_UP(bytes, PAGE_BYTES));

    if (table == NULL)
        port_panic("page heap: no addresses for a table of %zu bytes: %s", bytes, what);
    return table;
}

void page_arenas_init(size_t page_limit)
{
    arenas.limit = ALIGN_UP(page_limit, PAGE_ARENA_PAGES) / PAGE_ARENA_PAGES;
    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_heap *heap = &page_heaps[node];

        page_heap_shape(heap, page_limit);
        page_heap_place(heap, arena_reserve("blocks", page_heap_blocks_bytes(heap)),
                        arena_reserve("summaries", page_heap_summaries_bytes(heap)));
    }
}

void page_arena_table_at(const char *what, void *base, size_t arena_bytes)
{
    struct arena_table *table = arenas.tables;

    while (table < &arenas.tables[PAGE_ARENA_TABLES_MAX] && table->base != NULL)
        table++;
    if (table == &arenas.tables[PAGE_ARENA_TABLES_MAX])
        port_panic("page heap: %s: PAGE_ARENA_TABLES_MAX (%u) is too small", what,
                   PAGE_ARENA_TABLES_MAX);
    CHECK(IS_ALIGNED((uintptr_t)base, PAGE_BYTES));
    *table = (struct arena_table){base, arena_bytes, 0};
}

void *page_arena_table(const char *what, size_t arena_bytes)
{
    void *base = arena_reserve(what, arenas.limit * arena_bytes);

    page_arena_table_at(what, base, arena_bytes);
    return base;
}

size_t page_arena_limit(void)
{
    return arenas.limit;
}

/* ---- Backing ---- */

/* Bytes that tables take for an arena, but the summaries. */
static size_t arena_bytes(void)
{
    size_t bytes = PAGE_ARENA_PAGES / PAGE_BLOCK_PAGES * sizeof(struct page_block);

    for (size_t i = 0; i < PAGE_ARENA_TABLES_MAX; i++)
        bytes += arenas.tables[i].arena_bytes;
    return bytes;
}

/*
 * Summaries: the chunks', and as much again for all levels above.  A port's page tables: one for
 * 512 pages at least, and in every group and table the first and the last of three levels are not
 * full.
 */
size_t page_arenas_cost(size_t count, size_t groups)
{
    size_t summaries = PAGE_ARENA_PAGES / CHUNK_PAGES * sizeof(struct summary);
    size_t pages = count * (arena_bytes() + 2 * summaries) / PAGE_BYTES;

    return pages + pages / 256 + groups * (1 + PAGE_LEVELS + PAGE_ARENA_TABLES_MAX) * 6;
}

/* Take up to so many pages off a store, and clear them; the lock is not held. */
static struct page_run arena_take_clear(struct page_store *store, size_t pages)
{
    unsigned long irq_state = port_lock(&arenas.lock);

    pages = MIN(pages, store->end - store->page);
    store->end -= pages;
    arenas.pages += pages;

    struct page_run run = {store->end, store->end + pages};

    port_unlock(&arenas.lock, irq_state);
    if (!PORT_FRESH_IS_ZERO)
        port_zero_pages((void *)(port_direct_base() + run.page * PAGE_BYTES), pages);
    return run;
}

/* The lock is held, as below. */
static void *arena_take_page(void)
{
    struct page_store *store = arenas.store;
    size_t page;

    if (arenas.clear.page < arenas.clear.end) {
        page = --arenas.clear.end;
    } else if (store->page < store->end) {
        page = --store->end;
        arenas.pages++;
        port_zero_pages((void *)(port_direct_base() + page * PAGE_BYTES), 1);
    } else {
        return NULL;
    }
    arenas.backed++;
    return (void *)(port_direct_base() + page * PAGE_BYTES);
}

/* What was not needed, as of an arena that is two nodes', goes back; it is lost if others took since. */
static void arena_give_clear(struct page_store *store, size_t page)
{
    if (store->end != page)
        return;
    store->end = arenas.clear.end;
    arenas.pages -= arenas.clear.end - page;
}

/* Bytes [first, end) of a table. */
static bool arena_commit(void *table, size_t first, size_t end)
{
    uintptr_t from = ALIGN_DOWN((uintptr_t)table + first, PAGE_BYTES);
    uintptr_t to = ALIGN_UP((uintptr_t)table + end, PAGE_BYTES);

    return port_table_back((void *)from, to - from, arena_take_page);
}

/* What a heap's own tables say about pages [page, end), whole arenas. */
static bool arena_back_heap(const struct page_heap *heap, size_t page, size_t end)
{
    bool is_backed = arena_commit(heap->blocks, page / PAGE_BLOCK_PAGES * sizeof(struct page_block),
                                  end / PAGE_BLOCK_PAGES * sizeof(struct page_block));

    for (unsigned level = 0; level <= heap->top && is_backed; level++) {
        size_t first = page >> page_level_shift(level);
        size_t last = (end - 1) >> page_level_shift(level);

        is_backed = arena_commit(heap->levels[level], first * sizeof(struct summary),
                                 (last + 1) * sizeof(struct summary));
    }
    return is_backed;
}

static bool arena_back_table(struct arena_table *table, size_t first, size_t end)
{
    size_t before = arenas.backed;
    bool is_backed =
        arena_commit(table->base, first * table->arena_bytes, end * table->arena_bytes);

    table->pages += arenas.backed - before;
    return is_backed;
}

bool page_arenas_back(const struct page_heap *heap, size_t page, size_t end,
                      struct page_store *store)
{
    size_t first = page / PAGE_ARENA_PAGES;
    size_t last = (end - 1) / PAGE_ARENA_PAGES;
    struct page_run clear =
        arena_take_clear(store, (last + 1 - first) * arena_bytes() / PAGE_BYTES);
    unsigned long irq_state = port_lock(&arenas.lock);

    arenas.store = store;
    arenas.clear = clear;

    bool is_backed = arena_back_heap(heap, first * PAGE_ARENA_PAGES, (last + 1) * PAGE_ARENA_PAGES);

    for (size_t i = 0; i < PAGE_ARENA_TABLES_MAX && is_backed; i++)
        if (arenas.tables[i].base != NULL)
            is_backed = arena_back_table(&arenas.tables[i], first, last + 1);
    arena_give_clear(store, clear.page);
    port_unlock(&arenas.lock, irq_state);
    return is_backed;
}

/* ---- Counting ---- */

size_t page_arena_table_bytes(const void *table)
{
    unsigned long irq_state = port_lock(&arenas.lock);
    size_t pages = 0;

    for (size_t i = 0; i < PAGE_ARENA_TABLES_MAX; i++)
        if (table != NULL && arenas.tables[i].base == table)
            pages = arenas.tables[i].pages;
    port_unlock(&arenas.lock, irq_state);
    return pages * PAGE_BYTES;
}

size_t page_table_bytes(void)
{
    unsigned long irq_state = port_lock(&arenas.lock);
    size_t bytes = arenas.pages * PAGE_BYTES;

    port_unlock(&arenas.lock, irq_state);
    return bytes;
}
