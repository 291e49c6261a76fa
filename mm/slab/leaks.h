/*
 * Leaks: objects in use to which nothing refers.  (What counts as a reference, and where they are
 * looked for, stands in mm/slab/leaks.c.)
 */
#pragma once

#include "kernel/base/base.h"

#define KMEM_LEAKS_FAILED SIZE_MAX

/* A leaked object. */
struct kmem_leak {
    const void *object;
    size_t bytes;      /* of it; as ksize says */
    const char *cache; /* "kmalloc-64", "kmalloc-large", or the cache's name */
};

/*
 * kmem_leaks -- find the objects of kmalloc and kmem_caches to which nothing refers any more.
 *   found    NULL, or called for each, once, by address; interrupts are off and all other CPUs stand
 *            still meanwhile, so it is short, allocates and frees nothing, and waits for nobody
 *   returns  how many; KMEM_LEAKS_FAILED when there is no memory to mark with (found is not called)
 *   context  ordinary, no lock held; some 50 ns for each object, of all CPUs' time
 *
 * A pointer that is kept in another form (XORed, in part, as a physical address) is none; a number
 * that happens to be an address is one, and so is what an earlier user left in bytes of a slot that
 * its new one has not written to: so a leak may be missed.  So is an object of the guard pool
 * (guard_rate).  What leaked objects refer to, and nothing else does, has leaked too.
 */
size_t kmem_leaks(void (*found)(const struct kmem_leak *leak, void *arg), void *arg);

/*
 * kmem_leak_site -- where an object in use was allocated: return addresses, innermost first, into pcs[0 ..
 * max).  Returns how many; 0: not recorded, which takes slab_debug=trace, or sites for the innermost.
 * Any context.
 */
size_t kmem_leak_site(const void *object, uintptr_t *pcs, size_t max);

/* One line, and as many as the site has frames: "site not recorded" if none.  Any context. */
void kmem_leak_print(const struct kmem_leak *leak);
