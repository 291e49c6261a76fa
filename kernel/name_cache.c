/*
 * The name cache (kernel/name_cache.h): lookups, insertions, removals, the clock.
 *
 * Who inserts takes a place before the entry can be found, who removes gives it back behind that: so there are
 * never more entries than places.
 */
#include "kernel/name_cache_impl.h"
#include "kernel/base/string.h"
#include "kernel/stat.h"

#define NAME_MERCY 32u /* buckets in which the clock looks for one that is not used */

STAT(names, hits);
STAT(names, misses);

/* In any context; a count may be lost, but no two CPUs write the same word all the time. */
static ALWAYS_INLINE void name_count(uint64_t *value)
{
    __atomic_store_n(value, __atomic_load_n(value, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

/* ---- Entries that go ---- */

/* false: it is not there any more. */
static bool cache_unlink(struct name_cache *cache, const struct name *name)
{
    const struct name *end = gc_load(&cache->end), *at;
    GC_PTR(struct name) *slot;
    struct name *chain, *without;
    size_t lost;

    do {
        slot = name_table_open(cache, name->key.hash, &chain);
        for (at = chain; at != name; at = gc_load(&at->next)) {
            if (at == end)
                return false;
        }
        without = name_chain_without(chain, end, name, &lost);
    } while (!gc_cas(slot, chain, without));
    name_cache_give_places(cache, 1);
    name_cache_note_lost(cache, lost);
    return true;
}

/* The first of a chain that is not used, or simply the first; NULL: none.  What is passed by is not used. */
static const struct name *clock_pick(struct name *chain, const struct name *end, bool has_mercy)
{
    for (struct name *at = chain; at != end; at = gc_load(&at->next)) {
        if (!has_mercy || !atomic_load_explicit(&at->is_used, memory_order_relaxed))
            return at;
        atomic_store_explicit(&at->is_used, false, memory_order_relaxed);
    }
    return NULL;
}

/* false: there is none; what has the places is about to be entered. */
static bool cache_evict(struct name_cache *cache)
{
    const struct name *end = gc_load(&cache->end);

    for (size_t tries = 0;; tries++) {
        struct name_table *table = gc_load(&cache->table);
        size_t hand = atomic_fetch_add_explicit(&cache->hand, 1, memory_order_relaxed);
        const struct name *name = clock_pick(bucket_read(table, hand), end, tries < NAME_MERCY);

        if (name != NULL && cache_unlink(cache, name)) {
            atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
            return true;
        }
        if (tries > NAME_MERCY + table->mask)
            return false;
    }
}

/* Returns how many there are with it; 0: none is to be had. */
static size_t cache_take_place(struct name_cache *cache)
{
    size_t place = atomic_fetch_add_explicit(&cache->count, 1, memory_order_acq_rel) + 1;

    if (place <= cache->limit || cache_evict(cache))
        return MIN(place, cache->limit);
    name_cache_give_places(cache, 1);
    return 0;
}

/* ---- From outside ---- */

struct name_cache *name_cache_create(size_t limit)
{
    struct name_cache *cache = gc_new(name_cache);
    struct name_table *table = name_table_new(NAME_BUCKETS);
    struct name *end = gc_new(name);

    if (cache == NULL || table == NULL || end == NULL)
        return NULL;
    for (size_t i = 0; i < NAME_BUCKETS; i++)
        gc_store(bucket_of(table, i), end);
    gc_store(&cache->table, table);
    gc_store(&cache->end, end);
    cache->limit = limit;
    return cache;
}

static ALWAYS_INLINE struct name *cache_find(const struct name_cache *cache, uint32_t hash,
                                             uint64_t parent, const char *text, size_t bytes)
{
    return chain_find(bucket_read(gc_load(&cache->table), hash), gc_load(&cache->end), hash, parent,
                      text, bytes);
}

const struct name *name_cache_lookup(struct name_cache *cache, uint64_t parent, const char *text,
                                     size_t bytes)
{
    struct name *name = cache_find(cache, name_hash(parent, text, bytes), parent, text, bytes);

    if (name == NULL) {
        name_count(this_cpu(stat_names_misses));
        return NULL;
    }
    name_count(this_cpu(stat_names_hits));
    if (UNLIKELY(!atomic_load_explicit(&name->is_used, memory_order_relaxed)))
        atomic_store_explicit(&name->is_used, true, memory_order_relaxed);
    return name;
}

/* Enter a new one that has its place; another's if there is one by now. */
static struct name *cache_link(struct name_cache *cache, struct name *name)
{
    const struct name_key *key = &name->key;
    GC_PTR(struct name) *slot;
    struct name *chain, *found;

    do {
        slot = name_table_open(cache, key->hash, &chain);
        found =
            chain_find(chain, gc_load(&cache->end), key->hash, key->parent, key->text, key->bytes);
        if (found != NULL)
            return found;
        gc_store(&name->next, chain);
    } while (!gc_cas(slot, chain, name));
    return name;
}

const struct name *name_cache_insert(struct name_cache *cache, uint64_t parent, const char *text,
                                     size_t bytes, void *object, uint64_t number)
{
    struct name_key key = {.parent = parent, .bytes = (uint32_t)bytes};
    struct name *name, *found;
    size_t place;

    if (bytes == 0 || bytes > NAME_BYTES)
        return NULL;
    key.hash = name_hash(parent, text, bytes);
    memcpy(key.text, text, bytes);
    found = cache_find(cache, key.hash, parent, text, bytes);
    if (found != NULL)
        return found;
    name = name_new(&key, object, number);
    if (name == NULL || (place = cache_take_place(cache)) == 0)
        return NULL;
    found = cache_link(cache, name);
    if (found != name) {
        name_cache_give_places(cache, 1);
        return found;
    }
    name_table_grow(cache, place);
    return name;
}

bool name_cache_remove(struct name_cache *cache, uint64_t parent, const char *text, size_t bytes)
{
    uint32_t hash = name_hash(parent, text, bytes);
    const struct name *name;

    do {
        name = cache_find(cache, hash, parent, text, bytes);
        if (name == NULL)
            return false;
    } while (!cache_unlink(cache, name));
    return true;
}

/* ---- Figures, checks ---- */

struct name_cache_stats name_cache_stats(const struct name_cache *cache)
{
    return (struct name_cache_stats){
        .entries = atomic_load_explicit(&cache->count, memory_order_relaxed),
        .limit = cache->limit,
        .buckets = gc_load(&cache->table)->mask + 1,
        .evictions = atomic_load_explicit(&cache->evictions, memory_order_relaxed),
        .losses = atomic_load_explicit(&cache->losses, memory_order_relaxed),
        .hits = stat_read(&stat_desc_names_hits),
        .misses = stat_read(&stat_desc_names_misses),
    };
}
