/* Large objects: what CPUs keep of them, how they grow where they are, and that each is freed once. */
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/slab_impl.h"
#include "mm/span/large.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define KEPT_GRANULES 32u /* the longest span that a CPU keeps */

static size_t kept_bytes(void)
{
    return slab_large_stats().kept_bytes;
}

TEST(slab_large, freed_is_kept_and_taken_again)
{
    mm_drain();

    unsigned long irq = port_irq_save(); /* on one CPU */
    void *a = kmalloc(50000), *b = kmalloc(50000), *longer = kmalloc(60000);

    kfree(a);
    EXPECT(t, kept_bytes() == 7 * GRANULE_BYTES);
    kfree(b); /* one of each length */
    EXPECT(t, kept_bytes() == 7 * GRANULE_BYTES);
    kfree(longer);
    EXPECT(t, kept_bytes() == 15 * GRANULE_BYTES);

    void *again = kmalloc(51000), *other = kmalloc(51000);

    EXPECT(t, again == a && other != a);
    EXPECT(t, kept_bytes() == 8 * GRANULE_BYTES);
    kfree(again);
    kfree(other);
    port_irq_restore(irq);
    slab_drain_all();
    EXPECT(t, kept_bytes() == 0);
}

TEST(slab_large, kept_within_a_budget)
{
    static void *objects[KEPT_GRANULES + 2];
    size_t budget = atomic_load_explicit(&slab_limits.cpu_bytes, memory_order_relaxed) / 2;
    unsigned long irq;

    mm_drain();
    for (unsigned granules = 5; granules < ARRAY_COUNT(objects); granules++)
        REQUIRE(t, (objects[granules] = kmalloc(granules * GRANULE_BYTES)) != NULL);
    irq = port_irq_save();
    kfree(objects[KEPT_GRANULES + 1]);
    EXPECT(t, kept_bytes() == 0);
    for (unsigned granules = 5; granules <= KEPT_GRANULES; granules++)
        kfree(objects[granules]);
    EXPECT(t, kept_bytes() > 0 && kept_bytes() <= MIN(budget, 512 * KIB));
    port_irq_restore(irq);
}

/* What is kept is aligned to a granule: of two neighbours, one is no more than that. */
TEST(slab_large, aligned_is_not_what_is_kept)
{
    size_t bytes = KEPT_GRANULES * GRANULE_BYTES;
    char *a = kmalloc(bytes), *b = kmalloc(bytes);

    REQUIRE(t, a != NULL && b != NULL);

    bool is_b = IS_ALIGNED((uintptr_t)a, CHUNK_BYTES);
    unsigned long irq = port_irq_save();

    kfree(is_b ? b : a);

    char *aligned = kmalloc_aligned(bytes, CHUNK_BYTES);

    port_irq_restore(irq);
    EXPECT(t, aligned != NULL && IS_ALIGNED((uintptr_t)aligned, CHUNK_BYTES));
    kfree(aligned);
    kfree(is_b ? a : b);
}

/* ---- Growing ---- */

#define OBJECTS    12u
#define GROW_TURNS (CONFIG_DEBUG ? 300u : 1500u) /* of which most write 200 KiB, twice */

struct object {
    void *addr; /* NULL: none */
    size_t bytes;
};

/* Returns whether it stayed where it was, longer. */
static bool object_turn(struct test *t, struct object *object, uint64_t *state)
{
    size_t bytes = KMALLOC_SMALL_MAX + 1 + random_next(state) % (400 * KIB);

    if (object->addr != NULL) {
        EXPECT(t, object_holds(object->addr, object->bytes, (uintptr_t)object));
        if (random_next(state) % 3 == 0) {
            kfree_sized(object->addr, object->bytes);
            object->addr = NULL;
            return false;
        }
    }

    size_t had = ksize(object->addr);
    void *moved = krealloc(object->addr, bytes);
    bool has_grown = moved == object->addr && had < bytes;

    if (!EXPECT(t, moved != NULL))
        return false;
    EXPECT(t, ksize(moved) == ALIGN_UP(bytes, GRANULE_BYTES));
    if (object->addr != NULL)
        EXPECT(t, object_holds(moved, MIN(bytes, object->bytes), (uintptr_t)object));
    *object = (struct object){moved, bytes};
    object_fill(moved, bytes, (uintptr_t)object);
    return has_grown;
}

TEST(slab_large, grows_where_it_is)
{
    static struct object objects[OBJECTS];
    uint64_t state = test_seed(t);
    size_t before = slab_large_stats().live_bytes, bytes = 0;
    unsigned grown = 0;

    for (unsigned turn = 0; turn < GROW_TURNS && t->failures == 0; turn++)
        grown += object_turn(t, &objects[random_next(&state) % OBJECTS], &state);
    /* Above 4 GiB memory below is kept for devices, and what lies there does not grow. */
    EXPECT(t, grown > 0 || page_debug_is_on() || page_stats().ram_pages > 4 * GIB / PAGE_BYTES);
    for (unsigned i = 0; i < OBJECTS; i++)
        bytes += ksize(objects[i].addr);
    EXPECT(t, slab_large_stats().live_bytes == before + bytes);
    span_check_all();
    for (unsigned i = 0; i < OBJECTS; i++) {
        kfree(objects[i].addr);
        objects[i].addr = NULL;
    }
    mm_drain();
    mm_check();
}

/* ---- Freed once ---- */

static void free_past_the_look(void *object)
{
    struct span *span = span_of(object);

    slab_large_free(span, object);
    slab_large_free(span, object);
}

static void size_of_freed(void *object)
{
    kfree(object);
    ksize(object);
}

TEST(slab_large, free_ones_are_told)
{
    void *object = kmalloc(50000);

    REQUIRE(t, object != NULL);
    EXPECT_PANIC(t, free_past_the_look, object, "kfree: double free of 0x");
    EXPECT_PANIC(t, size_of_freed, object, " is free");
    EXPECT_PANIC(t, size_of_freed, object, "large object, free, kept by a CPU");
    kfree(object);
}

#define RACE_ROUNDS 1000u

static struct race {
    struct span *span;
    _Atomic unsigned here;  /* CPUs that have come to a step, all rounds; acquire / release */
    _Atomic unsigned taken; /* by how many CPUs, all rounds; relaxed */
} race;

static void race_wait(unsigned step)
{
    atomic_fetch_add_explicit(&race.here, 1, memory_order_acq_rel);
    while (atomic_load_explicit(&race.here, memory_order_acquire) < 2 * step)
        arch_relax();
}

/* CPUs 0 and 1 take one object back as nearly at once as they can. */
static void race_job(void *unused)
{
    (void)unused;
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        if (port_cpu_id() == 0)
            span_large_hand_out(race.span);
        race_wait(2 * round + 1);
        if (span_large_take_back(race.span))
            atomic_fetch_add_explicit(&race.taken, 1, memory_order_relaxed);
        race_wait(2 * round + 2);
    }
}

TEST(slab_large, freed_by_two_cpus_is_freed_once)
{
    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    race.span = span_create_large(50000, 1, 0);
    REQUIRE(t, race.span != NULL);
    atomic_store(&race.here, 0);
    atomic_store(&race.taken, 0);
    cpu_run_all(2, race_job, NULL);
    EXPECT(t, race.taken == RACE_ROUNDS);
    EXPECT(t, span_destroy(race.span));
}

/* The second of two frees at once: what it has looked up is another object's descriptor by now. */
static void free_by_a_stale_span(void *unused)
{
    char *object, *behind = kmalloc((KEPT_GRANULES + 1) * GRANULE_BYTES);
    struct span *span;

    (void)unused;
    do { /* until both are beside each other: no more holes */
        object = behind;
        behind = kmalloc((KEPT_GRANULES + 1) * GRANULE_BYTES);
    } while (behind != NULL && behind != object + (KEPT_GRANULES + 1) * GRANULE_BYTES);
    span = span_of(object);
    kfree(object);

    char *longer = kmalloc((KEPT_GRANULES + 2) * GRANULE_BYTES); /* does not fit where it was */

    CHECK(span_of(longer) == span && longer != object && behind != NULL);
    slab_large_free(span, object);
}

TEST(slab_large, freed_with_another_descriptor_is_found)
{
    EXPECT_PANIC(t, free_by_a_stale_span, NULL, "kfree: double free of 0x");
}
