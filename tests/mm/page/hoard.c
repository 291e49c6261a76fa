#include "tests/mm/page/hoard.h"
#include "mm/page/page.h"
#include "mm/page/reserve.h"

struct hoard {
    struct hoard *next;
    size_t pages;
};

static unsigned reserves_lifted;
static struct page_reserve reserves;

static void reserves_set(struct page_reserve to)
{
    unsigned long irq_state = page_heap_lock(&page_heap);

    page_reserve = to;
    page_heap_unlock(&page_heap, irq_state);
}

void reserves_lift(void)
{
    if (reserves_lifted++ > 0)
        return;
    reserves = page_reserve;
    reserves_set((struct page_reserve){.device_end = PAGE_DMA_PAGES});
}

void reserves_restore(void)
{
    CHECK(reserves_lifted > 0);
    if (--reserves_lifted == 0)
        reserves_set(reserves);
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
