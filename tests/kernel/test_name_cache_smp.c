/*
 * The name cache with many threads, while collections follow one another: each entry that is found is whole,
 * and what a thread has entered is there until it removes it, or the clock does.
 */
#include "kernel/name_cache.h"
#include "tests/kernel/name_cache_test.h"
#include "tests/kernel/thread/team.h"

#define WORKERS 8u
#define CYCLES  10u /* that there are, before all have done enough */

static GC_ROOT(struct name_cache, smp_cache);
static _Atomic unsigned smp_wrong, smp_over, smp_cycles;

static void wrong_if(bool is_wrong)
{
    atomic_fetch_add_explicit(&smp_wrong, is_wrong, memory_order_relaxed);
}

static bool smp_is_over(void)
{
    return atomic_load_explicit(&smp_over, memory_order_acquire) == WORKERS;
}

static bool smp_is_enough(void)
{
    return atomic_load_explicit(&smp_cycles, memory_order_relaxed) >= CYCLES;
}

static void collect_on(void *unused)
{
    (void)unused;
    while (!smp_is_over()) {
        gc_collect();
        atomic_fetch_add_explicit(&smp_cycles, 1, memory_order_relaxed);
    }
}

static void smp_create(struct test *t, size_t limit)
{
    struct name_cache *cache = name_cache_create(limit);

    REQUIRE(t, cache != NULL);
    gc_store(&smp_cache, cache);
}

/* WORKERS threads, each with its number; one that collects; and one that runs `watch`, if there is one. */
static void smp_run(struct test *t, void (*body)(void *number), void (*watch)(void *unused))
{
    struct team team = {.count = 0};

    atomic_store(&smp_wrong, 0);
    atomic_store(&smp_over, 0);
    atomic_store(&smp_cycles, 0);
    for (uintptr_t i = 0; i < WORKERS; i++)
        team_add(t, &team, body, (void *)i);
    team_add(t, &team, collect_on, NULL);
    if (watch != NULL)
        team_add(t, &team, watch, NULL);
    team_join(&team);
    EXPECT(t, atomic_load(&smp_wrong) == 0);
}

/* Now and then: so that who marks, and who collects, waits for no slice of time to end. */
static void body_yields(uint64_t step)
{
    if (step % 64 == 0)
        thread_yield();
}

static void body_over(void)
{
    atomic_fetch_add_explicit(&smp_over, 1, memory_order_release);
}

/* ---- Everything at once ---- */

#define MIXED_NAMES 1500u
#define MIXED_LIMIT 1000u
#define MIXED_HELD  64u

/*
 * All look up, enter and remove the same names, more than there is room for; and each keeps some entries,
 * which it looks at again when they may long have left the cache.
 */
static void mixed_body(void *number)
{
    struct name_cache *cache = gc_load(&smp_cache);
    uint64_t random = random_start(1, (uintptr_t)number);
    const struct name *held[MIXED_HELD] = {NULL};
    uint64_t held_i[MIXED_HELD];

    for (uint64_t step = 0; !smp_is_enough(); step++) {
        uint64_t i = random_next(&random) % MIXED_NAMES, place = random_next(&random) % MIXED_HELD;
        const struct name *name = NULL;

        wrong_if(held[place] != NULL && !name_test_is(held[place], held_i[place]));
        switch (random_next(&random) % 4) {
        case 0:
            name_test_remove(cache, i);
            break;
        case 1:
            name = name_test_enter(cache, i);
            break;
        default:
            name = name_test_find(cache, i);
        }
        wrong_if(name != NULL && !name_test_is(name, i));
        held[place] = name;
        held_i[place] = i;
        body_yields(step);
    }
    body_over();
}

TEST(names_smp, all_do_everything)
{
    smp_create(t, MIXED_LIMIT);
    smp_run(t, mixed_body, NULL);
    EXPECT(t, name_cache_check(gc_load(&smp_cache)) <= MIXED_LIMIT);
    EXPECT(t, name_cache_stats(gc_load(&smp_cache)).losses == 0);
    gc_store(&smp_cache, NULL);
}

/* ---- Names of one's own ---- */

#define OWN_NAMES 600u

/* What others do in the same buckets, and that these move, loses nothing and brings nothing back. */
static void own_body(void *number)
{
    struct name_cache *cache = gc_load(&smp_cache);
    uint64_t first = (uintptr_t)number * OWN_NAMES;

    while (!smp_is_enough()) {
        for (uint64_t i = first; i < first + OWN_NAMES; i++) {
            wrong_if(!name_test_is(name_test_enter(cache, i), i));
            wrong_if(!name_test_is(name_test_find(cache, i), i));
            wrong_if(!name_test_is(name_test_find(cache, first), first));
            body_yields(i);
        }
        for (uint64_t i = first; i < first + OWN_NAMES; i++) {
            wrong_if(!name_test_is(name_test_find(cache, i), i));
            wrong_if(!name_test_remove(cache, i));
            wrong_if(name_test_find(cache, i) != NULL || name_test_remove(cache, i));
            body_yields(i);
        }
    }
    body_over();
}

TEST(names_smp, each_has_its_own)
{
    smp_create(t, WORKERS * OWN_NAMES);
    smp_run(t, own_body, NULL);
    EXPECT(t, name_cache_check(gc_load(&smp_cache)) == 0);
    EXPECT(t, name_cache_stats(gc_load(&smp_cache)).evictions == 0);
    gc_store(&smp_cache, NULL);
}

/* ---- The same names ---- */

#define RACE_NAMES 10000u

static _Atomic uint64_t race_winners, race_removers;

/* One of all is the first, and one of all removes it. */
static void race_body(void *number)
{
    struct name_cache *cache = gc_load(&smp_cache);
    struct name_key key;

    for (uint64_t i = 0; i < RACE_NAMES; i++) {
        const struct name *name;

        name_test_key(&key, i);
        name = name_cache_insert(cache, key.parent, key.text, key.bytes, NULL, (uintptr_t)number);
        wrong_if(name == NULL || memcmp(&name->key, &key, sizeof(key)) != 0);
        if (name != NULL && name->number == (uintptr_t)number)
            atomic_fetch_add_explicit(&race_winners, 1, memory_order_relaxed);
        body_yields(i);
    }
    body_over();
}

static void race_remove_body(void *unused)
{
    struct name_cache *cache = gc_load(&smp_cache);

    (void)unused;
    for (uint64_t i = 0; i < RACE_NAMES; i++) {
        atomic_fetch_add_explicit(&race_removers, name_test_remove(cache, i), memory_order_relaxed);
        body_yields(i);
    }
    body_over();
}

TEST(names_smp, one_is_first)
{
    atomic_store(&race_winners, 0);
    atomic_store(&race_removers, 0);
    smp_create(t, RACE_NAMES + WORKERS);
    smp_run(t, race_body, NULL);
    EXPECT(t, atomic_load(&race_winners) == RACE_NAMES);
    EXPECT(t, name_cache_check(gc_load(&smp_cache)) == RACE_NAMES);
    smp_run(t, race_remove_body, NULL);
    EXPECT(t, atomic_load(&race_removers) == RACE_NAMES);
    EXPECT(t, name_cache_check(gc_load(&smp_cache)) == 0);
    gc_store(&smp_cache, NULL);
}

/* ---- Growth under readers ---- */

#define GROW_OLD 300u
#define GROW_NEW 4000u /* of each */

static void grow_watch(void *unused)
{
    struct name_cache *cache = gc_load(&smp_cache);

    (void)unused;
    while (!smp_is_over()) {
        for (uint64_t i = 0; i < GROW_OLD; i++)
            wrong_if(!name_test_is(name_test_find(cache, i), i));
        thread_yield(); /* a hosted flow that turns no interrupts off is not preempted */
    }
}

static void grow_body(void *number)
{
    struct name_cache *cache = gc_load(&smp_cache);
    uint64_t first = GROW_OLD + (uintptr_t)number * GROW_NEW;

    for (uint64_t i = first; i < first + GROW_NEW; i++) {
        wrong_if(!name_test_is(name_test_enter(cache, i), i));
        wrong_if(!name_test_is(name_test_find(cache, i % GROW_OLD), i % GROW_OLD));
        body_yields(i);
    }
    body_over();
}

TEST(names_smp, readers_find_all_while_it_grows)
{
    size_t count = GROW_OLD + WORKERS * GROW_NEW;

    smp_create(t, count);
    for (uint64_t i = 0; i < GROW_OLD; i++)
        name_test_enter(gc_load(&smp_cache), i);
    smp_run(t, grow_body, grow_watch);
    EXPECT(t, name_cache_check(gc_load(&smp_cache)) == count);
    EXPECT(t, name_cache_stats(gc_load(&smp_cache)).buckets >= count / 2);
    gc_store(&smp_cache, NULL);
}
