/*
 * The name cache (kernel/name_cache.h) against the same table with a lock for each bucket and a count of
 * references in each entry: what lookups need where nothing else says when an entry may be freed.
 *
 * NameLookup: one CPU.  ParallelNames: several at once, in the same names.  The argument is how many names are
 * looked up in turn: one that all want, or many.
 *
 * Both have the same keys and the same hash, as many buckets as names, and note that an entry is used; the
 * collected one also counts hits.
 */
#include "kernel/base/format.h"
#include "kernel/lock.h"
#include "kernel/name_cache.h"
#include "mm/slab/slab.h"
#include "tests/bench/bench.h"

#define NAMES 1024u /* in each table; a power of two */

static struct name_key names[NAMES];

static void names_make(void)
{
    for (unsigned i = 0; i < NAMES; i++) {
        struct name_key *key = &names[i];

        key->parent = i % 5;
        key->bytes = (uint32_t)format_string(key->text, sizeof(key->text), "%s%u",
                                             i % 2 != 0 ? "file-" : "directory-entry-", i);
        key->hash = name_hash(key->parent, key->text, key->bytes);
    }
}

/* The names in a fixed disorder: each once, before any comes again. */
static ALWAYS_INLINE const struct name_key *names_next(size_t *at, size_t count)
{
    *at = (*at * 5 + 1) & (count - 1);
    return &names[*at];
}

/* ---- Collected ---- */

static GC_ROOT(struct name_cache, bench_cache);

static bool collected_make(void)
{
    struct name_cache *cache = name_cache_create(2 * NAMES);

    names_make();
    gc_store(&bench_cache, cache);
    for (unsigned i = 0; i < NAMES && cache != NULL; i++) {
        const struct name_key *key = &names[i];

        if (name_cache_insert(cache, key->parent, key->text, key->bytes, NULL, i) == NULL)
            return false;
    }
    return cache != NULL;
}

static NOINLINE void collected_lookups(uint64_t n, size_t count)
{
    struct name_cache *cache = gc_load(&bench_cache);

    for (size_t at = 0; n > 0; n--) {
        const struct name_key *key = names_next(&at, count);

        bench_use(name_cache_lookup(cache, key->parent, key->text, key->bytes));
    }
}

static void collected_free(void)
{
    gc_store(&bench_cache, NULL);
}

/* ---- Counted ---- */

struct counted {
    struct counted *next;
    void *object;
    uint64_t number;
    struct name_key key;
    _Atomic bool is_used;
    _Atomic uint32_t refs; /* the table's, and lookups'; acq_rel */
};

struct counted_bucket {
    struct spinlock lock; /* of the chain, and of references to what is in it */
    struct counted *first;
};

static struct counted_bucket counted_table[NAMES];

/* NULL: there is none.  Pairs with counted_put. */
static NOINLINE struct counted *counted_get(uint64_t parent, const char *text, size_t bytes)
{
    uint32_t hash = name_hash(parent, text, bytes);
    struct counted_bucket *bucket = &counted_table[hash % NAMES];
    unsigned long irq = spin_lock(&bucket->lock);
    struct counted *at = bucket->first;

    while (at != NULL && !name_key_is(&at->key, hash, parent, text, bytes))
        at = at->next;
    if (at != NULL) {
        atomic_fetch_add_explicit(&at->refs, 1, memory_order_relaxed);
        if (!atomic_load_explicit(&at->is_used, memory_order_relaxed))
            atomic_store_explicit(&at->is_used, true, memory_order_relaxed);
    }
    spin_unlock(&bucket->lock, irq);
    return at;
}

static NOINLINE void counted_put(struct counted *counted)
{
    if (atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel) == 1)
        kfree(counted);
}

static void counted_free(void)
{
    for (unsigned i = 0; i < NAMES; i++) {
        struct counted_bucket *bucket = &counted_table[i];

        for (struct counted *at = bucket->first, *next; at != NULL; at = next) {
            next = at->next;
            counted_put(at);
        }
        bucket->first = NULL;
    }
}

static bool counted_make(void)
{
    names_make();
    for (unsigned i = 0; i < NAMES; i++)
        counted_table[i].lock = (struct spinlock)SPINLOCK_INIT(TEST);
    for (unsigned i = 0; i < NAMES; i++) {
        struct counted_bucket *bucket = &counted_table[names[i].hash % NAMES];
        struct counted *counted = kzalloc(sizeof(*counted));

        if (counted == NULL)
            return false;
        counted->key = names[i];
        counted->number = i;
        counted->refs = 1;
        counted->next = bucket->first;
        bucket->first = counted;
    }
    return true;
}

static NOINLINE void counted_lookups(uint64_t n, size_t count)
{
    for (size_t at = 0; n > 0; n--) {
        const struct name_key *key = names_next(&at, count);
        struct counted *counted = counted_get(key->parent, key->text, key->bytes);

        bench_use(counted);
        counted_put(counted);
    }
}

/* ---- Both ---- */

static NOINLINE void no_lookups(uint64_t n, size_t count)
{
    for (size_t at = 0; n > 0; n--) {
        bench_use(names_next(&at, count));
        bench_call();
    }
}

static void names_one_cpu(struct bench *bench, void (*lookups)(uint64_t n, size_t count))
{
    bench_start(bench);
    lookups(bench->n, bench->arg);
    bench_stop(bench);
}

static void names_run(struct bench *bench, unsigned cpus, bool (*make)(void),
                      void (*lookups)(uint64_t n, size_t count), void (*give_back)(void))
{
    if (!make())
        bench->skip = "there is too little memory";
    else if (cpus == 0)
        names_one_cpu(bench, lookups);
    else
        bench_parallel(bench, cpus, lookups);
    give_back();
}

static void names_none(struct bench *bench)
{
    names_one_cpu(bench, no_lookups);
}

static const size_t names_counts[] = {1, NAMES};

static void collected_one_cpu(struct bench *bench)
{
    names_run(bench, 0, collected_make, collected_lookups, collected_free);
}
BENCH(NameCollected, .name = "NameLookup/collected/names=", BENCH_ARGS(names_counts),
      .loop = collected_one_cpu, .empty = names_none);

static void counted_one_cpu(struct bench *bench)
{
    names_run(bench, 0, counted_make, counted_lookups, counted_free);
}
BENCH(NameCounted, .name = "NameLookup/counted/names=", BENCH_ARGS(names_counts),
      .loop = counted_one_cpu, .empty = names_none);

#define NAMES_BENCH(cpus_)                                                                   \
    static void collected_##cpus_(struct bench *bench)                                       \
    {                                                                                        \
        names_run(bench, cpus_, collected_make, collected_lookups, collected_free);          \
    }                                                                                        \
    static void counted_##cpus_(struct bench *bench)                                         \
    {                                                                                        \
        names_run(bench, cpus_, counted_make, counted_lookups, counted_free);                \
    }                                                                                        \
    static void names_none_##cpus_(struct bench *bench)                                      \
    {                                                                                        \
        bench_parallel(bench, cpus_, no_lookups);                                            \
    }                                                                                        \
    BENCH(ParallelCollected##cpus_,                                                          \
          .name = "ParallelNames/collected/names=", BENCH_ARGS(names_counts), .cpus = cpus_, \
          .loop = collected_##cpus_, .empty = names_none_##cpus_);                           \
    BENCH(ParallelCounted##cpus_,                                                            \
          .name = "ParallelNames/counted/names=", BENCH_ARGS(names_counts), .cpus = cpus_,   \
          .loop = counted_##cpus_, .empty = names_none_##cpus_)

NAMES_BENCH(1);
NAMES_BENCH(2);
NAMES_BENCH(4);
