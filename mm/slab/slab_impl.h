/* What the files of mm/slab/ share. */
#pragma once

#include "mm/slab/central.h"
#include "mm/slab/slab.h"

/* A page of its own; magazines come in pages too, when a CPU first needs one. */
struct kmem_cache {
    struct central central;
    struct kmem_cache *next; /* [L] slab_caches.lock: the list of caches */
    size_t magazine_pages;   /* [L] central.lock: pages of magazines */
    _Atomic uint64_t allocs; /* [A] relaxed: objects handed out without a magazine */
    _Atomic(struct magazine *)
        magazines[PORT_CPU_MAX]; /* [A] acquire / release, by CPU; never NULL:
                                                           at first &cache_no_magazine */
};

struct slab_cache_list {
    port_lock_t lock;
    struct kmem_cache *first; /* [L] */
    size_t count;             /* [L] */
};

extern struct slab_cache_list slab_caches;
extern struct central slab_centrals[SIZE_CLASS_COUNT]; /* [0] is not used */

/* Full and empty: what stands for a magazine where there is no memory for one.  Never written. */
extern const struct magazine cache_no_magazine;

/* ---- Slow paths, mm/slab/slab.c ---- */

/*
 * slab_alloc_slow -- refill this CPU's magazine and hand out a slot; drains everybody's caches
 * before it gives up.  NULL when memory is exhausted.  irq
 */
NOINLINE void *slab_alloc_slow(struct central *central);

/* Free a slot of `central` that has passed slab_live_span; flushes half a full magazine.  irq */
NOINLINE void slab_free_slow(struct central *central, void *slot);

/* Up to n slots, n <= MAGAZINE_SLOTS, ready for use, from the magazine or the spans.  irq */
unsigned slab_alloc_batch(struct central *central, unsigned n, void **out);

/* Memory is exhausted: give back what may be given back in this context.  irq */
void slab_reclaim(void);

/* This CPU's magazine of a central.  Interrupts off. */
struct magazine *slab_magazine(struct central *central);
/* Another CPU's, to look at. */
const struct magazine *slab_magazine_of_cpu(const struct central *central, unsigned cpu);
void slab_drain_magazine(struct central *central); /* this CPU's, to central; irq */

/* Call fn(central) for every class and cache.  irq; fn must not take SLAB_CACHES. */
void slab_each_central(void (*fn)(struct central *));

static inline struct kmem_cache *slab_cache_of(const struct central *central)
{
    return CONTAINER_OF((struct central *)central, struct kmem_cache, central);
}

/* Large objects, mm/slab/kmalloc.c */
struct slab_large_stats {
    size_t live;
    size_t live_bytes;
    uint64_t allocs;
};
struct slab_large_stats slab_large_stats(void);

/* ---- Misuse, mm/slab/report.c ---- */

enum slab_misuse {
    SLAB_DOUBLE_FREE,
    SLAB_USE_AFTER_FREE,
    SLAB_NOT_START,
    SLAB_NOT_HEAP,
    SLAB_WRONG_SIZE,
    SLAB_WRONG_CACHE,
    SLAB_CORRUPT,
};

/* Print what is known about an address and panic; `caller` is the public function at fault. */
NORETURN COLD void slab_misuse(const char *caller, const void *addr, enum slab_misuse misuse);

/*
 * slab_live_span -- the span of an object that is in use; reports and panics for any other address.
 *   if_freed  what it is then: SLAB_DOUBLE_FREE or SLAB_USE_AFTER_FREE
 */
struct span *slab_live_span(const char *caller, const void *object, enum slab_misuse if_freed);

/* kmem_cache_destroy finds `live` objects: print some of them and panic. */
NORETURN COLD void slab_misuse_destroy(const struct central *central, size_t live);
