/* Centrals: shards, which span slots come from, what their checks find; and depots, their bounds. */
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "mm/port.h"
#include "mm/slab/slab_impl.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS 2048u

static void *objects[OBJECTS];

static size_t depot_magazines(struct central *central)
{
    return central_sums(central).full_count;
}

/* Leave free slots in a depot: returns how many magazines. */
static size_t depot_fill(struct test *t, size_t bytes, size_t n)
{
    mm_drain();
    EXPECT(t, kmalloc_bulk(bytes, n, objects) == n);
    kfree_bulk(n, objects);
    return depot_magazines(&slab_centrals[size_class_of(bytes)]);
}

/* ---- Depots ---- */

TEST(slab_central, depots_are_bounded)
{
    if (!slots_are_plain(t))
        return;

    size_t limit = atomic_exchange(&slab_limits.depot_bytes, 64 * KIB);

    EXPECT(t, depot_fill(t, 128, OBJECTS) > 0);

    size_t holds = slab_stats().depot_bytes + depot_magazines(&slab_centrals[size_class_of(128)]) *
                                                  sizeof(struct seq_magazine);

    EXPECT(t, holds <= 64 * KIB + DEPOT_UNTOLD && holds > 48 * KIB);
    EXPECT(t, holds - atomic_load(&central_depot_bytes) <= DEPOT_UNTOLD);
    mm_check();
    mm_drain();
    EXPECT(t, atomic_load(&central_depot_bytes) == 0);
    atomic_store(&slab_limits.depot_bytes, limit);
}

TEST(slab_central, trim_takes_so_many_magazines)
{
    if (!slots_are_plain(t))
        return;

    struct central *central = &slab_centrals[size_class_of(128)];
    size_t had = depot_fill(t, 128, OBJECTS);

    REQUIRE(t, had > 10);
    slab_trim_depots(3);
    EXPECT(t, depot_magazines(central) == had - 3);
    EXPECT(t, central_trim_depot(central, 4) == 4);
    EXPECT(t, central_trim_depot(central, SIZE_MAX) == had - 7);
    mm_check();
}

TEST(slab_central, trim_reaches_caches)
{
    if (!slots_are_plain(t))
        return;

    struct kmem_cache *cache = kmem_cache_create("trim", 128, 0, NULL, 0);

    REQUIRE(t, cache != NULL);
    mm_drain();
    EXPECT(t, kmem_cache_alloc_bulk(cache, OBJECTS, objects) == OBJECTS);
    kmem_cache_free_bulk(cache, OBJECTS, objects);
    EXPECT(t, depot_magazines(cache->central) > 10);
    slab_trim_depots(OBJECTS);
    EXPECT(t, depot_magazines(cache->central) == 0);
    kmem_cache_destroy(cache);
}

/* What stood untouched since the last time goes; what was needed stays until then. */
TEST(slab_central, ages_what_is_not_needed)
{
    if (!slots_are_plain(t))
        return;

    struct central *central = &slab_centrals[size_class_of(128)];
    size_t had = depot_fill(t, 128, OBJECTS), low = had;

    REQUIRE(t, had > 10);

    unsigned long irq = port_irq_save(); /* on one CPU */

    central_age(central, SIZE_MAX);
    EXPECT(t, depot_magazines(central) == had);
    for (unsigned i = 0; i < OBJECTS / 4; i++) {
        objects[i] = kmalloc(128);
        low = MIN(low, depot_magazines(central));
    }
    kfree_bulk(OBJECTS / 4, objects);
    had = depot_magazines(central);
    EXPECT(t, low > 0 && low < had);
    central_age(central, SIZE_MAX);
    EXPECT(t, depot_magazines(central) == had - low);
    central_age(central, SIZE_MAX);
    EXPECT(t, depot_magazines(central) == 0);
    port_irq_restore(irq);
}

/* The runner holds idle work back; here it runs until it has done what it is to do. */
TEST(slab_central, idle_cpus_age)
{
    if (!slots_are_plain(t))
        return;
    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }

    struct central *central = &slab_centrals[size_class_of(128)];

    EXPECT(t, depot_fill(t, 128, 200) > 0);
    cpu_idle_release();
    while (depot_magazines(central) > 0)
        arch_relax();
    cpu_idle_hold();
}

/* ---- Shards ---- */

TEST(slab_central, shards_double_up_to_all)
{
    struct kmem_cache *cache = kmem_cache_create("shards", 256, 0, NULL, 0);

    REQUIRE(t, cache != NULL);

    struct central *central = cache->central;
    unsigned long irq = port_irq_save();

    for (unsigned i = 0; i < CENTRAL_SHARDS; i++)
        atomic_store(&central->shards[i].lock.waits, 32);
    EXPECT(t, central_shard_here(central) == 0);
    EXPECT(t, atomic_load(&central->shard_mask) == 0);
    for (unsigned i = 0; i < CENTRAL_SHARDS; i++)
        atomic_store(&central->shards[i].lock.waits, UINT32_MAX);
    for (unsigned mask = 1; mask < CENTRAL_SHARDS; mask = 2 * mask + 1) {
        central_shard_here(central);
        EXPECT(t, atomic_load(&central->shard_mask) == mask);
    }
    for (unsigned i = 0; i < 4; i++)
        EXPECT(t, central_shard_here(central) == port_cpu_id() % CENTRAL_SHARDS);
    EXPECT(t, atomic_load(&central->shard_mask) == CENTRAL_SHARDS - 1);
    port_irq_restore(irq);
    kmem_cache_destroy(cache);
}

/* With all shards in use: slots of another are found before a span is made, and go back to it. */
TEST(slab_central, other_shards_are_searched)
{
    if (!slots_are_exact(t))
        return;

    struct kmem_cache *cache = kmem_cache_create("shards", 256, 0, NULL, 0);

    REQUIRE(t, cache != NULL);

    struct central *central = cache->central;
    unsigned slots = 2 * central->owner.layout.slot_count;
    unsigned long irq = port_irq_save();
    unsigned here = port_cpu_id() % CENTRAL_SHARDS;

    atomic_store(&central->shard_mask, CENTRAL_SHARDS - 1);
    fault_fail_nth(1000); /* for now without a magazine */
    EXPECT(t, central_grow(central, (here + 3) % CENTRAL_SHARDS));
    EXPECT(t, central_grow(central, (here + 5) % CENTRAL_SHARDS));
    EXPECT(t, kmem_cache_alloc_bulk(cache, 4, objects) == 4);
    EXPECT(t, !fault_disarm() && central_sums(central).spans == 2);
    EXPECT(t, (objects[4] = kmem_cache_alloc(cache)) != NULL);
    EXPECT(t, magazine_loaded(port_this_cpu(slab_cpu)->tops[central->owner.index]) > 0);
    EXPECT(t, kmem_cache_alloc_bulk(cache, slots - 5, objects + 5) == slots - 5);
    EXPECT(t, central_sums(central).spans == 2);
    EXPECT(t, (objects[slots] = kmem_cache_alloc(cache)) != NULL);
    EXPECT(t, central_sums(central).spans == 3);
    slab_check();
    kmem_cache_free_bulk(cache, slots + 1, objects);
    magazine_drain(central);
    central_trim_depot(central, SIZE_MAX);
    slab_check();
    EXPECT(t, central->shards[here].span_count == 1);
    EXPECT(t, central->shards[(here + 3) % CENTRAL_SHARDS].span_count == 1);
    EXPECT(t, central->shards[(here + 5) % CENTRAL_SHARDS].span_count == 1);
    port_irq_restore(irq);
    kmem_cache_destroy(cache);
}

/* ---- Spans ---- */

/* Whether a slot stands in its span. */
static bool is_in_span(const void *slot)
{
    const struct span *span = span_of(slot);

    return span_slot_is_free(span, (unsigned)span_slot_index(span, slot));
}

/* Give back the slots of a span, or of all but that one, but for `keep` of them. */
static void give_but(struct central *central, unsigned n, const struct span *span, bool is_it,
                     unsigned keep)
{
    for (unsigned i = 0; i < n; i++) {
        if ((span_of(objects[i]) == span) != is_it || is_in_span(objects[i]))
            continue;
        if (keep > 0)
            keep--;
        else
            central_give(central, 1, &objects[i]);
    }
}

/* Of three spans of a cache, one is nearly full and the others are nearly empty; then all are. */
TEST(slab_central, fullest_spans_first_and_one_empty_kept)
{
    if (!slots_are_plain(t))
        return;

    struct kmem_cache *cache = kmem_cache_create("spans", 256, 0, NULL, 0);

    REQUIRE(t, cache != NULL);

    struct central *central = cache->central;
    unsigned slots = central->owner.layout.slot_count;
    void *next[2];

    for (unsigned i = 0; i < 3; i++)
        REQUIRE(t, central_grow(central, 0));
    REQUIRE(t, central_take(central, 0, 3 * slots, objects) == 3 * slots);
    EXPECT(t, !central_has_slots(central, 0));

    const struct span *full = span_of(objects[0]);

    give_but(central, 3 * slots, full, true, slots - 2);
    give_but(central, 3 * slots, full, false, 2);
    slab_check();
    EXPECT(t, central_take(central, 0, 2, next) == 2);
    EXPECT(t, span_of(next[0]) == full && span_of(next[1]) == full);
    central_give(central, 2, next);
    give_but(central, 3 * slots, NULL, false, 0);
    slab_check();
    EXPECT(t, central_sums(central).spans == 1);
    kmem_cache_destroy(cache);
}

static void give_to_another(void *unused)
{
    void *slot = kmalloc(64);

    (void)unused;
    slab_set_token(slot);
    central_give(&slab_centrals[size_class_of(128)], 1, &slot);
}

TEST(slab_central, takes_back_its_own_only)
{
    if (!slots_are_plain(t))
        return;
    EXPECT_PANIC(t, give_to_another, NULL, "was written after it was freed, or freed twice");
}

/* ---- Invariants, broken one by one: of a central with an empty span and a full magazine ---- */

static struct span *empty_span(struct central *central)
{
    return central->shards[0].lists[CENTRAL_EMPTY];
}

static void break_shard(void *central)
{
    empty_span(central)->shard++;
    central_check(central);
}

static void break_list(void *central)
{
    void *slot;

    span_take_slots(empty_span(central), 0, 1, &slot);
    central_check(central);
}

static void break_free_slots(void *central)
{
    ((struct central *)central)->shards[0].free_slots++;
    central_check(central);
}

static void break_full_count(void *central)
{
    ((struct central *)central)->shards[0].full_count++;
    central_check(central);
}

static void break_token(void *central)
{
    slab_clear_token(span_slot(empty_span(central), 1));
    central_check(central);
}

static void break_token_in_depot(void *central)
{
    slab_clear_token(magazine_slots(((struct central *)central)->shards[0].full)[0]);
    central_check(central);
}

static void break_depot(void *central)
{
    magazine_slots(((struct central *)central)->shards[0].full)[0] =
        span_slot(empty_span(central), 1);
    central_check(central);
}

TEST(slab_central, check_names_the_broken_invariant)
{
    if (!slots_are_plain(t))
        return;

    struct kmem_cache *cache = kmem_cache_create("broken", 256, 0, NULL, 0);

    REQUIRE(t, cache != NULL);
    EXPECT(t, kmem_cache_alloc_bulk(cache, 400, objects) == 400);
    kmem_cache_free_bulk(cache, 400, objects);

    struct central *central = cache->central;

    while (empty_span(central) == NULL)
        REQUIRE(t, central_grow(central, 0));
    REQUIRE(t, central->shards[0].full != 0);
    central_check(central);
    EXPECT_PANIC(t, break_shard, central, "C1 broken in broken");
    EXPECT_PANIC(t, break_list, central, "C2 broken in broken");
    EXPECT_PANIC(t, break_free_slots, central, "C3 broken in broken");
    EXPECT_PANIC(t, break_full_count, central, "C3 broken in broken");
    EXPECT_PANIC(t, break_token, central, "C4 broken in broken");
    EXPECT_PANIC(t, break_token_in_depot, central, "C4 broken in broken");
    EXPECT_PANIC(t, break_depot, central, "C5 broken in broken");
    kmem_cache_destroy(cache);
}
