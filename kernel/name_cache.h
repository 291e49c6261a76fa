/*
 * Name cache: what a name under a parent stands for, as a kernel keeps it to spare itself the search: a hash
 * table whose readers take no lock, no reference and no epoch, for its entries are collected objects.
 *
 *     cache -> table -> buckets  [ | | | | ]
 *                                 |     |
 *                              entry   end         each bucket: a chain that nobody changes
 *                                 |
 *                              entry -> end
 *
 * The idea.  A chain is never changed: an insertion puts an entry that leads to the old chain in its place,
 * a removal one that lacks the entry, with copies of those before it and the same ones behind it; both by
 * one compare-and-swap of the bucket (gc_cas).  So a reader that has a bucket's chain has it as it was
 * at one moment, for as long as it likes, and sees each entry whole.
 *
 * ABA cannot occur: who compares with an entry's address holds that entry, and memory of what somebody holds
 * is not used anew.  So if the word in the bucket is the same, the chain is.  When an entry may be freed is
 * the collector's to know.
 *
 * Growth.  A table with twice the buckets takes the place of the old one, and a bucket of it that is NULL has
 * not been moved.  Readers look into the old one's then.  Who wants to change it moves it first: freezes the
 * old bucket by a mark in its lowest bit, so that nobody changes it any more, and puts what belongs to the new
 * one there.  Insertions move some more each, so that it ends; then nothing refers to the old table.  A reader
 * that still has an old table finds a bucket as it was when it was frozen, which was after it had come.
 *
 * Bound.  Who inserts takes a place first, of which there are `limit`, or has another entry go: one that
 * nobody has looked up since the clock's hand passed by.  It is a cache: where memory for a copy is missing,
 * the entry goes too.
 *
 * Progress: a lookup is wait-free.  An insertion or removal that has to try again has seen another one
 * succeed; the allocation of an entry may wait for a cycle of the collector.
 *
 * Not here: what the names mean.  Source: Harris, "A pragmatic implementation of non-blocking linked-lists",
 * 2001 (the mark); Corbato's clock, 1968.
 */
#pragma once

#include "kernel/name_key.h"
#include "mm/gc/gc.h"

struct name_cache; /* collected itself: it lasts as long as something refers to it */

/*
 * An entry.  Nothing in it changes but is_used: who has it may keep it, as any collected object, also when it
 * is no longer in the cache.  An entry may be replaced by a copy.
 */
struct name {
    GC_PTR(struct name) next; /* of its chain */
    GC_PTR(void) object;      /* what it stands for: */
    uint64_t number;          /* one of these, or both */
    struct name_key key;
    _Atomic bool is_used; /* [A] relaxed: looked up since the clock's hand passed by */
};

/*
 * name_cache_create -- an empty cache of up to `limit` entries, > 0.
 *   returns  NULL: memory is exhausted
 *   context  as gc_new
 */
struct name_cache *name_cache_create(size_t limit);

/*
 * name_cache_lookup -- the entry of a name; NULL: there is none.
 *   context  any but NMI; wait-free; writes nothing but a counter of its CPU and the entry's is_used
 */
const struct name *name_cache_lookup(struct name_cache *cache, uint64_t parent, const char *text,
                                     size_t bytes);

/*
 * name_cache_insert -- enter a name, unless it is there already.
 *   bytes    1 .. NAME_BYTES
 *   object   collected, or NULL
 *   returns  the entry that is there: this one or the one before; NULL: memory is exhausted, or the name is
 *            too long; nothing has changed but that others may have gone
 *   context  as gc_new; lock-free but for that
 */
const struct name *name_cache_insert(struct name_cache *cache, uint64_t parent, const char *text,
                                     size_t bytes, void *object, uint64_t number);

/*
 * name_cache_remove -- forget a name.
 *   returns  false: it is not there
 *   context  as name_cache_insert; succeeds without memory, though others may go then
 */
bool name_cache_remove(struct name_cache *cache, uint64_t parent, const char *text, size_t bytes);

struct name_cache_stats {
    size_t entries, limit; /* about, while others change it */
    size_t buckets;
    uint64_t evictions;    /* of this cache: for want of a place */
    uint64_t losses;       /* likewise: for want of memory for a copy */
    uint64_t hits, misses; /* of all caches, since start */
};
struct name_cache_stats name_cache_stats(const struct name_cache *cache);

/* Panics on a broken invariant (name_table.c); nobody else may change the cache.  Returns entries. */
size_t name_cache_check(const struct name_cache *cache);
