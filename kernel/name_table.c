/*
 * The name cache's table (kernel/name_cache_impl.h): chains with less in them, buckets that move, growth.
 *
 * Invariants, of a cache that nobody changes:
 *   N1  an entry's hash is that of its key, and it is in the bucket of its hash
 *   N2  no two entries of a bucket have the same key
 *   N3  count == entries, at most limit
 *   N4  no bucket is frozen; without an older table none is NULL; with one, as many are not as are `moved`
 */
#include "kernel/name_cache_impl.h"
#include "kernel/panic.h"
#include "kernel/stat.h"

#define NAME_MOVES 4u /* buckets that an insertion moves; 2 would do, but for who takes his time */

GC_TYPE(name, struct name, next, object);
GC_TYPE(name_bucket, struct name_bucket, first);
GC_TYPE(name_table, struct name_table, buckets, older);
GC_TYPE(name_cache, struct name_cache, table, end);

STAT(names, grow_failed);

/* ---- Chains ---- */

struct name *name_new(const struct name_key *key, void *object, uint64_t number)
{
    struct name *name = gc_new(name);

    if (name != NULL) {
        gc_store(&name->object, object);
        name->number = number;
        name->key = *key;
    }
    return name;
}

/* Entries that stay when a chain is filtered. */
struct chain_filter {
    const struct name *all_but; /* all but this one; NULL: */
    size_t mask, index;         /* those of this bucket of so many */
};

static bool chain_keeps(const struct chain_filter *filter, const struct name *name)
{
    return filter->all_but != NULL ? name != filter->all_but
                                   : (name->key.hash & filter->mask) == filter->index;
}

/*
 * A chain of those that stay: behind the last one that does not, the chain as it is; copies of the others.
 * Those for which there is no memory are left out, and counted in *lost.
 */
static struct name *chain_filtered(struct name *chain, const struct name *end,
                                   const struct chain_filter *filter, size_t *lost)
{
    struct name *result = chain, *tail;

    for (struct name *at = chain; at != end; at = gc_load(&at->next)) {
        if (!chain_keeps(filter, at))
            result = gc_load(&at->next);
    }
    tail = result;
    *lost = 0;
    for (struct name *at = chain; at != tail; at = gc_load(&at->next)) {
        struct name *copy;

        if (!chain_keeps(filter, at))
            continue;
        copy = name_new(&at->key, gc_load(&at->object), at->number);
        if (copy == NULL) {
            ++*lost;
            continue;
        }
        atomic_store_explicit(&copy->is_used,
                              atomic_load_explicit(&at->is_used, memory_order_relaxed),
                              memory_order_relaxed);
        gc_store(&copy->next, result);
        result = copy;
    }
    return result;
}

struct name *name_chain_without(struct name *chain, const struct name *end, const struct name *one,
                                size_t *lost)
{
    return chain_filtered(chain, end, &(struct chain_filter){.all_but = one}, lost);
}

/* ---- Places ---- */

void name_cache_give_places(struct name_cache *cache, size_t places)
{
    atomic_fetch_sub_explicit(&cache->count, places, memory_order_acq_rel);
}

/* Entries that went for want of memory. */
void name_cache_note_lost(struct name_cache *cache, size_t lost)
{
    if (UNLIKELY(lost != 0)) {
        name_cache_give_places(cache, lost);
        atomic_fetch_add_explicit(&cache->losses, lost, memory_order_relaxed);
    }
}

/* ---- Buckets ---- */

/* Freeze the bucket of the older table, and put here what belongs here. */
static void bucket_move(struct name_cache *cache, struct name_table *table,
                        struct name_table *older, size_t index)
{
    GC_PTR(struct name) *from = bucket_of(older, index);
    struct chain_filter filter = {.mask = table->mask, .index = index};
    struct name *word, *chain;
    size_t lost;

    do {
        word = gc_load(from);
    } while (!chain_is_frozen(word) && !gc_cas(from, word, chain_frozen(word)));
    chain = chain_filtered(chain_of(word), gc_load(&cache->end), &filter, &lost);
    if (!gc_cas(bucket_of(table, index), NULL, chain))
        return; /* another one has */
    name_cache_note_lost(cache, lost);
    if (atomic_fetch_add_explicit(&table->moved, 1, memory_order_acq_rel) == table->mask)
        gc_store(&table->older, NULL);
}

/* For a change: a bucket that has been moved, but may be frozen. */
static GC_PTR(struct name) *bucket_open(struct name_cache *cache, struct name_table *table,
                                        size_t hash)
{
    GC_PTR(struct name) *slot = bucket_of(table, hash);

    while (UNLIKELY(gc_load(slot) == NULL)) {
        struct name_table *older = gc_load(&table->older);

        if (older != NULL)
            bucket_move(cache, table, older, hash & table->mask);
    }
    return slot;
}

/*
 * The bucket of a hash in the table that is the cache's, and its chain.  A frozen one is that of an older
 * table: there is a newer one by then.
 */
GC_PTR(struct name) *name_table_open(struct name_cache *cache, size_t hash, struct name **chain)
{
    GC_PTR(struct name) *slot;

    do {
        slot = bucket_open(cache, gc_load(&cache->table), hash);
        *chain = gc_load(slot);
    } while (UNLIKELY(chain_is_frozen(*chain)));
    return slot;
}

/* ---- Growth ---- */

struct name_table *name_table_new(size_t buckets)
{
    struct name_table *table = gc_new(name_table);
    struct name_bucket *array = gc_new_array(name_bucket, buckets);

    if (table == NULL || array == NULL)
        return NULL;
    gc_store(&table->buckets, array);
    table->mask = buckets - 1;
    return table;
}

static void table_move_some(struct name_cache *cache)
{
    struct name_table *table = gc_load(&cache->table);

    for (unsigned i = 0; i < NAME_MOVES && gc_load(&table->older) != NULL; i++) {
        size_t index = atomic_fetch_add_explicit(&table->turn, 1, memory_order_relaxed);

        if (index > table->mask)
            return;
        bucket_open(cache, table, index);
    }
}

/* There are `count` entries, more than buckets: tried again with each quarter more. */
static void table_double(struct name_cache *cache, size_t count)
{
    struct name_table *table = gc_load(&cache->table), *bigger;
    size_t buckets = table->mask + 1;

    if (count <= buckets || count % (buckets / 4) != 1 || gc_load(&table->older) != NULL)
        return;
    bigger = name_table_new(2 * buckets);
    if (bigger == NULL) {
        stat_inc(names, grow_failed);
        return;
    }
    gc_store(&bigger->older, table);
    gc_cas(&cache->table, table, bigger); /* or another one has */
}

void name_table_grow(struct name_cache *cache, size_t count)
{
    table_move_some(cache);
    table_double(cache, count);
}

/* ---- Checks ---- */

static void check_require(bool holds, size_t bucket, const char *invariant)
{
    if (!holds)
        panic("name_cache_check: bucket %zu: %s broken", bucket, invariant);
}

/* Entries of a chain that belong to the bucket; home: the table that it stands in. */
static size_t check_chain(const struct name_cache *cache, const struct name_table *home,
                          size_t bucket)
{
    const struct name_table *table = gc_load(&cache->table);
    const struct name *end = gc_load(&cache->end);
    struct name *chain = chain_of(gc_load(bucket_of(home, bucket)));
    size_t entries = 0;

    for (struct name *at = chain; at != end; at = gc_load(&at->next)) {
        const struct name_key *key = &at->key;

        check_require(key->hash == name_hash(key->parent, key->text, key->bytes) &&
                          ((key->hash ^ bucket) & home->mask) == 0,
                      bucket, "N1");
        check_require(chain_find(gc_load(&at->next), end, key->hash, key->parent, key->text,
                                 key->bytes) == NULL,
                      bucket, "N2");
        entries += (key->hash & table->mask) == bucket;
    }
    return entries;
}

size_t name_cache_check(const struct name_cache *cache)
{
    const struct name_table *table = gc_load(&cache->table), *older = gc_load(&table->older);
    size_t entries = 0, moved = 0;

    for (size_t bucket = 0; bucket <= table->mask; bucket++) {
        struct name *word = gc_load(bucket_of(table, bucket));

        check_require(!chain_is_frozen(word) && (word != NULL || older != NULL), bucket, "N4");
        moved += word != NULL;
        entries += check_chain(cache, word != NULL ? table : older, bucket);
    }
    check_require(older == NULL ||
                      moved == atomic_load_explicit(&table->moved, memory_order_relaxed),
                  0, "N4");
    check_require(entries == atomic_load_explicit(&cache->count, memory_order_relaxed) &&
                      entries <= cache->limit,
                  0, "N3");
    return entries;
}
