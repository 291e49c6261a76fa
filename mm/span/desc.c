/*
 * The pool of span descriptors: pages of the page heap, cut into 64 pieces of 64 bytes.
 *
 *     +--------+------+------+-- - --+------+
 *     | header | desc | desc |       | desc |     header: bitmap of free pieces, links
 *     +--------+------+------+-- - --+------+
 *
 * A page with free pieces is on one list, fullest known first: the page that was given to last
 * stands at the head, so that others run empty.  An empty page moves to a second list, where
 * span_drain takes it.  A descriptor's address is all that its page is found by.
 *
 * Locks: SPAN_DESC.  Pages are taken from the heap with it held (PAGE_HEAP ranks below) and go
 * back without it.
 */
#include "mm/span/span_impl.h"

#define DESC_BYTES    64u
#define DESC_PER_PAGE (PAGE_BYTES / DESC_BYTES) /* the header counts as one */
#define DESC_ALL_FREE (~1ull)                   /* all but the header's */

struct desc_page {
    uint64_t free_map;      /* [L] bit i: piece i is free; bit 0, the header, never */
    struct desc_page *next; /* [L] in the pool's usable or empty list */
    struct desc_page *prev; /* [L] */
};

_Static_assert(sizeof(struct span) == DESC_BYTES, "a descriptor is one piece");
_Static_assert(sizeof(struct desc_page) <= DESC_BYTES, "the header is one piece");
_Static_assert(DESC_PER_PAGE == 64, "a page's pieces are one word of bits");

static struct {
    port_lock_t lock;
    struct desc_page *usable; /* [L] pages with free pieces and others */
    struct desc_page *empty;  /* [L] pages with free pieces only */
    size_t pages;             /* [L] pages in the pool */
    size_t live;              /* [L] descriptors taken */
} desc_pool = {.lock = PORT_LOCK_INIT(SPAN_DESC)};

static void desc_list_add(struct desc_page **list, struct desc_page *page)
{
    page->prev = NULL;
    page->next = *list;
    if (*list != NULL)
        (*list)->prev = page;
    *list = page;
}

static void desc_list_remove(struct desc_page **list, struct desc_page *page)
{
    if (page->prev != NULL)
        page->prev->next = page->next;
    else
        *list = page->next;
    if (page->next != NULL)
        page->next->prev = page->prev;
}

/* Put a page with free pieces at the head of the usable list; false: none to be had. */
static bool desc_pool_refill_locked(void)
{
    struct desc_page *page = desc_pool.empty;

    if (page != NULL) {
        desc_list_remove(&desc_pool.empty, page);
    } else {
        page = page_alloc(1, 0);
        if (page == NULL)
            return false;
        page->free_map = DESC_ALL_FREE;
        desc_pool.pages++;
    }
    desc_list_add(&desc_pool.usable, page);
    return true;
}

struct span *span_desc_take(void)
{
    if (port_fault())
        return NULL;

    unsigned long irq = port_lock(&desc_pool.lock);

    if (desc_pool.usable == NULL && !desc_pool_refill_locked()) {
        port_unlock(&desc_pool.lock, irq);
        return NULL;
    }

    struct desc_page *page = desc_pool.usable;
    unsigned piece = (unsigned)__builtin_ctzll(page->free_map);

    page->free_map &= page->free_map - 1;
    if (page->free_map == 0)
        desc_list_remove(&desc_pool.usable, page);
    desc_pool.live++;
    port_unlock(&desc_pool.lock, irq);
    return (struct span *)((char *)page + piece * DESC_BYTES);
}

void span_desc_give(struct span *span)
{
    struct desc_page *page = (struct desc_page *)ALIGN_DOWN((uintptr_t)span, PAGE_BYTES);
    uint64_t bit = 1ull << ((uintptr_t)span % PAGE_BYTES / DESC_BYTES);
    unsigned long irq = port_lock(&desc_pool.lock);

    CHECK((page->free_map & bit) == 0 && bit != 1);
    if (page->free_map != 0)
        desc_list_remove(&desc_pool.usable, page);
    page->free_map |= bit;
    desc_list_add(page->free_map == DESC_ALL_FREE ? &desc_pool.empty : &desc_pool.usable, page);
    desc_pool.live--;
    port_unlock(&desc_pool.lock, irq);
}

void span_drain(void)
{
    unsigned long irq = port_lock(&desc_pool.lock);
    struct desc_page *page = desc_pool.empty;

    desc_pool.empty = NULL;
    for (struct desc_page *each = page; each != NULL; each = each->next)
        desc_pool.pages--;
    port_unlock(&desc_pool.lock, irq);

    while (page != NULL) {
        struct desc_page *next = page->next;

        page_free(page, 1);
        page = next;
    }
}

size_t span_desc_live(void)
{
    unsigned long irq = port_lock(&desc_pool.lock);
    size_t live = desc_pool.live;

    port_unlock(&desc_pool.lock, irq);
    return live;
}

size_t span_desc_bytes(void)
{
    unsigned long irq = port_lock(&desc_pool.lock);
    size_t bytes = desc_pool.pages * PAGE_BYTES;

    port_unlock(&desc_pool.lock, irq);
    return bytes;
}
