/*
 * The slab allocator: layer 3, speaks bytes.  (The theory stands in mm/slab/slab.c.)
 *
 * All functions work in interrupt handlers and with interrupts off, on every CPU.  Any CPU may
 * free what another allocated.  Misuse (double free, free of what is no object, wrong size, wrong
 * cache) is reported and panics; exhaustion gives NULL and changes nothing.
 */
#pragma once

#include "mm/mm.h"
#include "mm/span/size_classes.h"

#define KMALLOC_SMALL_MAX 32768ul /* larger requests get a span of their own */

/*
 * kmalloc -- take an object.
 *   bytes    1 .. memory; 0 gives NULL
 *   returns  16-byte aligned from 16 bytes up (8 below); a size that is a power of two is naturally
 *            aligned up to a page; contents undefined; NULL when memory is exhausted
 *   context  irq
 *   pairs    kfree(p), kfree_sized(p, bytes)
 */
void *kmalloc(size_t bytes);
/* Of a constant size the class is known to the compiler. */
#define kmalloc(bytes)                                                                         \
    (__builtin_constant_p(bytes) && (size_t)(bytes)-1 < KMALLOC_SMALL_MAX                      \
         ? kmalloc_of_class(size_class_of_constant(__builtin_constant_p(bytes) ? (bytes) : 1), \
                            (bytes))                                                           \
         : (kmalloc)(bytes))
void *kmalloc_of_class(size_t class,
                       size_t bytes); /* 1 .. SIZE_CLASS_COUNT - 1; what the macro calls */

void *kzalloc(size_t bytes);           /* zeroed */
void *kcalloc(size_t n, size_t bytes); /* n * bytes, zeroed; NULL when the product overflows */

/* align: a power of two, up to CHUNK_BYTES; NULL for any other.  Not for kfree_sized. */
void *kmalloc_aligned(size_t bytes, size_t align);

/*
 * krealloc -- change an object's size, in place while its size class stays, or a large object's into
 * free pages behind it; contents are kept up to the smaller size.  p NULL: as kmalloc.  bytes 0: frees p, gives NULL.  NULL otherwise:
 * exhausted, p stands unchanged.
 */
void *krealloc(void *p, size_t bytes);

void kfree(void *p);                     /* NULL does nothing; objects of kmem_caches too */
void kfree_sized(void *p, size_t bytes); /* bytes as requested of kmalloc, kzalloc, kcalloc or
                                            krealloc; checked */
size_t ksize(const void *p);             /* usable bytes of the object; 0 for NULL */

/* n objects at once: returns how many it could get, out[0 .. that) */
size_t kmalloc_bulk(size_t bytes, size_t n, void **out);
void kfree_bulk(size_t n, void **p);

/*
 * A cache of objects of one size.
 *   name   kept by reference
 *   bytes  1 .. KMALLOC_SMALL_MAX
 *   align  a power of two up to PAGE_BYTES, or 0: as kmalloc; with a constructor 16 at most then
 *   ctor   NULL, or called once per slot when its span is made; objects are freed in constructed
 *          state and handed out again in it
 *   flags  enum kmem_cache_flags
 * NULL when an argument is out of range or memory is exhausted.  Ordinary context for create and
 * destroy; irq for alloc and free.
 */
enum kmem_cache_flags {
    KMEM_CACHE_SHARE = 1, /* in kmalloc's spans of that size: no constructor, no limit.  Without it
                              a cache has spans of its own, and its free slots mix with no others */
    KMEM_CACHE_DMA = 2,   /* objects lie below physical 16 MiB */
    KMEM_CACHE_DMA32 = 4, /* below 4 GiB */
    KMEM_CACHE_FLAGS = 7,
};

struct kmem_cache;
struct kmem_cache *kmem_cache_create(const char *name, size_t bytes, size_t align,
                                     void (*ctor)(void *), unsigned flags);
void *kmem_cache_alloc(struct kmem_cache *cache);
void kmem_cache_free(struct kmem_cache *cache, void *object); /* NULL does nothing */
void kmem_cache_destroy(struct kmem_cache *cache); /* panics while objects are live, saying so */

/* n objects at once: returns how many it could get, out[0 .. that) */
size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, size_t n, void **out);
void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **objects);

/*
 * kmem_cache_prefill -- hold n objects ready, for code that must not fail once it has taken a lock.
 *   returns  NULL when memory is exhausted; nothing has changed then
 *   context  irq
 *   pairs    kmem_prefill_release
 */
struct kmem_prefill;
struct kmem_prefill *kmem_cache_prefill(struct kmem_cache *cache, size_t n);
void *kmem_prefill_take(struct kmem_prefill *prefill); /* never NULL for the first n; its user's
                                                          own to keep apart, as any object */
size_t kmem_prefill_left(const struct kmem_prefill *prefill);
void kmem_prefill_release(struct kmem_prefill *prefill); /* frees what is left; NULL: nothing */

/* ---- Reports ---- */

/* One row per size class, and per kmem_cache that has its own spans. */
struct slab_class_stats {
    const char *name; /* "kmalloc-64" or the cache's name */
    size_t slot_bytes;
    size_t spans;
    size_t slots;    /* in these spans */
    size_t live;     /* handed out */
    size_t magazine; /* in CPUs' magazines */
    size_t depot;    /* in the depot's */
    size_t span_bytes;
    uint64_t taken, given; /* slots that went from spans to CPUs since start, and came back: what
                              magazines and depots did not absorb */
};

size_t slab_class_count(void);                                   /* rows */
bool slab_class_stats(size_t row, struct slab_class_stats *out); /* false: no such row (any more) */

/* All of it; irq, exact when nothing else runs. */
struct slab_stats {
    size_t object_bytes;   /* in use: slots and large objects */
    size_t magazine_bytes; /* free slots in CPUs' magazines, and large objects that CPUs keep */
    size_t depot_bytes;    /* free slots in depots' magazines */
    size_t central_bytes;  /* free slots in spans, tails included */
    size_t cache_bytes;    /* pages of kmem_caches and of all magazines, from page_alloc */
    size_t static_bytes;   /* centrals, and what CPUs that run have of their magazines */
    size_t large_objects;  /* large objects in use */
    size_t large_bytes;    /* of object_bytes: in these */
    uint64_t large_allocs; /* large objects handed out since start */
};
struct slab_stats slab_stats(void);

/* ---- For the rest of mm/ ---- */

void slab_init(void);
void slab_open(void);                    /* all of memory is open */
void slab_drain_this_cpu(void *unused);  /* this CPU's magazines back to central; irq */
void slab_drain_all(void);               /* every CPU's and depots, then empty spans; ordinary */
void slab_trim_depots(size_t magazines); /* so many at most back to their spans; irq */
void slab_check(void);
