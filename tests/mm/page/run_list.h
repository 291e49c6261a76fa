/*
 * The naive model of a page heap: its free runs, sorted, in an array.  Every operation is a walk
 * over all of them.
 */
#pragma once

#include "kernel/base/base.h"

#define RUN_LIST_MAX  8192u
#define RUN_LIST_NONE SIZE_MAX

struct run_list {
    size_t count;
    size_t free_pages;
    struct run {
        size_t page, pages;
    } runs[RUN_LIST_MAX];
};

/* The lowest run at or above `from` that ends at or below `limit`, RUN_LIST_NONE if none. */
size_t run_list_find(const struct run_list *list, size_t pages, size_t align, size_t from,
                     size_t limit);
bool run_list_is_free(const struct run_list *list, size_t page, size_t pages); /* all of it */
void run_list_take(struct run_list *list, size_t page, size_t pages);
void run_list_put(struct run_list *list, size_t page, size_t pages);
size_t run_list_longest(const struct run_list *list);
