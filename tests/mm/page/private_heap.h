/*
 * A page heap of a test's own, over memory that does not exist: only its tables do, in pages of
 * the real heap.  So tests see maps with holes, of a terabyte, on a machine of 128 MiB.
 */
#pragma once

#include "mm/page/page.h"
#include "mm/page/page_heap.h"

struct private_heap {
    struct page_heap heap;
    void *tables; /* from page_alloc */
    size_t table_pages;
};

/* false: no memory for the tables. */
bool private_heap_create(struct private_heap *private, size_t page_limit);
void private_heap_destroy(struct private_heap *private);

/* The operations, each with the lock taken and released. */
void private_heap_add(struct private_heap *private, size_t page, size_t pages);
size_t private_heap_alloc(struct private_heap *private, size_t pages, size_t align, size_t limit);
bool private_heap_try_free(struct private_heap *private, size_t page, size_t pages);
void private_heap_free(struct private_heap *private, size_t page, size_t pages);
