/*
 * What the name cache's files share: its table.
 *
 * The word in a bucket is one of
 *
 *     NULL        not moved yet: what belongs here is in the older table's bucket
 *     chain       of entries, which ends in the cache's `end`; that is one too, and has no name
 *     chain | 1   frozen: no change any more, a newer table has what belongs here, or asks for it
 *
 * A growth begins only when the one before has ended, so an older table has no bucket that is NULL; and a
 * bucket is frozen only when a newer table is the cache's.  A frozen word is an address within its entry, so
 * to the collector it is one of the entry (mm/gc/mark.c).
 */
#pragma once

#include "kernel/name_cache.h"

#define NAME_BUCKETS 16u /* of a new table; a power of two */
#define NAME_FROZEN  1ul

struct name_bucket {
    GC_PTR(struct name) first;
};

struct name_table {
    GC_PTR(struct name_bucket) buckets;
    GC_PTR(struct name_table) older; /* NULL: all buckets have been moved */
    size_t mask;                     /* [C] buckets - 1 */
    _Atomic size_t turn;             /* [A] relaxed: the bucket that the next insertion moves */
    _Atomic size_t moved;            /* [A] acq_rel: buckets that have been moved */
};

struct name_cache {
    GC_PTR(struct name_table) table;
    GC_PTR(struct name) end; /* [C] */
    size_t limit;            /* [C] */
    _Atomic size_t count; /* [A] acq_rel: places taken; entries <= count <= limit + who inserts */
    _Atomic size_t hand;  /* [A] relaxed: where the clock looks next */
    _Atomic uint64_t evictions, losses; /* [A] relaxed */
};

GC_TYPE_EXTERN(name, struct name);
GC_TYPE_EXTERN(name_cache, struct name_cache);

/* ---- Chains ---- */

static ALWAYS_INLINE bool chain_is_frozen(const struct name *chain)
{
    return ((uintptr_t)chain & NAME_FROZEN) != 0;
}

static ALWAYS_INLINE struct name *chain_frozen(struct name *chain)
{
    return (struct name *)((uintptr_t)chain | NAME_FROZEN);
}

static ALWAYS_INLINE struct name *chain_of(struct name *word)
{
    return (struct name *)((uintptr_t)word & ~NAME_FROZEN);
}

static ALWAYS_INLINE struct name *chain_find(struct name *chain, const struct name *end,
                                             uint32_t hash, uint64_t parent, const char *text,
                                             size_t bytes)
{
    for (; chain != end; chain = gc_load(&chain->next)) {
        if (name_key_is(&chain->key, hash, parent, text, bytes))
            return chain;
    }
    return NULL;
}

/* ---- Buckets, for readers ---- */

static ALWAYS_INLINE GC_PTR(struct name) *bucket_of(const struct name_table *table, size_t hash)
{
    return &gc_load(&table->buckets)[hash & table->mask].first;
}

/* What a reader finds: a second look at most, as by then it has been moved. */
static ALWAYS_INLINE struct name *bucket_read(const struct name_table *table, size_t hash)
{
    for (;;) {
        struct name *word = gc_load(bucket_of(table, hash));

        if (LIKELY(word != NULL))
            return chain_of(word);

        const struct name_table *older = gc_load(&table->older);

        if (older != NULL)
            return chain_of(gc_load(bucket_of(older, hash)));
    }
}

/* ---- name_table.c ---- */

struct name *name_new(const struct name_key *key, void *object, uint64_t number);
struct name_table *name_table_new(size_t buckets); /* NULL: memory is exhausted */

/* A chain without one of its entries; *lost: how many others there was no memory to copy for. */
struct name *name_chain_without(struct name *chain, const struct name *end, const struct name *one,
                                size_t *lost);

/* Places are free again; and those of entries that went for want of memory. */
void name_cache_give_places(struct name_cache *cache, size_t places);
void name_cache_note_lost(struct name_cache *cache, size_t lost);

/*
 * name_table_open -- for a change: the bucket of a hash in the table that is the cache's, and its chain, which
 * is not frozen; by a compare-and-swap with that chain.
 */
GC_PTR(struct name) *name_table_open(struct name_cache *cache, size_t hash, struct name **chain);

/* An entry was made, with which there are `count`: move some buckets, or begin to. */
void name_table_grow(struct name_cache *cache, size_t count);
