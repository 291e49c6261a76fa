/*
 * The soak: a long seeded run of everything that the slab allocator does, on all CPUs at once, with
 * page_alloc beside it.  (What it does stands in tests/soak/soak.c.)
 *
 * Here: an item, which is one object or run of pages that must be live, and where it comes from.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/base/base.h"
#include "mm/slab/slab.h"
#include "tests/test.h"

#define SOAK_CPUS_MAX   8u   /* more stay idle */
#define SOAK_ITEMS      512u /* of a CPU */
#define SOAK_IRQ_ITEMS  32u  /* of a CPU's interrupt handler */
#define SOAK_BULK       100u /* more than two magazines */
#define SOAK_BULK_BYTES MIB  /* of a bulk, about */
#define SOAK_CACHES     6u   /* that live as long as the soak */

struct soak_cache {
    struct kmem_cache *cache; /* [P] the CPU's that made it; NULL: none now */
    size_t bytes, align;
    unsigned flags;
    bool has_ctor;
    bool is_closing;      /* nothing more from it */
    _Atomic size_t items; /* [A] live; release on free, acquire where it is to be destroyed */
};

enum soak_kind {
    SOAK_NONE,
    SOAK_SIZED, /* kfree_sized knows its bytes */
    SOAK_PLAIN, /* kfree only */
    SOAK_CACHED,
    SOAK_PAGES,
};

struct soak_item {
    enum soak_kind kind;
    void *addr;
    size_t bytes;
    uint64_t tag;             /* of the pattern in it */
    struct soak_cache *cache; /* SOAK_CACHED */
};

/* Who works: a CPU, or its interrupt handler. */
struct soak_worker {
    struct test *t;
    uint64_t random;
    unsigned alloc_percent; /* of an empty item's turns */
    bool has_few_sizes;     /* all of four classes */
    unsigned failures;      /* NULLs since it was last set to 0 */
    size_t failed_bytes;    /* of an item that last was NULL */
    struct soak_cache *caches;
    struct soak_cache *own; /* comes and goes; NULL: none */
};

static inline size_t soak_random(struct soak_worker *worker, size_t below)
{
    return (random_next(&worker->random) >> 16) % below;
}

/* Fill an empty item; where there is no memory it stays empty, and failures counts it.  irq */
void soak_item_alloc(struct soak_worker *worker, struct soak_item *item);
void soak_item_alloc_bulk(struct soak_worker *worker, struct soak_item *items, size_t n);

/* An object that the worker has got of a cache by another way. */
void soak_item_adopt(struct soak_worker *worker, struct soak_item *item, struct soak_cache *cache,
                     void *object);

/* Check what is in it, give it back, by one of the ways that there are; the item is empty then. */
void soak_item_free(struct soak_worker *worker, struct soak_item *item);
void soak_item_free_bulk(struct soak_worker *worker, struct soak_item *items, size_t n);

/* krealloc, where the item's kind has that. */
void soak_item_resize(struct soak_worker *worker, struct soak_item *item);

bool soak_item_holds(struct soak_worker *worker, const struct soak_item *item);

/* Make a cache of the given shape, or of a random one; false: no memory.  Ordinary context. */
bool soak_cache_create(struct soak_cache *cache, const char *name);
bool soak_cache_create_random(struct soak_worker *worker, struct soak_cache *cache);
