/* A CPU's magazines: how large they become, within what budget, in which order slots leave them. */
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/stat.h"
#include "mm/port.h"
#include "mm/slab/slab_impl.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS   4096u
#define CPU_FLOOR (32 * KIB) /* what every CPU's magazines may hold, whatever the heap */

static void *objects[OBJECTS];

static struct central *central_for(size_t bytes)
{
    return &slab_centrals[size_class_of(bytes)];
}

static struct slab_cpu *cpu_here(void)
{
    return port_this_cpu(slab_cpu);
}

/* Take and give back n objects. */
static void turn_over(struct test *t, size_t bytes, size_t n)
{
    REQUIRE(t, kmalloc_bulk(bytes, n, objects) == n);
    kfree_bulk(n, objects);
}

/* ---- Capacity ---- */

TEST(slab_magazine, capacity_begins_small_and_doubles)
{
    if (!slots_are_exact(t))
        return;

    const struct central *central = central_for(128);
    unsigned index = central->owner.index, had = 0;
    struct slab_class_stats row;

    mm_drain();
    slab_class_stats(index - 1, &row);

    size_t live = row.live;
    unsigned long irq = port_irq_save(); /* on one CPU */

    for (unsigned i = 0; i < 300; i++) {
        objects[i] = kmalloc(128);

        unsigned now = cpu_here()->capacity[index];

        /* once a miss, be it that a span is made for it, as for the first */
        EXPECT(t, i == 0 ? now == central->magazine_min
                         : now >= had && now <= MIN(2 * had, central->magazine_max));
        EXPECT(t, magazine_loaded(cpu_here()->tops[index]) < now);
        had = now;
    }
    EXPECT(t, had == central->magazine_max);
    kfree_bulk(200, objects);
    slab_class_stats(index - 1, &row);
    EXPECT(t, row.live == live + 100);
    EXPECT(t, magazine_loaded(cpu_here()->tops[index]) <= had);
    kfree_bulk(100, objects + 200);
    port_irq_restore(irq);
}

TEST(slab_magazine, hold_about_32_kib)
{
    if (!slots_are_plain(t))
        return;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct central *central = &slab_centrals[class];
        size_t slot_bytes = central->owner.layout.slot_bytes;

        EXPECT(t, central->magazine_max * slot_bytes <= MAX(32 * KIB, 2 * slot_bytes));
        EXPECT(t, central->magazine_max * slot_bytes > 16 * KIB ||
                      central->magazine_max == MAGAZINE_SLOTS);
        EXPECT(t, central->magazine_min >= 2 && central->magazine_min <= central->magazine_max);
    }
}

static size_t capacity_sum(void)
{
    size_t bytes = 0;

    for (unsigned index = 1; index < SLAB_INDEX_MAX; index++) {
        const struct central *central = atomic_load(&slab_by_index[index]);

        if (central != NULL)
            bytes += 2 * (size_t)cpu_here()->capacity[index] * central->owner.layout.slot_bytes;
    }
    return bytes;
}

/* A first magazine everyone gets; what would make them larger is asked for. */
TEST(slab_magazine, capacity_stays_in_a_budget)
{
    if (!slots_are_plain(t))
        return;

    size_t cpu_bytes = atomic_exchange(&slab_limits.cpu_bytes, CPU_FLOOR);

    mm_drain();

    unsigned long irq = port_irq_save();

    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class += 3) {
        unsigned n = 64, had = 0;

        for (unsigned i = 0; i < n; i++) {
            objects[i] = kmalloc(size_class_layout[class].slot_bytes);

            unsigned now = cpu_here()->capacity[class];

            EXPECT(t, had == 0 || now <= had || cpu_here()->capacity_bytes <= CPU_FLOOR);
            had = now;
        }
        EXPECT(t, capacity_sum() == cpu_here()->capacity_bytes);
        kfree_bulk(n, objects);
    }
    slab_drain_this_cpu(NULL);
    EXPECT(t, cpu_here()->capacity_bytes == 0);
    port_irq_restore(irq);
    atomic_store(&slab_limits.cpu_bytes, cpu_bytes);
}

/* A CPU that has had no such objects gets a magazine from the depot that is as large as they become. */
TEST(slab_magazine, capacity_is_that_of_what_the_depot_has)
{
    if (!slots_are_plain(t))
        return;
    mm_drain();

    struct central *central = central_for(128);
    unsigned index = central->owner.index;
    unsigned long irq = port_irq_save();

    turn_over(t, 128, 1000);
    EXPECT(t, central_sums(central).full_count > 0);
    magazine_drain(central);
    EXPECT(t, cpu_here()->capacity[index] == 0 && capacity_sum() == cpu_here()->capacity_bytes);

    void *object = kmalloc(128);

    EXPECT(t, cpu_here()->room[index] == central->magazine_max);
    EXPECT(t, cpu_here()->capacity[index] == central->magazine_max);
    EXPECT(t, capacity_sum() == cpu_here()->capacity_bytes);
    kfree(object);
    port_irq_restore(irq);
    slab_check();
}

/* With a budget for one class: it moves to another that misses, unless its owner misses as well. */
TEST(slab_magazine, capacity_moves_to_who_misses)
{
    if (!slots_are_plain(t))
        return;
    if (port_setting_guard_rate() != 0) {
        test_skip(t, "samples put magazines away");
        return;
    }

    const struct central *rests = central_for(512), *misses = central_for(1024);
    unsigned rests_index = rests->owner.index, misses_index = misses->owner.index;
    size_t cpu_bytes = atomic_exchange(&slab_limits.cpu_bytes, CPU_FLOOR);

    mm_drain();

    unsigned long irq = port_irq_save();

    turn_over(t, 512, 400);
    EXPECT(t, cpu_here()->capacity[rests_index] == rests->magazine_max);
    for (unsigned round = 0; round < 600; round++) {
        turn_over(t, 1024, 40);
        EXPECT(t, cpu_here()->capacity[rests_index] == rests->magazine_max);
        turn_over(t, 512, 400);
        EXPECT(t, cpu_here()->capacity[rests_index] == rests->magazine_max);
    }
    for (unsigned round = 0; round < 1200 && cpu_here()->capacity[rests_index] != 0; round++)
        turn_over(t, 1024, 40);
    turn_over(t, 1024, 400);
    EXPECT(t, cpu_here()->capacity[rests_index] == 0);
    EXPECT(t, cpu_here()->capacity[misses_index] > misses->magazine_min);
    EXPECT(t, cpu_here()->capacity_bytes <= CPU_FLOOR);
    port_irq_restore(irq);
    atomic_store(&slab_limits.cpu_bytes, cpu_bytes);
}

/* Empty magazines of small objects come to more than the share of the heap that a CPU may keep. */
TEST(slab_magazine, empty_ones_are_kept_by_a_share_of_the_heap)
{
    if (!slots_are_plain(t))
        return;
    mm_drain();

    unsigned long irq = port_irq_save();

    turn_over(t, 16, OBJECTS);

    size_t share = span_bytes_now() / 8 / port_cpu_count() / sizeof(struct seq_magazine);
    size_t few = MAX(share, 8u), most = 0;

    EXPECT(t, OBJECTS / MAGAZINE_SLOTS > 2 * few);
    for (unsigned i = 0; i < OBJECTS; i++) {
        objects[i] = kmalloc(16);
        most = MAX(most, cpu_here()->empty_count);
    }
    EXPECT(t, most <= few && most >= few / 2);
    kfree_bulk(OBJECTS, objects);
    port_irq_restore(irq);
    mm_drain();
    EXPECT(t, magazine_pool_bytes() == 0);
}

/* ---- Order ---- */

/* Of n objects of a new cache, how many are handed out next to the one before. */
static unsigned neighbours(struct test *t, bool is_random)
{
    struct settings kept = settings;
    struct kmem_cache *cache = kmem_cache_create("order", 128, 0, NULL, 0);
    unsigned n = 300, count = 0;

    if (!EXPECT(t, cache != NULL))
        return 0;
    settings.slab_random = is_random;

    unsigned long irq = port_irq_save();

    EXPECT(t, kmem_cache_alloc_bulk(cache, n, objects) == n);
    port_irq_restore(irq);
    settings = kept;
    for (unsigned i = 1; i < n; i++) {
        uintptr_t a = (uintptr_t)objects[i - 1], b = (uintptr_t)objects[i];

        count += MAX(a, b) - MIN(a, b) == 128;
    }
    kmem_cache_free_bulk(cache, n, objects);
    kmem_cache_destroy(cache);
    return count;
}

TEST(slab_magazine, order_is_random_if_set)
{
    if (!slots_are_plain(t))
        return;
    EXPECT(t, neighbours(t, true) < 100);
    EXPECT(t, neighbours(t, false) > 200);
}

/* ---- Armed faults ---- */

TEST(slab_magazine, nothing_cached_hides_a_fault)
{
    const struct central *central = central_for(64);
    void *p = kmalloc(64);

    kfree(p);
    fault_fail_nth(1);
    EXPECT(t, kmalloc(64) == NULL);
    EXPECT(t, fault_disarm());
    fault_fail_nth(1000);
    p = kmalloc(64);
    EXPECT(t, p != NULL && cpu_here()->tops[central->owner.index] == 0);
    kfree(p);
    EXPECT(t, cpu_here()->tops[central->owner.index] == 0);
    EXPECT(t, !fault_disarm());
}

/* ---- Idle CPUs ---- */

static void fill_on_others(void *unused)
{
    (void)unused;
    if (port_cpu_id() != 0)
        kfree(kmalloc(128));
}

/* The runner holds idle work back; here it runs until it has done what it is to do. */
TEST(slab_magazine, idle_cpus_give_theirs_back)
{
    const struct stat *drains = stat_find("slab", "idle_drains");

    if (!slots_are_plain(t))
        return;
    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    mm_drain();
    cpu_run_all(port_cpu_count(), fill_on_others, NULL);
    EXPECT(t, slab_stats().magazine_bytes > 0);

    uint64_t before = stat_read(drains);

    cpu_idle_release();
    while (stat_read(drains) < before + port_cpu_count() - 1)
        arch_relax();
    cpu_idle_hold();
    EXPECT(t, slab_stats().magazine_bytes == 0);
}
