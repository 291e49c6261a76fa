#include "tests/mm/page/hoard.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"

struct hoard {
    struct hoard *next;
    size_t pages;
};

static unsigned reserves_lifted;
static struct page_reserve reserves[PORT_NODE_MAX]; /* lifted */

static void reserve_set(struct page_heap *heap, struct page_reserve to)
{
    unsigned long irq_state = page_heap_lock(heap);

    heap->reserve = to;
    page_heap_unlock(heap, irq_state);
}

void reserves_lift(void)
{
    if (reserves_lifted++ > 0)
        return;
    for (unsigned node = 0; node < port_node_count(); node++) {
        reserves[node] = page_heaps[node].reserve;
        reserve_set(&page_heaps[node], (struct page_reserve){.device_end = PAGE_DMA_PAGES});
    }
}

void reserves_restore(void)
{
    CHECK(reserves_lifted > 0);
    if (--reserves_lifted > 0)
        return;
    for (unsigned node = 0; node < port_node_count(); node++)
        reserve_set(&page_heaps[node], reserves[node]);
}

struct hoard *hoard_all_but(size_t leave)
{
    struct hoard *first = NULL;
    size_t pages = SIZE_MAX;

    reserves_lift();
    for (size_t free; pages > 0 && (free = page_free_count()) > leave;) {
        pages = MIN(pages, free - leave);

        struct hoard *run = page_alloc(pages, 0);

        if (run == NULL) {
            pages /= 2;
            continue;
        }
        *run = (struct hoard){first, pages};
        first = run;
    }
    return first;
}

void hoard_free(struct hoard *hoard)
{
    while (hoard != NULL) {
        struct hoard *next = hoard->next;

        page_free(hoard, hoard->pages);
        hoard = next;
    }
    reserves_restore();
}
