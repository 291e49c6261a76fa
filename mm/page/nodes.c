/* Page heaps by node (mm/page/nodes.h). */
#include "mm/page/nodes.h"

struct page_heap page_heaps[PORT_NODE_MAX];
unsigned page_node_count;
size_t page_node_pages[PORT_NODE_MAX];

struct node_part node_parts[PORT_NODE_PARTS_MAX];
static size_t node_part_count; /* [C] likewise */

/* [C] by node: all nodes, nearest first, lower numbers first where two are as near. */
static uint8_t node_order[PORT_NODE_MAX][PORT_NODE_MAX];
_Static_assert(PORT_NODE_MAX <= UINT8_MAX, "a node is a byte");

static void nodes_read_parts(void)
{
    size_t at = 0;

    node_part_count = 0;
    while (at < MM_PHYS_BYTES) {
        uint64_t end;
        unsigned node = port_node_of(at, &end);
        struct node_part *last = node_part_count > 0 ? &node_parts[node_part_count - 1] : NULL;

        CHECK(node < port_node_count() && end > at);
        end = end < MM_PHYS_BYTES ? ALIGN_UP(end, CHUNK_BYTES) : MM_PHYS_BYTES;
        if (last == NULL || last->heap != &page_heaps[node]) {
            CHECK(node_part_count < PORT_NODE_PARTS_MAX);
            last = &node_parts[node_part_count++];
        }
        *last = (struct node_part){end / PAGE_BYTES, &page_heaps[node]};
        at = end;
    }
    node_parts[node_part_count - 1].end = SIZE_MAX;
}

static void nodes_read_order(unsigned from)
{
    uint8_t *order = node_order[from];

    for (unsigned node = 0; node < port_node_count(); node++) {
        unsigned place = node;

        for (; place > 0; place--) {
            unsigned before = order[place - 1];

            if (node != from && (before == from || port_node_distance(from, before) <=
                                                       port_node_distance(from, node)))
                break;
            order[place] = (uint8_t)before;
        }
        order[place] = (uint8_t)node;
    }
}

void page_nodes_init(void)
{
    page_node_count = port_node_count();
    nodes_read_parts();
    for (unsigned node = 0; node < port_node_count(); node++) {
        page_heaps[node] = (struct page_heap){.lock = PORT_LOCK_INIT(PAGE_HEAP)};
        nodes_read_order(node);
    }
}

unsigned page_node_of(size_t page, size_t *end)
{
    size_t low = 0, high = node_part_count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (page < node_parts[middle].end)
            high = middle;
        else
            low = middle + 1;
    }
    if (end != NULL)
        *end = node_parts[low].end;
    return (unsigned)(node_parts[low].heap - page_heaps);
}

struct page_heap *page_node_near(unsigned node, unsigned nth)
{
    return &page_heaps[node_order[node][nth]];
}

size_t page_nodes_memory(void)
{
    size_t pages = 0;

    for (unsigned node = 0; node < port_node_count(); node++)
        pages += page_node_pages[node];
    return pages;
}

/* By chunks: a product of two numbers of pages may not fit. */
size_t page_node_share(const struct page_heap *heap, size_t amount)
{
    return amount * (page_node_pages[heap - page_heaps] / CHUNK_PAGES) /
           MAX(page_nodes_memory() / CHUNK_PAGES, 1ul);
}
