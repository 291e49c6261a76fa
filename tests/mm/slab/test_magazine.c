/*
 * Magazines: how large they are and become, how seldom they go to the depot, what gives them back,
 * and that every slot is accounted for.
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

#define OBJECTS      4096u
#define BUDGET_FLOOR (32 * KIB) /* that each CPU's magazines may hold on the smallest heap */

static void *objects[OBJECTS];

/* No references to what comes to stand there: the tests of leaks look at all of memory. */
static void forget(void)
{
    memset(objects, 0, sizeof(objects));
}

static uint64_t slab_count(const char *name)
{
    return stat_read(stat_find("slab", name));
}

/* Visits of the depot by this machine so far. */
static uint64_t visits(void)
{
    return slab_count("refills") + slab_count("flushes");
}

static unsigned capacity_of(size_t bytes)
{
    return port_this_cpu(slab_cpu)->capacity[size_class_of(bytes)];
}

/* Take n objects and give them back, over and over. */
static void take_and_give(size_t bytes, unsigned n, unsigned rounds)
{
    while (rounds-- > 0)
        kfree_bulk(kmalloc_bulk(bytes, n, objects), objects);
}

/* ---- Capacity ---- */

/* It doubles with each look into the depot, of which there are two where a span has to be made. */
TEST(magazine, capacity_grows_with_misses)
{
    unsigned last = 2, grown = 0;

    if (!slots_are_exact(t))
        return;
    mm_drain();
    EXPECT(t, capacity_of(64) == 0);
    for (unsigned i = 0; i < OBJECTS; i++) {
        unsigned now;

        REQUIRE(t, (objects[i] = kmalloc(64)) != NULL);
        now = capacity_of(64);
        EXPECT(t, now >= last && now <= 4 * last);
        grown += now != last;
        last = now;
    }
    EXPECT(t, last == MAGAZINE_SLOTS && grown >= 2);
    kfree_bulk(OBJECTS, objects);

    /* One object again and again misses once. */
    mm_drain();
    take_and_give(64, 1, 1000);
    EXPECT(t, capacity_of(64) <= 8);
    forget();
}

/* A magazine of large slots has few: 32 KiB, and never fewer than two. */
TEST(magazine, capacity_is_bounded_by_bytes)
{
    if (!slots_are_exact(t))
        return;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        size_t bytes = size_class_layout[class].slot_bytes;

        mm_drain();
        take_and_give(bytes, 256, 2);
        EXPECT(t, capacity_of(bytes) >= 2 && capacity_of(bytes) <= MAGAZINE_SLOTS);
        EXPECT(t, capacity_of(bytes) == 2 || capacity_of(bytes) * bytes <= BUDGET_FLOOR);
    }
    forget();
}

/* Of classes in turn, each grows at the cost of those that rest. */
TEST(magazine, capacity_stays_in_the_budget)
{
    const struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    uint64_t moved = slab_count("capacity_moved");
    size_t largest_heap = 0;

    if (!slots_are_exact(t))
        return;
    mm_drain();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
            take_and_give(size_class_layout[class].slot_bytes, 128, 2);
            largest_heap = MAX(largest_heap, span_bytes_now());
        }
    }

    size_t sum = 0, least = 0;

    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        size_t bytes = size_class_layout[class].slot_bytes;
        size_t most = MIN(BUDGET_FLOOR / bytes, (size_t)MAGAZINE_SLOTS);
        size_t first = MAX(most / 8, 2ul);

        sum += 2 * cpu->capacity[class] * bytes;
        least += 2 * first * bytes;
    }
    EXPECT(t, cpu->capacity_bytes == sum);
    EXPECT(t, sum <= least + MAX(BUDGET_FLOOR, largest_heap / 4));
    EXPECT(t, slab_count("capacity_moved") > moved);
    mm_drain();
    EXPECT(t, cpu->capacity_bytes == 0);
    forget();
}

TEST(magazine, a_class_that_rests_loses_it)
{
    if (!slots_are_exact(t))
        return;
    mm_drain();
    take_and_give(1024, 200, 1);
    EXPECT(t, capacity_of(1024) > 2);
    for (unsigned round = 0; round < 100 && capacity_of(1024) > 0; round++) {
        for (size_t bytes = 2048; bytes <= 32768; bytes *= 2)
            take_and_give(bytes, 64, 1);
    }
    EXPECT(t, capacity_of(1024) == 0);
    EXPECT(t, class_row("kmalloc-1024").magazine == 0);
    forget();
}

/* ---- Visits of the depot ---- */

/*
 * With any number of objects out, at the edge of a magazine too: k objects are taken and given back,
 * a few hundred times.  Within half a magazine that costs no visit at all but the first ones.
 */
TEST(magazine, no_edge_costs_more_than_any_other_place)
{
    unsigned capacity, out = 0;

    if (!slots_are_exact(t))
        return;
    take_and_give(64, OBJECTS / 2, 3);
    capacity = capacity_of(64);
    EXPECT(t, capacity == MAGAZINE_SLOTS);
    for (; out < 3 * capacity; out++) {
        for (unsigned k = 1; k <= 2 * capacity; k += 1 + k / 4) {
            uint64_t before = visits();
            unsigned rounds = 50, operations = 2 * k * rounds;

            for (unsigned round = 0; round < rounds; round++) {
                REQUIRE(t, kmalloc_bulk(64, k, objects + out) == k);
                kfree_bulk(k, objects + out);
            }
            EXPECT(t, visits() - before <= 2 + operations / (capacity / 2));
            if (k <= capacity)
                EXPECT(t, visits() - before <= 2);
        }
        REQUIRE(t, (objects[out] = kmalloc(64)) != NULL);
    }
    kfree_bulk(out, objects);
    forget();
}

/* One way only: half a magazine for each visit, or more; from the depot, and from spans. */
TEST(magazine, a_visit_moves_a_batch)
{
    uint64_t before;
    unsigned out = OBJECTS;

    if (!slots_are_exact(t))
        return;
    take_and_give(64, OBJECTS, 2);
    before = visits();
    REQUIRE(t, kmalloc_bulk(64, OBJECTS, objects) == OBJECTS);
    EXPECT(t, visits() - before <= OBJECTS / (MAGAZINE_SLOTS / 2) + 2);
    before = visits();
    kfree_bulk(OBJECTS, objects);
    EXPECT(t, visits() - before <= OBJECTS / (MAGAZINE_SLOTS / 2) + 2);

    void *keeps_spans[OBJECTS / 16];

    REQUIRE(t, kmalloc_bulk(64, OBJECTS, objects) == OBJECTS);
    for (unsigned i = 0; i < ARRAY_COUNT(keeps_spans); i++)
        keeps_spans[i] = objects[--out];
    kfree_bulk(out, objects);
    slab_trim_depots(SIZE_MAX);
    EXPECT(t, class_row("kmalloc-64").depot == 0);
    before = visits();
    out = OBJECTS / 4;
    REQUIRE(t, kmalloc_bulk(64, out, objects) == out);
    EXPECT(t, visits() - before <= out / (MAGAZINE_SLOTS / 2) + 2);
    kfree_bulk(out, objects);
    kfree_bulk(ARRAY_COUNT(keeps_spans), keeps_spans);
    forget();
}

/* ---- Giving back ---- */

static void magazine_fill_others(void *unused)
{
    void *own[8];

    (void)unused;
    if (port_cpu_id() != 0)
        kfree_bulk(kmalloc_bulk(192, ARRAY_COUNT(own), own), own);
}

/* The runner holds idle work back; here it runs until it has done what it is to do. */
TEST(magazine, an_idle_cpu_gives_its_own_back)
{
    uint64_t before = slab_count("idle_drains");

    if (!slots_are_cached(t))
        return;
    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    mm_drain();
    cpu_run_all(port_cpu_count(), magazine_fill_others, NULL);
    EXPECT(t, class_row("kmalloc-192").magazine > 0);
    cpu_idle_release();
    while (class_row("kmalloc-192").magazine > 0)
        arch_relax();
    cpu_idle_hold();
    EXPECT(t, slab_count("idle_drains") > before);
    EXPECT(t, class_row("kmalloc-192").live == 0);
    forget();
}

/* Only magazines hold what is asked for: they are given up before NULL is. */
TEST(magazine, pressure_drains_them)
{
    static struct hog hog;
    uint64_t before = slab_count("reclaims");
    unsigned count = 0;

    if (!slots_are_cached(t))
        return;
    mm_drain();
    hog_take(&hog, 64);
    while (count < OBJECTS && (objects[count] = kmalloc(8192)) != NULL)
        count++;
    REQUIRE(t, count > 8 && count < OBJECTS);
    kfree_bulk(4, objects);
    EXPECT(t, class_row("kmalloc-8192").magazine > 0);

    void *other = kmalloc(2688); /* of a span as long, and of nobody else's size */

    EXPECT(t, other != NULL && slab_count("reclaims") > before);
    kfree(other);
    kfree_bulk(count - 4, objects + 4);
    hog_give(&hog);
    forget();
}

TEST(magazine, empty_ones_go_back)
{
    mm_drain();

    size_t before = slab_stats().cache_bytes;

    for (size_t bytes = 16; bytes <= 512; bytes *= 2)
        take_and_give(bytes, 1024, 2);
    EXPECT(t, slab_stats().cache_bytes >= before);
    slab_drain_this_cpu(NULL);
    EXPECT(t, port_this_cpu(slab_cpu)->empty_count == 0);
    mm_drain();
    EXPECT(t, slab_stats().cache_bytes == before);
    forget();
}

/* ---- Accounts ---- */

static void expect_sums(struct test *t, const char *name, size_t live, size_t slot_bytes)
{
    struct slab_class_stats row = class_row(name);

    EXPECT(t, row.live == live && row.slot_bytes == slot_bytes);
    EXPECT(t, row.taken - row.given == row.live + row.magazine + row.depot);
    EXPECT(t, row.slots >= row.live + row.magazine + row.depot);
    EXPECT(t, row.slots * row.slot_bytes <= row.span_bytes);
}

/* Every slot of a class is in use, in a magazine, in a depot or in its span; every byte too. */
TEST(magazine, every_slot_is_accounted_for)
{
    uint64_t state = test_seed(t);
    unsigned out = 0;

    if (!slots_are_exact(t))
        return;
    mm_drain();

    size_t objects_before = slab_stats().object_bytes;

    for (unsigned step = 0; step < 20000; step++) {
        if (out < OBJECTS && (out == 0 || (random_next(&state) >> 20) % 4096 < OBJECTS - out)) {
            REQUIRE(t, (objects[out] = kmalloc(320)) != NULL);
            out++;
        } else {
            kfree(objects[--out]);
        }
        if (step % 500 != 0)
            continue;

        struct slab_stats stats = slab_stats();

        expect_sums(t, "kmalloc-320", out, 320);
        EXPECT(t, stats.object_bytes == objects_before + out * 320);
        EXPECT(t, stats.object_bytes + stats.magazine_bytes + stats.depot_bytes +
                          stats.central_bytes ==
                      span_bytes_now());
    }
    kfree_bulk(out, objects);
    expect_sums(t, "kmalloc-320", 0, 320);
    mm_check();
    forget();
}
