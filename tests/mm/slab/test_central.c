/*
 * Centrals: the fullest spans first, empty ones go back, shards when CPUs queue, slots wherever
 * they are before memory, depots that age.
 */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/stat.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/central.h"
#include "mm/slab/slab.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define SPANS_MAX  64u
#define OBJECTS    4096u
#define SLOT_BYTES 512u

static void *objects[OBJECTS];
static struct kmem_cache *cache;

/* No references to what comes to stand there: the tests of leaks look at all of memory. */
static void forget(void)
{
    memset(objects, 0, sizeof(objects));
}

static struct central *central_of_object(const void *object)
{
    return central_of(span_of(object));
}

/* A cache with that many objects, and its central; NULL: the test has failed. */
static struct central *central_with(struct test *t, unsigned count)
{
    mm_drain();
    cache = kmem_cache_create("central", SLOT_BYTES, 0, NULL, 0);
    if (!EXPECT(t, cache != NULL) ||
        !EXPECT(t, kmem_cache_alloc_bulk(cache, count, objects) == count))
        return NULL;
    return central_of_object(objects[0]);
}

/* ---- Which spans ---- */

/* The list of the fullest spans that have a slot; CENTRAL_LISTS: none has. */
static unsigned fullest_list(const struct central *central)
{
    unsigned list = CENTRAL_FULLEST;

    while (list < CENTRAL_LISTS && central->shards[0].lists[list] == NULL)
        list++;
    return list;
}

/* The list that a span was on when it had one free slot more. */
static unsigned list_before(struct span *span)
{
    unsigned list;

    span->free_count++;
    list = central_list_for(span);
    span->free_count--;
    return list;
}

/*
 * Every span of the cache is left with another number of free slots; then they are taken one by one:
 * none comes from a span while a fuller list has any.
 */
TEST(central, takes_from_the_fullest)
{
    struct central *central;
    unsigned left = 0, list, lists = 0;
    void *slot;

    if (!slots_are_exact(t) || (central = central_with(t, OBJECTS)) == NULL)
        return;
    for (unsigned i = 0; i < OBJECTS; i++) {
        const struct span *span = span_of(objects[i]);
        size_t keep = 1 + span->base / span_bytes(span) % span_slot_count(span);

        if (span_slot_index(span, objects[i]) < keep)
            objects[left++] = objects[i];
        else
            kmem_cache_free(cache, objects[i]);
    }
    slab_drain_all();

    size_t spans = class_row("central").spans;

    while ((list = fullest_list(central)) < CENTRAL_LISTS) {
        lists |= 1u << list;
        REQUIRE(t, left < OBJECTS && central_take(central, 0, 1, &slot) == 1);
        EXPECT(t, list_before(span_of(slot)) == list);
        slab_clear_token(slot);
        objects[left++] = slot;
    }
    EXPECT(t, (lists >> CENTRAL_FULLEST & 0xf) == 0xf);
    EXPECT(t, class_row("central").spans == spans);
    central_check(central);
    kmem_cache_free_bulk(cache, left, objects);
    kmem_cache_destroy(cache);
    forget();
}

/* Spans of one object each, of which a part is asked for again: they fill up, others go back. */
TEST(central, few_spans_stay_alive)
{
    struct central *central;
    unsigned left = 0;

    if (!slots_are_exact(t) || (central = central_with(t, OBJECTS)) == NULL)
        return;

    size_t spans = class_row("central").spans, slots = central->owner.layout.slot_count;

    /* One in sixteen stays, wherever it is. */
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (i % 16 == 0)
            objects[left++] = objects[i];
        else
            kmem_cache_free(cache, objects[i]);
    }
    slab_drain_all();
    EXPECT(t, class_row("central").spans > left / slots);

    /* A third of them goes and comes, round by round: they settle in few spans, the rest go back. */
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = round % 3; i < left; i += 3)
            kmem_cache_free(cache, objects[i]);
        slab_drain_all();
        for (unsigned i = round % 3; i < left; i += 3)
            REQUIRE(t, (objects[i] = kmem_cache_alloc(cache)) != NULL);
    }
    slab_drain_all();
    EXPECT(t, spans > 10 * left / slots);
    EXPECT(t, class_row("central").spans <= 3 * left / (2 * slots));
    kmem_cache_free_bulk(cache, left, objects);
    kmem_cache_destroy(cache);
    forget();
}

TEST(central, empty_spans_go_back)
{
    struct central *central;

    if (!slots_are_exact(t) || (central = central_with(t, OBJECTS)) == NULL)
        return;

    size_t free_before = page_free_count();
    struct slab_class_stats row = class_row("central");

    EXPECT(t, row.spans > SPANS_MAX);
    kmem_cache_free_bulk(cache, OBJECTS, objects);
    slab_drain_this_cpu(NULL);
    central_trim_depot(central, SIZE_MAX);
    EXPECT(t, class_row("central").spans == 1); /* against a size that is at the edge */
    EXPECT(t, page_free_count() >= free_before + (row.span_bytes * 9 / 10) / PAGE_BYTES);
    central_trim(central);
    EXPECT(t, class_row("central").spans == 0);
    kmem_cache_destroy(cache);
    forget();
}

/* ---- Shards ---- */

static unsigned shard_mask(const struct central *central)
{
    return atomic_load_explicit(&central->shard_mask, memory_order_relaxed);
}

/* As if this CPU had waited for its shard's lock, time and again: ever longer for more shards. */
TEST(central, shards_double_where_cpus_wait)
{
    struct central *central;
    uint64_t doubled = stat_read(stat_find("slab", "shards_doubled"));
    unsigned masks = 0, waits = 0;

    if (!slots_are_exact(t) || (central = central_with(t, 1)) == NULL)
        return;
    atomic_store_explicit(&central->shard_mask, 0, memory_order_relaxed);
    atomic_store_explicit(&central->shards[0].lock.waits, 0, memory_order_relaxed);
    for (unsigned mask = 0; mask < CENTRAL_SHARDS - 1; mask = 2 * mask + 1, masks++) {
        unsigned before = waits;

        while (waits < 10000 && shard_mask(central) == mask) {
            EXPECT(t, central_shard_here(central) == 0);
            atomic_store_explicit(&central->shards[0].lock.waits, ++waits, memory_order_relaxed);
            (void)central_shard_here(central);
        }
        EXPECT(t, shard_mask(central) == 2 * mask + 1 && waits + 1 >= 2 * before && waits > before);
    }
    EXPECT(t, masks == 3);
    EXPECT(t, stat_read(stat_find("slab", "shards_doubled")) >= doubled + masks);
    kmem_cache_free(cache, objects[0]);
    kmem_cache_destroy(cache);
    forget();
}

static _Atomic unsigned shard_got;

static void shard_take_one(void *unused)
{
    (void)unused;
    if (port_cpu_id() != 1)
        return;

    void *object = kmem_cache_alloc(cache);

    if (object != NULL)
        atomic_fetch_add(&shard_got, 1);
    kmem_cache_free(cache, object);
    slab_drain_this_cpu(NULL);
}

/* What CPU 0's shard has, in spans or in its depot, CPU 1 gets before there is a new span. */
TEST(central, looks_in_other_shards_before_the_heap_grows)
{
    struct central *central;

    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    if (!slots_are_exact(t) || (central = central_with(t, 1000)) == NULL)
        return;
    atomic_store(&shard_got, 0);
    atomic_store_explicit(&central->shard_mask, CENTRAL_SHARDS - 1, memory_order_relaxed);
    kmem_cache_free_bulk(cache, 500, objects);
    EXPECT(t, class_row("central").depot > 0);

    size_t spans = class_row("central").spans;

    cpu_run_all(2, shard_take_one, NULL);
    EXPECT(t, class_row("central").spans == spans);
    slab_drain_this_cpu(NULL);
    central_trim_depot(central, SIZE_MAX);
    EXPECT(t, class_row("central").depot == 0);
    spans = class_row("central").spans;
    cpu_run_all(2, shard_take_one, NULL);
    EXPECT(t, class_row("central").spans <= spans);
    EXPECT(t, atomic_load(&shard_got) == 2);
    EXPECT(t, central->shards[1].span_count == 0);
    central_check(central);
    kmem_cache_free_bulk(cache, 500, objects + 500);
    kmem_cache_destroy(cache);
    forget();
}

/* ---- Ageing ---- */

TEST(central, what_a_depot_does_not_need_goes_back)
{
    struct central *central;

    if (!slots_are_exact(t) || (central = central_with(t, 1000)) == NULL)
        return;
    kmem_cache_free_bulk(cache, 1000, objects);
    central_age(central, SIZE_MAX);

    size_t full = central_sums(central).full_count;

    EXPECT(t, full > 8);

    /* Between two looks so many were needed that 3 stayed where they were. */
    size_t out = (full - 3 + 2) * MAGAZINE_SLOTS; /* two are this CPU's own */

    out = kmem_cache_alloc_bulk(cache, MIN(out, (size_t)1000), objects);
    EXPECT(t, central_sums(central).full_count <= 4);
    kmem_cache_free_bulk(cache, out, objects);
    central_age(central, SIZE_MAX);
    EXPECT(t, central_sums(central).full_count >= full - 5);
    EXPECT(t, central_sums(central).full_count < full);

    /* Nobody needs any. */
    central_age(central, SIZE_MAX);
    EXPECT(t, central_sums(central).full_count == 0);
    central_check(central);
    kmem_cache_destroy(cache);
    forget();
}
