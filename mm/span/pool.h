/*
 * Pools of equal pieces of metadata: span descriptors, magazines.  (The theory stands in
 * mm/span/pool.c.)
 */
#pragma once

#include "mm/port.h"

struct pool_page;

/* Lock letters: [C] constant, [L] lock. */
struct pool {
    port_lock_t lock;
    uint32_t piece_bytes;     /* [C] a power of two, 64 .. 1024; pieces are aligned to it */
    struct pool_page *usable; /* [L] pages with free pieces and others */
    struct pool_page *empty;  /* [L] pages with free pieces only */
    size_t pages;             /* [L] pages in the pool */
    size_t live;              /* [L] pieces taken */
    bool is_held;             /* [L] its pages stay its pages */
};

#define POOL_INIT(rank, bytes)                               \
    {                                                        \
        .lock = PORT_LOCK_INIT(rank), .piece_bytes = (bytes) \
    }

void *pool_take(
    struct pool *pool); /* a piece, contents undefined; NULL: memory is exhausted; irq */
void pool_give(struct pool *pool, void *piece); /* its pages may stay in the pool; irq */

/* Up to n pieces with one acquisition of the lock; returns how many.  And n back.  irq */
unsigned pool_take_many(struct pool *pool, unsigned n, void **out);
void pool_give_many(struct pool *pool, unsigned n, void *const *pieces);

/* Call fn for each page that has free pieces, [start, end); irq, nobody else in the pool meanwhile. */
void pool_each_page(struct pool *pool, void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                    void *arg);
/* From here on pool_drain does nothing, until it is told otherwise.  irq */
void pool_hold(struct pool *pool, bool is_held);
void pool_drain(struct pool *pool);   /* empty pages back to the page heap; irq */
size_t pool_live(struct pool *pool);  /* pieces taken; irq */
size_t pool_bytes(struct pool *pool); /* bytes of the pool's pages; irq */
