/* Items on their way from one CPU to another: one sender, one receiver. */
#pragma once

#include "tests/soak/soak.h"

#define RING_ITEMS 32u

struct ring {
    struct soak_item items[RING_ITEMS];
    _Atomic unsigned put;   /* [A] by the sender; release */
    _Atomic unsigned taken; /* [A] by the receiver; release */
};

/* Full: the item stays. */
static inline void ring_put(struct ring *ring, struct soak_item *item)
{
    unsigned put = atomic_load_explicit(&ring->put, memory_order_relaxed);

    if (put - atomic_load_explicit(&ring->taken, memory_order_acquire) == RING_ITEMS)
        return;
    ring->items[put % RING_ITEMS] = *item;
    item->kind = SOAK_NONE;
    item->addr = NULL;
    atomic_store_explicit(&ring->put, put + 1, memory_order_release);
}

static inline bool ring_take(struct ring *ring, struct soak_item *item)
{
    unsigned taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);

    if (taken == atomic_load_explicit(&ring->put, memory_order_acquire))
        return false;
    *item = ring->items[taken % RING_ITEMS];
    atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
    return true;
}
