/*
 * Pools: pages of the page heap, cut into equal pieces of a power of two.
 *
 *     +--------+-------+-------+-- - --+-------+
 *     | header | piece | piece |       | piece |     header: bitmap of free pieces, links
 *     +--------+-------+-------+-- - --+-------+
 *
 * A page with free pieces is on one list: the one that was full last stands at its head, so that
 * others run empty.  An empty page moves to a second list, where pool_drain takes it.  A piece's address is all that its page is found by.
 *
 * Locks: the pool's.  Pages are taken from the heap with it held (PAGE_HEAP ranks below) and go
 * back without it.
 */
#include "mm/span/pool.h"

#include "mm/page/page.h"

struct pool_page {
    uint64_t free_map;      /* [L] bit i: piece i is free; bit 0, the header, never */
    struct pool_page *next; /* [L] in the pool's usable or empty list */
    struct pool_page *prev; /* [L] */
};

#define POOL_PIECE_MIN 64u

_Static_assert(sizeof(struct pool_page) <= POOL_PIECE_MIN, "the header is one piece");
_Static_assert(PAGE_BYTES / POOL_PIECE_MIN <= 64, "a page's pieces are one word of bits");

/* All but the header's. */
static uint64_t pool_all_free(const struct pool *pool)
{
    return ~0ull >> (64 - PAGE_BYTES / pool->piece_bytes) & ~1ull;
}

static void pool_list_add(struct pool_page **list, struct pool_page *page)
{
    page->prev = NULL;
    page->next = *list;
    if (*list != NULL)
        (*list)->prev = page;
    *list = page;
}

static void pool_list_remove(struct pool_page **list, struct pool_page *page)
{
    if (page->prev != NULL)
        page->prev->next = page->next;
    else
        *list = page->next;
    if (page->next != NULL)
        page->next->prev = page->prev;
}

/* Put a page with free pieces at the head of the usable list; false: none to be had. */
static bool pool_refill_locked(struct pool *pool)
{
    struct pool_page *page = pool->empty;

    if (page != NULL) {
        pool_list_remove(&pool->empty, page);
    } else {
        page = page_alloc(1, 0);
        if (page == NULL)
            return false;
        page->free_map = pool_all_free(pool);
        pool->pages++;
    }
    pool_list_add(&pool->usable, page);
    return true;
}

unsigned pool_take_many(struct pool *pool, unsigned n, void **out)
{
    unsigned taken = 0;

    if (port_fault())
        return 0;

    unsigned long irq = port_lock(&pool->lock);

    while (taken < n && (pool->usable != NULL || pool_refill_locked(pool))) {
        struct pool_page *page = pool->usable;

        for (; taken < n && page->free_map != 0; page->free_map &= page->free_map - 1)
            out[taken++] =
                (char *)page + (unsigned)__builtin_ctzll(page->free_map) * pool->piece_bytes;
        if (page->free_map == 0)
            pool_list_remove(&pool->usable, page);
    }
    pool->live += taken;
    port_unlock(&pool->lock, irq);
    return taken;
}

void *pool_take(struct pool *pool)
{
    void *piece;

    return pool_take_many(pool, 1, &piece) == 1 ? piece : NULL;
}

static void pool_give_locked(struct pool *pool, void *piece)
{
    struct pool_page *page = (struct pool_page *)ALIGN_DOWN((uintptr_t)piece, PAGE_BYTES);
    uint64_t bit = 1ull << ((uintptr_t)piece % PAGE_BYTES / pool->piece_bytes);
    bool was_listed = page->free_map != 0;

    CHECK((page->free_map & bit) == 0 && bit != 1);
    page->free_map |= bit;
    if (page->free_map == pool_all_free(pool)) {
        if (was_listed)
            pool_list_remove(&pool->usable, page);
        pool_list_add(&pool->empty, page);
    } else if (!was_listed) {
        pool_list_add(&pool->usable, page);
    }
    pool->live--;
}

void pool_give_many(struct pool *pool, unsigned n, void *const *pieces)
{
    unsigned long irq = port_lock(&pool->lock);

    for (unsigned i = 0; i < n; i++)
        pool_give_locked(pool, pieces[i]);
    port_unlock(&pool->lock, irq);
}

void pool_give(struct pool *pool, void *piece)
{
    pool_give_many(pool, 1, &piece);
}

void pool_each_page(struct pool *pool, void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                    void *arg)
{
    struct pool_page *lists[] = {pool->usable, pool->empty};

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        for (struct pool_page *page = lists[i]; page != NULL; page = page->next)
            fn((uintptr_t)page, (uintptr_t)page + PAGE_BYTES, arg);
    }
}

void pool_drain(struct pool *pool)
{
    unsigned long irq = port_lock(&pool->lock);
    struct pool_page *page = pool->is_held ? NULL : pool->empty;

    if (page != NULL)
        pool->empty = NULL;
    for (struct pool_page *each = page; each != NULL; each = each->next)
        pool->pages--;
    port_unlock(&pool->lock, irq);

    while (page != NULL) {
        struct pool_page *next = page->next;

        page_free(page, 1);
        page = next;
    }
}

void pool_hold(struct pool *pool, bool is_held)
{
    unsigned long irq = port_lock(&pool->lock);

    pool->is_held = is_held;
    port_unlock(&pool->lock, irq);
}

size_t pool_live(struct pool *pool)
{
    unsigned long irq = port_lock(&pool->lock);
    size_t live = pool->live;

    port_unlock(&pool->lock, irq);
    return live;
}

size_t pool_bytes(struct pool *pool)
{
    unsigned long irq = port_lock(&pool->lock);
    size_t bytes = pool->pages * PAGE_BYTES;

    port_unlock(&pool->lock, irq);
    return bytes;
}
