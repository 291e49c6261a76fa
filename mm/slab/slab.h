/*
 * The slab allocator: layer 3, speaks bytes.  (The theory stands in mm/slab/slab.c.)
 *
 * All functions work in interrupt handlers and with interrupts off, on every CPU.  Any CPU may
 * free what another allocated.  Misuse (double free, free of what is no object, wrong size, wrong
 * cache) is reported and panics; exhaustion gives NULL and changes nothing.
 */
#pragma once

#include "mm/mm.h"

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
void *kzalloc(size_t bytes);           /* zeroed */
void *kcalloc(size_t n, size_t bytes); /* n * bytes, zeroed; NULL when the product overflows */

/* align: a power of two, up to CHUNK_BYTES; NULL for any other. */
void *kmalloc_aligned(size_t bytes, size_t align);

/*
 * krealloc -- change an object's size, in place while its size class stays; contents are kept up
 * to the smaller size.  p NULL: as kmalloc.  bytes 0: frees p, gives NULL.  NULL otherwise:
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
 * A cache of objects of one size, in spans of its own.
 *   name   kept by reference
 *   bytes  1 .. KMALLOC_SMALL_MAX
 *   align  a power of two up to PAGE_BYTES, or 0: as kmalloc
 *   ctor   NULL, or called once per slot when its span is made; objects are freed in constructed
 *          state and handed out again in it
 *   flags  0
 * NULL when an argument is out of range or memory is exhausted.  Ordinary context for create and
 * destroy; irq for alloc and free.
 */
struct kmem_cache;
struct kmem_cache *kmem_cache_create(const char *name, size_t bytes, size_t align,
                                     void (*ctor)(void *), unsigned flags);
void *kmem_cache_alloc(struct kmem_cache *cache);
void kmem_cache_free(struct kmem_cache *cache, void *object);
void kmem_cache_destroy(struct kmem_cache *cache); /* panics while objects are live, saying so */

/* ---- Reports ---- */

/* One row per size class and per kmem_cache. */
struct slab_class_stats {
    const char *name; /* "kmalloc-64" or the cache's name */
    size_t slot_bytes;
    size_t spans;
    size_t slots;    /* in these spans */
    size_t live;     /* handed out */
    size_t magazine; /* in magazines */
    size_t span_bytes;
    uint64_t allocs, frees; /* since start, as far as counted: batches and slow paths only count
                               when magazines flush; exact after mm_drain */
};

size_t slab_class_count(void);                                   /* rows */
bool slab_class_stats(size_t row, struct slab_class_stats *out); /* false: no such row (any more) */

/* All of it; irq, exact when nothing else runs. */
struct slab_stats {
    size_t object_bytes;   /* in use: slots and large objects */
    size_t magazine_bytes; /* free slots in magazines */
    size_t central_bytes;  /* free slots in spans, tails included */
    size_t cache_bytes;    /* pages of kmem_caches and of their magazines, from page_alloc */
    size_t static_bytes;   /* centrals, and the percpu magazines of CPUs that run */
    size_t large_objects;  /* large objects in use */
    size_t large_bytes;    /* of object_bytes: in these */
    uint64_t large_allocs; /* large objects handed out since start */
};
struct slab_stats slab_stats(void);

/* ---- For the rest of mm/ ---- */

void slab_init(void);
void slab_drain_this_cpu(void *unused); /* this CPU's magazines back to central; irq */
void slab_drain_all(void);              /* every CPU's, then empty spans to the heap; ordinary */
void slab_check(void);
