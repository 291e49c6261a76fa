#include "tests/mm/page/zero_pages.h"
#include "kernel/stat.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"

bool zero_is_zero(const void *run, size_t pages)
{
    const uint64_t *words = run;

    for (size_t i = 0; i < pages * PAGE_BYTES / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

uint64_t zero_count_of(const char *name)
{
    return stat_read(stat_find("page", name));
}

size_t zero_number_of(const void *page)
{
    return ((uintptr_t)page - port_direct_base()) / PAGE_BYTES;
}

struct page_heap *zero_heap_of(const void *run)
{
    return page_heap_of(zero_number_of(run));
}

bool zero_is_near(const void *run)
{
    return zero_heap_of(run) == &page_heaps[port_cpu_node(port_cpu_id())];
}

size_t zero_count(void)
{
    return page_stats().zero_pages;
}

bool zero_ahead(void)
{
    bool has_more = false;

    for (unsigned node = 0; node < port_node_count(); node++)
        has_more |= page_zero_ahead(&page_heaps[node]);
    return has_more;
}

static bool may_zero_more(struct page_heap *heap)
{
    return page_heap_zero_pages(heap) < heap->zero_limit && heap->zero_pass.news != PAGE_ZERO_SEEN;
}

void zero_all_ahead(void)
{
    for (unsigned node = 0; node < port_node_count(); node++)
        while (may_zero_more(&page_heaps[node]))
            page_zero_ahead(&page_heaps[node]);
}
