/* What the files of mm/slab/ share. */
#pragma once

#include "mm/slab/central.h"
#include "mm/slab/slab.h"

/* A page of its own, but for what a cache that shares takes from a size class. */
struct kmem_cache {
    uint64_t key;            /* [C] of the spans whose slots the fast path may free; or of none */
    uint32_t index;          /* [C] of the magazines for the fast path; 0: it shall miss */
    struct central *central; /* [C] its own, or a size class's */
    const char *name;        /* [C] */
    struct kmem_cache *next; /* [L] slab_caches.lock: the list of caches */
    struct central own;      /* all zero when it shares */
};

/* What may be cached, by how much memory there is.  [A] relaxed; set when memory opens. */
struct slab_limits {
    _Atomic size_t depot_bytes; /* slots in all depots */
    _Atomic size_t cpu_bytes;   /* slots that one CPU's magazines may hold */
};
extern struct slab_limits slab_limits;

/* Bytes of spans, the most since a drain, or since about a second of some CPU's idle time. */
extern _Atomic size_t slab_most; /* [A] relaxed */

/* A key that no span has. */
#define CACHE_NO_KEY (0xffffull * SPAN_KEY_UNIT)

struct slab_cache_list {
    port_lock_t lock;
    struct kmem_cache *first; /* [L] */
};

extern struct slab_cache_list slab_caches;

/* The first cache from there on that has spans of its own; NULL: none.  The list's lock is held. */
static inline struct kmem_cache *slab_own_from(struct kmem_cache *cache)
{
    while (cache != NULL && cache->central != &cache->own)
        cache = cache->next;
    return cache;
}

extern struct central slab_centrals[SIZE_CLASS_COUNT]; /* [0] is not used */

/* By index in a CPU's magazines; NULL: not in use.  [A] acquire / release */
extern struct central *_Atomic slab_by_index[SLAB_INDEX_MAX];

/* ---- Slow paths, mm/slab/slab.c ---- */

/*
 * slab_alloc_slow -- hand out a slot, by way of this CPU's magazine if it may have one; drains
 * everybody's caches before it gives up.
 *   bytes    asked for
 *   caller   return address of the public function
 *   returns  the object, its slot's token consumed; NULL when memory is exhausted
 *   context  irq
 */
void *slab_alloc_slow(struct central *central, size_t bytes, uintptr_t caller);

/*
 * slab_free_slow -- free a slot of `central` of which the caller has found that it has no token (by
 * now it may, kernel/base/seq_magazine.h).  irq
 */
void slab_free_slow(const char *name, struct central *central, void *slot, uintptr_t caller);

/* In a public function, where it leaves its fast path: for whom it works. */
#define SLAB_CALLER ((uintptr_t)__builtin_return_address(0))

/* What all slots of a class are aligned to: as their size is, up to a page. */
static inline size_t size_class_align(unsigned class)
{
    size_t bytes = size_class_layout[class].slot_bytes;

    return MIN(bytes & -bytes, (size_t)PAGE_BYTES);
}

/* Memory is exhausted: give back what may be given back in this context.  irq */
void slab_reclaim(void);

/* Call fn(central) for every class and cache.  irq; fn must not take SLAB_CACHES. */
void slab_each_central(void (*fn)(struct central *));

/* A number below n, by the seed; 0 where slab_random=0.  Interrupts off. */
unsigned slab_random(unsigned n);
void slab_shuffle(unsigned n, void **slots); /* likewise */

/* A random number below n, whatever slab_random is.  Interrupts off. */
unsigned slab_throw(unsigned n);

/* ---- Guard sampling, mm/slab/sample.c ---- */

/* This CPU has got so many slots of `central`: is the object at hand to be guarded?  Interrupts off. */
bool slab_sample(const struct central *central, unsigned allocations);
bool slab_sample_is_dense(void); /* so often that magazines would be for nothing */

/* An object from the guard pool; NULL: none for this central, or the pool has none.  irq */
void *slab_guarded(struct central *central, size_t bytes);

/* The central whose slots these are: not of a large object. */
static inline void *slab_slot_of(const struct central *central, const void *object)
{
    return (void *)((uintptr_t)object - central->object_shift); /* of NULL, too */
}

/* ---- This CPU's magazines, mm/slab/magazine.c; interrupts off ---- */

/* May this CPU have a magazine of it now? */
bool magazine_may_cache(const struct central *central);

/* The loaded magazine is empty, or none: put one with slots there.  False: there are none. */
bool magazine_refill(struct central *central);

/*
 * magazine_make_room -- the loaded magazine is full, or none: put one with room there.
 *   surplus  slots that must go to their spans, when interrupts are as they were; 0: none
 *   returns  false: there is no memory for a magazine
 */
bool magazine_make_room(struct central *central, magazine_t *surplus);

/* Slots of a magazine that this CPU has taken off to their spans.  irq */
void magazine_flush(struct central *central, magazine_t magazine);
void magazine_free(struct seq_magazine *block); /* an empty one; irq */

void magazine_drain(struct central *central); /* this CPU's, to spans; irq */
void magazine_drain_empties(void);            /* this CPU's empty ones, to their pool; irq */
void magazine_pool_drain(void);
size_t magazine_pool_bytes(void);
void magazine_pool_each_page(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg);

/* ---- Large objects, mm/slab/large.c ---- */

void *slab_large_alloc(size_t bytes, size_t align_pages, unsigned page_flags,
                       uintptr_t caller);         /* irq */
void slab_large_free(struct span *span, void *p); /* irq */
bool slab_large_is_kept(void);                    /* does this CPU keep any?  Interrupts off */
void slab_large_drain(void);                      /* this CPU's; irq */

/* More granules for an object, where it is; false: it does not grow, or not there.  irq */
bool slab_large_resize(struct span *span, size_t bytes);

struct slab_large_stats {
    size_t live;       /* objects */
    size_t live_bytes; /* of their spans */
    size_t kept_bytes; /* of spans that CPUs keep */
    uint64_t allocs;   /* since start */
};
struct slab_large_stats slab_large_stats(void);

/* ---- Misuse, mm/slab/report.c ---- */

enum slab_misuse {
    SLAB_DOUBLE_FREE,
    SLAB_USE_AFTER_FREE,
    SLAB_NOT_START,
    SLAB_NOT_HEAP,
    SLAB_COLLECTED,
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

/* Print what is known about an address. */
void slab_report_address(const void *addr);

/* kmem_cache_destroy of a cache with that many live objects. */
NORETURN COLD void slab_misuse_destroy(const struct central *central, size_t live);
