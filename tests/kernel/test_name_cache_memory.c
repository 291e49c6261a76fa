/* The name cache without memory, and what its check finds. */
#include "kernel/fault.h"
#include "kernel/name_cache_impl.h"
#include "kernel/preempt.h"
#include "tests/kernel/name_cache_test.h"
#include "tests/mm/gc/gc_test.h"

/* ---- Memory that is missing ---- */

/* The next node needs memory that is not there: all that there was for them is in use. */
static void exhaust_nodes(void)
{
    do {
        fault_fail_nth(1);
    } while (gc_new(name) != NULL);
    fault_fail_nth(1);
}

static void no_entry_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(1000);

    REQUIRE(t, cache != NULL);
    for (uint64_t i = 0; i < 100; i++)
        name_test_enter(cache, i);
    preempt_disable(); /* so that nobody waits for a cycle */
    exhaust_nodes();
    EXPECT(t, name_test_enter(cache, 100) == NULL);
    EXPECT(t, fault_disarm());
    preempt_enable();
    for (uint64_t i = 0; i < 100; i++)
        EXPECT(t, name_test_is(name_test_find(cache, i), i));
    EXPECT(t, name_cache_check(cache) == 100);
    EXPECT(t, name_test_is(name_test_enter(cache, 100), 100));
}

TEST(names, an_entry_without_memory)
{
    gc_test_run(t, no_entry_body);
}

/* Two names of one bucket of the smallest table; the second inserted is the first of the chain. */
static uint64_t same_bucket(uint64_t i)
{
    struct name_key key, other;

    name_test_key(&key, i);
    do {
        name_test_key(&other, ++i);
    } while (((key.hash ^ other.hash) & (NAME_BUCKETS - 1)) != 0);
    return i;
}

static void no_copy_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(1000);
    uint64_t first = 0, second = same_bucket(first), third = same_bucket(second);

    REQUIRE(t, cache != NULL);
    name_test_enter(cache, first);
    name_test_enter(cache, second);
    name_test_enter(cache, third);
    EXPECT(t, name_test_remove(cache, second)); /* the third is copied */
    EXPECT(t, name_test_is(name_test_find(cache, third), third));
    preempt_disable();
    exhaust_nodes();
    EXPECT(t, name_test_remove(cache, first)); /* and cannot be */
    EXPECT(t, fault_disarm());
    preempt_enable();
    EXPECT(t, name_test_find(cache, first) == NULL && name_test_find(cache, third) == NULL);
    EXPECT(t, name_cache_check(cache) == 0 && name_cache_stats(cache).losses == 1);
}

TEST(names, a_removal_without_memory)
{
    gc_test_run(t, no_copy_body);
}

/* Fail the 1st, then the 2nd, ... acquisition while a cache is made and grows. */
static bool grow_failing(struct test *t, unsigned nth)
{
    struct name_cache *cache;
    uint64_t made = 0, found = 0;
    bool has_fired;

    gc_collect();
    gc_drain();
    preempt_disable();
    fault_fail_nth(nth);
    cache = name_cache_create(2000);
    for (uint64_t i = 0; i < 2000 && cache != NULL; i++)
        made += name_test_is(name_test_enter(cache, i), i);
    has_fired = fault_disarm();
    preempt_enable();
    EXPECT(t, has_fired || made == 2000);
    for (uint64_t i = 0; i < 2000 && cache != NULL; i++)
        found += name_test_is(name_test_find(cache, i), i);
    EXPECT(t, cache == NULL || (found <= made && found + name_cache_stats(cache).losses == made));
    EXPECT(t, cache == NULL || name_cache_check(cache) == found);
    return has_fired;
}

static void grow_failing_body(struct test *t)
{
    for (unsigned nth = 1; grow_failing(t, nth); nth++)
        continue;
}

TEST(names, grows_or_not_without_memory)
{
    gc_test_run(t, grow_failing_body);
}

/* ---- What the check finds ---- */

static void two_of_a_name(void *arg)
{
    struct name_cache *cache = name_cache_create(10);
    const struct name *name = name_test_enter(cache, 1);
    struct name *chain, *twin = name_new(&name->key, NULL, 0);
    GC_PTR(struct name) *slot = name_table_open(cache, name->key.hash, &chain);

    (void)arg;
    gc_store(&twin->next, chain);
    gc_store(slot, twin);
    name_cache_check(cache);
}

static void another_hash(void *arg)
{
    struct name_cache *cache = name_cache_create(10);

    (void)arg;
    ((struct name *)(uintptr_t)name_test_enter(cache, 1))->key.hash++;
    name_cache_check(cache);
}

static void a_place_too_many(void *arg)
{
    struct name_cache *cache = name_cache_create(10);

    (void)arg;
    name_test_enter(cache, 1);
    name_cache_give_places(cache, 1);
    name_cache_check(cache);
}

static void a_bucket_not_moved(void *arg)
{
    struct name_cache *cache = name_cache_create(10);

    (void)arg;
    gc_store(bucket_of(gc_load(&cache->table), 3), NULL);
    name_cache_check(cache);
}

TEST(names, check_names_what_is_broken)
{
    EXPECT_PANIC(t, another_hash, NULL, "N1 broken");
    EXPECT_PANIC(t, two_of_a_name, NULL, "N2 broken");
    EXPECT_PANIC(t, a_place_too_many, NULL, "N3 broken");
    EXPECT_PANIC(t, a_bucket_not_moved, NULL, "N4 broken");
}
