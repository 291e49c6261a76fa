/*
 * The kernel's page heaps, one for each node of memory, and which page is whose.
 *
 *     node 0            node 1                 each a struct page_heap of its own: lock, blocks,
 *     [c][c][c][c][c]   [c][c][c][c] ...       tree; tables by physical address, backed where
 *     0             5   5                      that node has memory
 *
 * A page is taken from the nearest node that has a run, and given back to the heap of its own node,
 * whoever frees it.  So a heap knows nothing of the others, no lock is held while another is taken,
 * and a run never lies on two nodes.
 *
 * Nodes begin and end at chunks: a chunk that lies on two belongs to the one that has its first
 * byte.  Where a chunk is, is found in a table of parts, ascending, with one entry where there is
 * one node.
 */
#pragma once

#include "mm/page/page_heap.h"

extern struct page_heap page_heaps[PORT_NODE_MAX]; /* by node */
extern unsigned page_node_count;                   /* [C] from page_nodes_init on: the port's */

struct node_part {
    size_t end; /* [C] page number above it, whole chunks */
    struct page_heap *heap;
};

/* [C] from page_nodes_init on; each begins where the one before ends, and the last never ends. */
extern struct node_part node_parts[PORT_NODE_PARTS_MAX];

/* Ask the port for the nodes, and give each an empty heap without tables.  page_heap_init. */
void page_nodes_init(void);

/*
 * page_node_of -- the node of a page.  Any context.
 *   end  NULL, or out: all pages from this one to below *end are on it
 */
unsigned page_node_of(size_t page, size_t *end);

/* The heap that has, or would have, a page.  Any context. */
static inline struct page_heap *page_heap_of(size_t page)
{
    if (LIKELY(page < node_parts[0].end))
        return node_parts[0].heap;
    return &page_heaps[page_node_of(page, NULL)];
}

/* The nth nearest to a node, 0 .. port_node_count() - 1; the 0th is itself.  Any context. */
struct page_heap *page_node_near(unsigned node, unsigned nth);

/* The nth nearest to this CPU.  Interrupts are off. */
static inline struct page_heap *page_heap_near(unsigned nth)
{
    if (LIKELY(page_node_count == 1))
        return &page_heaps[0];
    return page_node_near(port_cpu_node(port_cpu_id()), nth);
}

/* [C] from page_heap_start on: by node, pages of memory, be they open yet or not. */
extern size_t page_node_pages[PORT_NODE_MAX];

/* Pages of memory on all nodes, and a node's part of an amount that all share by it.  Start-up. */
size_t page_nodes_memory(void);
size_t page_node_share(const struct page_heap *heap, size_t amount);
