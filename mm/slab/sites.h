/*
 * Sites (slab_debug=s): which places of the program hold how many objects and bytes, as Linux's
 * /proc/allocinfo tells.  A site is the return address of a call of kmalloc or one of its family; an
 * object is counted at the site that allocated it until it is freed, whoever frees it.
 *
 * Sites are found by a hash of their address, without a lock, and are never removed.  Their memory
 * comes from the page heap, in steps; where there is none, what is allocated at a new site is counted
 * at one that stands for all such.
 *
 * Locks: SITES for those not used yet.
 */
#pragma once

#include "mm/port.h"

struct slab_site {
    uintptr_t address;       /* [C] return address; 0: for all that have none of their own */
    struct slab_site *next;  /* [C] in its bucket, once findable; [SITES] before */
    _Atomic size_t live;     /* [A] relaxed: objects */
    _Atomic size_t bytes;    /* [A] relaxed: asked for, of these; a large object's span */
    _Atomic uint64_t allocs; /* [A] relaxed: objects since start */
};

void slab_sites_init(void); /* once, before the first site: room for some; none is no failure */

/* The site of an address, made when it is new.  Never NULL.  irq */
struct slab_site *slab_site_of(uintptr_t address);

static inline void slab_site_add(struct slab_site *site, size_t bytes)
{
    atomic_fetch_add_explicit(&site->live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&site->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&site->allocs, 1, memory_order_relaxed);
}

static inline void slab_site_sub(struct slab_site *site, size_t bytes)
{
    atomic_fetch_sub_explicit(&site->live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&site->bytes, bytes, memory_order_relaxed);
}

/* An object of it has changed its size. */
static inline void slab_site_resize(struct slab_site *site, size_t from, size_t to)
{
    atomic_fetch_add_explicit(&site->bytes, to - from, memory_order_relaxed);
}

size_t slab_sites_count(void); /* findable ones, that for all others included; irq */

/*
 * slab_sites_print -- a line for each site with live objects, most bytes first, and one for all.
 *   returns  false when there was no memory to sort them: printed as they come
 *   context  ordinary
 */
bool slab_sites_print(void);
