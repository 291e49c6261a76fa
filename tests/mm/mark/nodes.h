/*
 * What the tests of the marker mark: kmalloc's objects, of which those of a test are told from all
 * others by a word at their start.
 */
#pragma once

#include "kernel/base/string.h"
#include "mm/mark/mark.h"
#include "mm/slab/central.h"
#include "mm/slab/slab.h"

#define NODE_TAG   0x6e6f64655f746167ull
#define NODE_LINKS 2u

/* An object of a test; the rest of its slot is zero: what an object before it left there counts. */
struct node {
    uint64_t tag; /* NODE_TAG ^ the object's address */
    struct node *links[NODE_LINKS];
    uint64_t number;
};

static inline bool node_is_node(const struct node *node)
{
    return node->tag == (NODE_TAG ^ (uintptr_t)node);
}

/* In a span: objects of the guard pool are taken out of its way meanwhile. */
static inline struct node *node_alloc(size_t bytes)
{
    struct node *guarded = NULL, *node;

    while ((node = kzalloc(bytes)) != NULL && span_of(node) == NULL) {
        node->links[0] = guarded;
        guarded = node;
    }
    while (guarded != NULL) {
        struct node *next = guarded->links[0];

        kfree(guarded);
        guarded = next;
    }
    return node;
}

static inline struct node *node_new(size_t bytes, struct node *left, struct node *right)
{
    struct node *node = node_alloc(bytes);

    if (node == NULL)
        return NULL;
    memset(node, 0, ksize(node));
    *node = (struct node){NODE_TAG ^ (uintptr_t)node, {left, right}, 0};
    return node;
}

static inline void node_free(struct node *node)
{
    node->tag = 0;
    kfree(node);
}

static inline void list_free(struct node *list)
{
    while (list != NULL) {
        struct node *next = list->links[0];

        node_free(list);
        list = next;
    }
}

/* ---- What is marked: nodes only, in any span ---- */

static inline bool nodes_shape(const struct span *span, struct mark_shape *out)
{
    if (span->owner == NULL)
        *out = (struct mark_shape){.scan_bytes = span_bytes(span)};
    else
        *out = (struct mark_shape){central_of(span)->object_shift, central_of(span)->object_bytes};
    return true;
}

static inline const struct node *nodes_at(const struct span *span, unsigned slot)
{
    if (span->owner == NULL)
        return (const struct node *)span->base;
    return (const struct node *)((char *)span_slot(span, slot) + central_of(span)->object_shift);
}

extern unsigned nodes_no_slot; /* slots asked for that there are not */

static inline bool nodes_is_live(const struct span *span, unsigned slot)
{
    nodes_no_slot += slot >= MAX(span_slot_count(span), 1u);
    return (span->owner == NULL || central_of(span)->object_bytes >= sizeof(struct node)) &&
           node_is_node(nodes_at(span, slot));
}

static const struct mark_heap nodes_heap = {nodes_shape, nodes_is_live};
