#include "tests/mm/page/run_list.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"

size_t run_list_find(const struct run_list *list, size_t pages, size_t align, size_t from,
                     size_t limit)
{
    for (size_t i = 0; i < list->count; i++) {
        struct run run = list->runs[i];
        size_t end = MIN(run.page + run.pages, limit);
        size_t at = ALIGN_UP(MAX(run.page, from), align);

        if (at < end && end - at >= pages)
            return at;
    }
    return RUN_LIST_NONE;
}

/* Index of the first run that ends above `page`. */
static size_t run_list_index(const struct run_list *list, size_t page)
{
    size_t i = 0;

    while (i < list->count && list->runs[i].page + list->runs[i].pages <= page)
        i++;
    return i;
}

bool run_list_is_free(const struct run_list *list, size_t page, size_t pages)
{
    size_t i = run_list_index(list, page);

    return i < list->count && list->runs[i].page <= page &&
           page + pages <= list->runs[i].page + list->runs[i].pages;
}

static void run_list_remove(struct run_list *list, size_t i)
{
    list->count--;
    memmove(&list->runs[i], &list->runs[i + 1], (list->count - i) * sizeof(list->runs[0]));
}

static void run_list_insert(struct run_list *list, size_t i, size_t page, size_t pages)
{
    CHECK(list->count < RUN_LIST_MAX);
    memmove(&list->runs[i + 1], &list->runs[i], (list->count - i) * sizeof(list->runs[0]));
    list->runs[i] = (struct run){page, pages};
    list->count++;
}

void run_list_take(struct run_list *list, size_t page, size_t pages)
{
    size_t i = run_list_index(list, page);
    struct run run = list->runs[i];

    CHECK(run_list_is_free(list, page, pages));
    list->free_pages -= pages;
    run_list_remove(list, i);
    if (run.page + run.pages > page + pages)
        run_list_insert(list, i, page + pages, run.page + run.pages - page - pages);
    if (run.page < page)
        run_list_insert(list, i, run.page, page - run.page);
}

void run_list_put(struct run_list *list, size_t page, size_t pages)
{
    size_t i = run_list_index(list, page);

    list->free_pages += pages;
    if (i < list->count && list->runs[i].page == page + pages) {
        pages += list->runs[i].pages;
        run_list_remove(list, i);
    }
    if (i > 0 && list->runs[i - 1].page + list->runs[i - 1].pages == page) {
        list->runs[i - 1].pages += pages;
        return;
    }
    run_list_insert(list, i, page, pages);
}

size_t run_list_longest(const struct run_list *list)
{
    size_t longest = 0;

    for (size_t i = 0; i < list->count; i++)
        longest = MAX(longest, list->runs[i].pages);
    return longest;
}
