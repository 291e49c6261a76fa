/* What the tests of debugged slots share: caches with checks of their own, and objects by number. */
#pragma once

#include "mm/slab/debug.h"
#include "tests/test.h"

/*
 * A cache with these checks (letters of slab_debug=; "0": none) and no others, whatever the machine
 * runs with.  name without commas, up to 20 bytes.
 */
struct kmem_cache *debug_cache(const char *checks, const char *name, size_t bytes, size_t align,
                               void (*ctor)(void *));

/* True if kmalloc's classes have these flags; else the test is skipped. */
bool needs_debug(struct test *t, unsigned flags);

/* EXPECT_PANIC with each of the texts, up to a NULL. */
void expect_report(struct test *t, void (*fn)(void *), void *arg, const char *const *texts);

/* A state of an object that is, or was, in a slot of this central. */
static inline uint32_t debug_state(const struct central *central, const void *object)
{
    return atomic_load_explicit(&slab_record(central, object)->state, memory_order_acquire);
}
