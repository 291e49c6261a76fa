#include "tests/mm/page/private_heap.h"

bool private_heap_create(struct private_heap *private, size_t page_limit)
{
    struct page_heap *heap = &private->heap;

    *heap = (struct page_heap){.lock = PORT_LOCK_INIT(PAGE_HEAP)};
    page_heap_shape(heap, page_limit);

    size_t block_pages = page_heap_blocks_bytes(heap) / PAGE_BYTES;
    size_t summary_pages = ALIGN_UP(page_heap_summaries_bytes(heap), PAGE_BYTES) / PAGE_BYTES;

    private->table_pages = block_pages + summary_pages;
    private->tables = page_alloc(private->table_pages, PAGE_ZERO);
    if (private->tables == NULL)
        return false;
    page_heap_place(heap, private->tables, (char *)private->tables + block_pages * PAGE_BYTES);
    return true;
}

void private_heap_destroy(struct private_heap *private)
{
    page_free(private->tables, private->table_pages);
}

void private_heap_add(struct private_heap *private, size_t page, size_t pages)
{
    unsigned long irq_state = page_heap_lock(&private->heap);

    page_heap_add(&private->heap, page, pages);
    page_heap_unlock(&private->heap, irq_state);
}

size_t private_heap_alloc(struct private_heap *private, size_t pages, size_t align, size_t limit)
{
    unsigned long irq_state = page_heap_lock(&private->heap);
    size_t page = page_heap_find(&private->heap, pages, align, limit);

    if (page != PAGE_NONE)
        page_heap_take(&private->heap, page, pages);
    page_heap_unlock(&private->heap, irq_state);
    return page;
}

bool private_heap_try_free(struct private_heap *private, size_t page, size_t pages)
{
    unsigned long irq_state = page_heap_lock(&private->heap);
    bool is_free = page_heap_put(&private->heap, page, pages);

    page_heap_unlock(&private->heap, irq_state);
    return is_free;
}

void private_heap_free(struct private_heap *private, size_t page, size_t pages)
{
    CHECK(private_heap_try_free(private, page, pages));
}
