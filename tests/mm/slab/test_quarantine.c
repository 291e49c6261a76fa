/* The quarantine: who waits in it, how long, how much of it there is, and how it empties. */
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "tests/mm/slab/debug_case.h"
#include "tests/mm/slab/objects.h"

#define OBJECT_BYTES 2000u
#define OBJECTS_MAX  4096u

static void *objects[OBJECTS_MAX];

static unsigned count_in_state(const struct kmem_cache *cache, unsigned count, uint32_t state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++)
        n += debug_state(cache->central, objects[i]) == state;
    return n;
}

/* Slots of a central that are not free in their spans. */
static size_t taken_slots(struct central *central)
{
    struct central_sums sums = central_sums(central);

    return sums.spans * central->owner.layout.slot_count - sums.free_slots;
}

/* Objects of a cache that the quarantine has room for; 0: the test is skipped. */
static unsigned quarantine_room(struct test *t, const struct kmem_cache *cache)
{
    size_t room = slab_quarantine_stats().limit_bytes / cache->central->owner.layout.slot_bytes;

    if (room < 8 || room > OBJECTS_MAX / 2) {
        test_skip(t, "needs another quarantine=");
        return 0;
    }
    return (unsigned)room;
}

static bool take_objects(struct test *t, struct kmem_cache *cache, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!EXPECT(t, (objects[i] = kmem_cache_alloc(cache)) != NULL))
            return false;
    }
    return true;
}

/* Full, each more lets the oldest one go, and no other. */
TEST(slab_quarantine, oldest_goes_first)
{
    struct kmem_cache *cache = debug_cache("q", "waits", OBJECT_BYTES, 0, NULL);

    REQUIRE(t, cache != NULL);
    mm_drain();

    unsigned room = quarantine_room(t, cache), count = room + room / 2;

    if (room > 0 && take_objects(t, cache, count + 1)) { /* one more: the last span stays */
        for (unsigned freed = 1; freed <= count; freed++) {
            unsigned gone = freed > room ? freed - room : 0;
            struct slab_quarantine_stats stats;

            kmem_cache_free(cache, objects[freed - 1]);
            stats = slab_quarantine_stats();
            EXPECT(t, stats.bytes <= stats.limit_bytes && stats.objects == freed - gone);
            EXPECT(t, stats.bytes == stats.objects * cache->central->owner.layout.slot_bytes);
            EXPECT(t, cache->central->quarantined == stats.objects);
            EXPECT(t, debug_state(cache->central, objects[freed - 1]) == SLAB_STATE_HELD);
            EXPECT(t, taken_slots(cache->central) == count + 1 - gone);
        }
        /* Those that went were the first: the others are all there. */
        for (unsigned i = count - room; i < count; i++)
            EXPECT(t, debug_state(cache->central, objects[i]) == SLAB_STATE_HELD);
        kmem_cache_free(cache, objects[count]);
    }
    kmem_cache_destroy(cache);
}

/* In the order of their frees, which is not that of their addresses. */
TEST(slab_quarantine, order_is_that_of_frees)
{
    struct kmem_cache *cache = debug_cache("q", "order", 200, 0, NULL);
    struct kmem_cache *filler = debug_cache("q", "filler", 30000, 0, NULL);
    static const unsigned order[] = {3, 0, 4, 1, 2};
    unsigned gone = 0;

    REQUIRE(t, cache != NULL && filler != NULL);
    mm_drain();
    REQUIRE(t, take_objects(t, cache, 6)); /* one stays */
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++) {
        void *fill = kmem_cache_alloc(filler);

        kmem_cache_free(cache, objects[order[i]]);
        kmem_cache_free(filler, fill);
    }
    while (gone < ARRAY_COUNT(order)) {
        unsigned held = count_in_state(cache, 5, SLAB_STATE_HELD);
        void *fill = kmem_cache_alloc(filler);

        REQUIRE(t, fill != NULL);
        kmem_cache_free(filler, fill);
        EXPECT(t, held - count_in_state(cache, 5, SLAB_STATE_HELD) <= 1);
        for (; gone < ARRAY_COUNT(order) &&
               debug_state(cache->central, objects[order[gone]]) == SLAB_STATE_FREED;
             gone++) {
        }
        EXPECT(t, count_in_state(cache, 5, SLAB_STATE_FREED) == gone); /* no other */
    }
    kmem_cache_free(cache, objects[5]);
    kmem_cache_destroy(cache);
    kmem_cache_destroy(filler);
}

/* What waits is not handed out, though it is free to all others. */
TEST(slab_quarantine, who_waits_is_not_handed_out)
{
    struct kmem_cache *cache = debug_cache("q", "apart", 100, 0, NULL);
    struct slab_class_stats row;

    REQUIRE(t, cache != NULL);
    mm_drain();
    if (slab_quarantine_stats().limit_bytes < 64 * KIB) {
        test_skip(t, "needs another quarantine=");
        goto destroy;
    }
    REQUIRE(t, take_objects(t, cache, 64));
    for (unsigned i = 0; i < 32; i++)
        kmem_cache_free(cache, objects[i]);
    for (unsigned i = 0; i < 32; i++) {
        void *next = kmem_cache_alloc(cache);

        REQUIRE(t, next != NULL);
        for (unsigned j = 0; j < 32; j++)
            EXPECT(t, next != objects[j]);
        objects[64 + i] = next;
    }
    EXPECT(t, slab_class_stats(slab_class_count() - 1, &row) && row.live == 64);
    EXPECT(t, row.magazine == 32);
    for (unsigned i = 32; i < 96; i++)
        kmem_cache_free(cache, objects[i]);
destroy:
    kmem_cache_destroy(cache);
}

TEST(slab_quarantine, drains)
{
    struct kmem_cache *cache = debug_cache("pq", "drained", 100, 0, NULL);
    size_t free_before;

    REQUIRE(t, cache != NULL);
    mm_drain();
    EXPECT(t, slab_quarantine_stats().objects == 0 && slab_quarantine_stats().bytes == 0);
    free_before = page_free_count();
    REQUIRE(t, take_objects(t, cache, 200));
    for (unsigned i = 0; i < 200; i++)
        kmem_cache_free(cache, objects[i]);
    EXPECT(t, slab_quarantine_stats().limit_bytes < 200 * 112 ||
                  slab_quarantine_stats().objects == 200);
    mm_drain();
    EXPECT(t, slab_quarantine_stats().objects == 0 && slab_quarantine_stats().bytes == 0);
    EXPECT(t, cache->central->quarantined == 0 && central_sums(cache->central).spans == 0);
    EXPECT(t, page_free_count() == free_before);
    kmem_cache_destroy(cache);
}

/* A cache takes its own along, from between those of others, which stay in their order. */
TEST(slab_quarantine, a_cache_goes_with_its_objects)
{
    struct kmem_cache *goes = debug_cache("q", "goes", 100, 0, NULL);
    struct kmem_cache *stays = debug_cache("q", "stays", 100, 0, NULL);
    size_t held;

    REQUIRE(t, goes != NULL && stays != NULL);
    mm_drain();
    for (unsigned i = 0; i < 30; i++)
        REQUIRE(t, (objects[i] = kmem_cache_alloc(i % 3 == 1 ? stays : goes)) != NULL);
    kfree_bulk(30, objects);
    held = slab_quarantine_stats().objects;
    kmem_cache_destroy(goes);
    EXPECT(t, held < 30 || slab_quarantine_stats().objects == 10);
    REQUIRE(t, (objects[30] = kmem_cache_alloc(stays)) != NULL); /* the list's end is whole */
    kmem_cache_free(stays, objects[30]);
    EXPECT(t, held < 30 || slab_quarantine_stats().objects == 11);
    kmem_cache_destroy(stays);
    EXPECT(t, slab_quarantine_stats().objects == 0);
}

#define GIVEN 15u /* objects: fewer than the smallest machine's quarantine has room for */

/* Memory runs out with interrupts off: what waits is given back, and the request succeeds. */
TEST(slab_quarantine, gives_way_to_requests)
{
    struct kmem_cache *cache = debug_cache("q", "gives", 20000, 0, NULL);
    static struct hog hog;
    size_t bytes;
    unsigned long irq;
    void *p;

    REQUIRE(t, cache != NULL);
    bytes = cache->central->owner.layout.granules * GRANULE_BYTES;
    REQUIRE(t, bytes > KMALLOC_SMALL_MAX);
    mm_drain();
    REQUIRE(t, take_objects(t, cache, GIVEN));
    hog_take(&hog, 0);

    irq = port_irq_save();
    for (unsigned i = 0; i < GIVEN; i++)
        kmem_cache_free(cache, objects[i]);
    p = kmalloc(bytes); /* the run of one of the cache's spans: nobody else has any */
    EXPECT(t, p != NULL);
    EXPECT(t, cache->central->quarantined == 0);
    kfree(p);
    port_irq_restore(irq);

    hog_give(&hog);
    kmem_cache_destroy(cache);
}
