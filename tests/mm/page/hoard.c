#include "tests/mm/page/hoard.h"
#include "mm/page/page.h"

struct hoard {
    struct hoard *next;
    size_t pages;
};

struct hoard *hoard_all_but(size_t leave)
{
    struct hoard *first = NULL;
    size_t pages = SIZE_MAX;

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
}
