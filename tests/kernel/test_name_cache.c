/* The name cache, one thread at a time: names, values, growth, the bound, commands. */
#include "arch/arch.h"
#include "kernel/base/format.h"
#include "kernel/command.h"
#include "kernel/name_cache_impl.h"
#include "tests/kernel/capture.h"
#include "tests/kernel/name_cache_test.h"
#include "tests/mm/gc/gc_test.h"

static const struct name *find(struct name_cache *cache, uint64_t parent, const char *text)
{
    return name_cache_lookup(cache, parent, text, strlen(text));
}

static const struct name *enter(struct name_cache *cache, uint64_t parent, const char *text,
                                uint64_t number)
{
    return name_cache_insert(cache, parent, text, strlen(text), NULL, number);
}

static bool is_number(struct name_cache *cache, uint64_t parent, const char *text, uint64_t number)
{
    const struct name *name = find(cache, parent, text);

    return name != NULL && name->number == number && name->key.parent == parent &&
           strcmp(name->key.text, text) == 0;
}

/* ---- Names ---- */

static void names_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(100);

    REQUIRE(t, cache != NULL);
    EXPECT(t, find(cache, 1, "a") == NULL && !name_cache_remove(cache, 1, "a", 1));
    EXPECT(t, enter(cache, 1, "a", 10) != NULL && enter(cache, 2, "a", 20) != NULL);
    EXPECT(t, enter(cache, 1, "ab", 30) != NULL && enter(cache, 1, "b", 40) != NULL);
    EXPECT(t, enter(cache, 1, "a", 99)->number == 10); /* the first stays */
    EXPECT(t, is_number(cache, 1, "a", 10) && is_number(cache, 2, "a", 20));
    EXPECT(t, is_number(cache, 1, "ab", 30) && is_number(cache, 1, "b", 40));
    EXPECT(t, find(cache, 2, "ab") == NULL && find(cache, 1, "") == NULL);
    EXPECT(t, name_cache_remove(cache, 1, "a", 1) && !name_cache_remove(cache, 1, "a", 1));
    EXPECT(t, find(cache, 1, "a") == NULL && is_number(cache, 2, "a", 20));
    EXPECT(t, enter(cache, 1, "a", 50)->number == 50 && is_number(cache, 1, "a", 50));
    EXPECT(t, name_cache_check(cache) == 4);
}

TEST(names, first_entry_of_a_name_stays)
{
    gc_test_run(t, names_body);
}

static void lengths_body(struct test *t)
{
    static const char text[NAME_BYTES + 2] = "aaaaaaaa\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct name_cache *cache = name_cache_create(1000);

    REQUIRE(t, cache != NULL);
    EXPECT(t, name_cache_insert(cache, 0, text, 0, NULL, 0) == NULL);
    EXPECT(t, name_cache_insert(cache, 0, text, NAME_BYTES + 1, NULL, 0) == NULL);
    for (unsigned bytes = 1; bytes <= NAME_BYTES; bytes++)
        EXPECT(t, name_cache_insert(cache, 0, text, bytes, NULL, bytes)->number == bytes);
    for (unsigned bytes = 1; bytes <= NAME_BYTES; bytes++) {
        const struct name *name = name_cache_lookup(cache, 0, text, bytes);

        EXPECT(t, name != NULL && name->number == bytes && name->key.text[bytes] == '\0');
    }
    EXPECT(t, name_cache_check(cache) == NAME_BYTES);
}

TEST(names, lengths_and_any_bytes)
{
    gc_test_run(t, lengths_body);
}

/* Names that differ in their last bytes only, as many as buckets: no bucket has many. */
TEST(names, hashes_are_spread)
{
    static uint8_t counts[1024];
    unsigned most = 0;

    memset(counts, 0, sizeof(counts));
    for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
        char text[32];
        size_t bytes = format_string(text, sizeof(text), "a-directory-entry-%u", i);
        uint8_t *count = &counts[name_hash(1, text, bytes) % ARRAY_COUNT(counts)];

        most = MAX(most, ++*count);
    }
    EXPECT(t, most <= 8);
}

/* ---- Values ---- */

static NOINLINE bool enter_tree(struct name_cache *cache, uint64_t parent)
{
    return name_cache_insert(cache, parent, "tree", 4, gc_test_tree(5, parent), 0) != NULL;
}

static void values_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(200);
    const struct name *held;

    REQUIRE(t, cache != NULL);
    for (uint64_t parent = 1; parent <= 100; parent++)
        REQUIRE(t, enter_tree(cache, parent));
    held = find(cache, 7, "tree");
    EXPECT(t, name_cache_remove(cache, 7, "tree", 4));
    for (unsigned i = 0; i < 3; i++) {
        gc_collect();
        for (unsigned j = 0; j < 3000; j++) /* what was freed is handed out again */
            gc_test_node(NULL, NULL, 99999);
    }
    EXPECT(t, gc_test_count(gc_load(&held->object), 7) == 63); /* it is still ours */
    for (uint64_t parent = 1; parent <= 100; parent++) {
        const struct name *name = find(cache, parent, "tree");

        EXPECT(t, (name == NULL) == (parent == 7));
        EXPECT(t, name == NULL || gc_test_count(gc_load(&name->object), parent) == 63);
    }
}

TEST(names, objects_stay_with_their_names)
{
    gc_test_run(t, values_body);
}

/* A cache that nobody refers to goes with all that is in it. */
static NOINLINE void fill_and_forget(struct test *t)
{
    struct name_cache *cache = name_cache_create(20000);

    REQUIRE(t, cache != NULL);
    for (uint64_t i = 0; i < 20000; i++)
        name_test_enter(cache, i);
    gc_collect();
    EXPECT(t, gc_stats().live_bytes > 20000 * sizeof(struct name));
}

static void forget_body(struct test *t)
{
    fill_and_forget(t);
    gc_collect_idle(); /* whatever this stack still holds */
    EXPECT(t, gc_stats().live_bytes < 10000 * sizeof(struct name));
}

TEST(names, what_nobody_refers_to_goes)
{
    gc_test_run(t, forget_body);
}

/* ---- Against a model ---- */

#define MODEL_NAMES 3000u

static void model_body(struct test *t)
{
    static bool is_there[MODEL_NAMES];
    uint64_t random = test_seed(t);
    struct name_cache *cache = name_cache_create(MODEL_NAMES);
    unsigned wrong = 0;
    size_t count = 0;

    REQUIRE(t, cache != NULL);
    memset(is_there, 0, sizeof(is_there));
    for (unsigned step = 0; step < 60000 && wrong == 0; step++) {
        uint64_t i = random_next(&random) % MIN(MODEL_NAMES, step / 8 + 1); /* more and more */
        bool was_there = is_there[i];

        switch (random_next(&random) % 4) {
        case 0:
            wrong += name_test_remove(cache, i) != was_there;
            is_there[i] = false;
            break;
        case 1:
        case 2:
            wrong += !name_test_is(name_test_enter(cache, i), i);
            is_there[i] = true;
            break;
        default:
            wrong += (name_test_find(cache, i) != NULL) != was_there;
        }
        count = count + is_there[i] - was_there;
        if (step % 500 == 0)
            wrong += name_cache_check(cache) != count;
    }
    EXPECT(t, wrong == 0 && name_cache_check(cache) == count);
    EXPECT(t, name_cache_stats(cache).buckets >= 1024 && name_cache_stats(cache).evictions == 0);
}

TEST(names, as_a_model_has_it)
{
    gc_test_run(t, model_body);
}

/* ---- Growth ---- */

/* Before there are half as many more names as there were buckets, though nobody comes to most of them. */
static void growth_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(5000);
    size_t buckets = NAME_BUCKETS;
    uint64_t since = 0;
    unsigned late = 0;

    REQUIRE(t, cache != NULL);
    for (uint64_t i = 0; i < 5000; i++) {
        struct name_table *table;

        name_test_enter(cache, i);
        table = gc_load(&cache->table);
        if (table->mask + 1 != buckets)
            since = i;
        buckets = table->mask + 1;
        late += gc_load(&table->older) != NULL && i > since + buckets / 4;
    }
    EXPECT(t, late == 0 && buckets == 8192 && name_cache_check(cache) == 5000);
}

TEST(names, a_growth_ends)
{
    gc_test_run(t, growth_body);
}

/* Who has a bucket of an older table, and its chain, cannot change it any more. */
static void late_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(1000);
    struct name *chain, *name;
    GC_PTR(struct name) *slot;
    struct name_key key;

    REQUIRE(t, cache != NULL);
    name_test_key(&key, 1000);
    slot = name_table_open(cache, key.hash, &chain);
    name = name_new(&key, NULL, 0);
    REQUIRE(t, name != NULL);
    gc_store(&name->next, chain);
    for (uint64_t i = 1; name_cache_stats(cache).buckets == NAME_BUCKETS; i++) {
        name_test_key(&key, i);
        if (((key.hash ^ name->key.hash) & (NAME_BUCKETS - 1)) != 0)
            name_test_enter(cache, i);
    }
    EXPECT(t, gc_load(slot) == chain);
    EXPECT(t, name_test_is(name_test_enter(cache, 1000), 1000));
    EXPECT(t, !gc_cas(slot, chain, name) && name_test_is(name_test_find(cache, 1000), 1000));
}

TEST(names, who_comes_too_late_changes_nothing)
{
    gc_test_run(t, late_body);
}

/* ---- The bound ---- */

#define BOUND_LIMIT 200u
#define BOUND_HOT   20u

static void bound_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(BOUND_LIMIT);
    unsigned over = 0, gone = 0;

    REQUIRE(t, cache != NULL);
    for (uint64_t i = 0; i < BOUND_HOT; i++)
        name_test_enter(cache, i);
    for (uint64_t i = BOUND_HOT; i < 20 * BOUND_LIMIT; i++) {
        for (uint64_t hot = 0; hot < BOUND_HOT; hot++)
            gone += name_test_find(cache, hot) == NULL;
        name_test_enter(cache, i);
        over += name_cache_check(cache) > BOUND_LIMIT;
    }
    EXPECT(t, over == 0 && gone == 0); /* what is looked up stays */
    EXPECT(t, name_cache_check(cache) == BOUND_LIMIT);
    EXPECT(t, name_cache_stats(cache).evictions == 19 * BOUND_LIMIT);
    EXPECT(t, name_cache_stats(cache).buckets <= 2 * BOUND_LIMIT);
}

TEST(names, never_more_than_the_limit)
{
    gc_test_run(t, bound_body);
}

/* All have been looked up: one goes all the same. */
static void used_body(struct test *t)
{
    struct name_cache *cache = name_cache_create(1000);

    REQUIRE(t, cache != NULL);
    for (uint64_t i = 0; i < 1000; i++) {
        name_test_enter(cache, i);
        name_test_find(cache, i);
    }
    for (uint64_t i = 1000; i < 1100; i++) {
        for (uint64_t j = 0; j < i; j++)
            name_test_find(cache, j);
        EXPECT(t, name_test_is(name_test_enter(cache, i), i));
    }
    EXPECT(t, name_cache_check(cache) == 1000 && name_cache_stats(cache).evictions == 100);
}

TEST(names, one_goes_though_all_are_used)
{
    gc_test_run(t, used_body);
}

/* ---- The monitor's commands ---- */

static const char *said_by(const char *command)
{
    char line[80];

    format_string(line, sizeof(line), "%s", command);
    capture_begin();
    command_run_line(line);
    return capture_end();
}

static void commands_body(struct test *t)
{
    char address[32];

    format_string(address, sizeof(address), "0x%lx ", (uintptr_t)arch_symbol_find);
    EXPECT(t, arch_symbol_find("arch_symbol_find") == (uintptr_t)arch_symbol_find);
    EXPECT(t, arch_symbol_find("arch_symbol_fin") == 0);
    EXPECT(t, strstr(said_by("names"), "there is no cache") != NULL);
    for (unsigned i = 0; i < 2; i++) {
        const char *said = said_by("symbol arch_symbol_find nothing");

        EXPECT(t, strstr(said, address) != NULL && strstr(said, "arch_symbol_find+0x0") != NULL);
        EXPECT(t, strstr(said, "no function is called nothing") != NULL);
    }
    EXPECT(t, strstr(said_by("names"), " 2 entries of up to") != NULL);
    EXPECT(t, strstr(said_by("names drop"), "cache") == NULL);
    EXPECT(t, strstr(said_by("names"), "there is no cache") != NULL);
}

TEST(names, monitor_finds_functions)
{
    gc_test_run(t, commands_body);
}
