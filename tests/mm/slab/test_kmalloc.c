/* kmalloc and its family, on one CPU: sizes, alignment, contents. */
#include "mm/slab/slab.h"
#include "kernel/base/string.h"
#include "mm/port.h"
#include "mm/slab/guard.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS 256u

/* Every size to a little above 1024, then in odd steps through all classes into large objects. */
static size_t next_size(size_t bytes)
{
    return bytes < 1100 ? bytes + 1 : bytes + 1 + bytes / 97;
}

static size_t promised_align(size_t bytes)
{
    if (is_pow2(bytes))
        return MIN(MAX(bytes, (size_t)8), (size_t)PAGE_BYTES);
    return bytes < 16 ? 8 : 16;
}

TEST(kmalloc, sizes_and_alignments)
{
    for (size_t bytes = 1; bytes <= 70000; bytes = next_size(bytes)) {
        uint8_t *p = kmalloc(bytes);

        REQUIRE(t, p != NULL);
        EXPECT(t, IS_ALIGNED((uintptr_t)p, promised_align(bytes)));
        EXPECT(t, ksize(p) >= bytes);
        memset(p, 0xa5, ksize(p));
        kfree_sized(p, bytes);
    }
    for (size_t bytes = 1; bytes <= 4 * MIB; bytes *= 2) {
        void *p = kmalloc(bytes);

        REQUIRE(t, p != NULL);
        EXPECT(t, IS_ALIGNED((uintptr_t)p, promised_align(bytes)));
        kfree(p);
    }
}

/* The waste that the size classes promise. */
TEST(kmalloc, rounds_up_by_a_sixth)
{
    for (size_t bytes = 129; bytes <= KMALLOC_SMALL_MAX; bytes = next_size(bytes)) {
        void *p = kmalloc(bytes);

        REQUIRE(t, p != NULL);
        EXPECT(t, ksize(p) - bytes <= ksize(p) / 6);
        kfree(p);
    }
}

TEST(kmalloc, refuses_what_cannot_be)
{
    void *p;

    EXPECT(t, kmalloc(0) == NULL);
    EXPECT(t, kzalloc(0) == NULL);
    EXPECT(t, kmalloc(SIZE_MAX) == NULL);
    EXPECT(t, kmalloc(SIZE_MAX - 4096) == NULL);
    EXPECT(t, kzalloc((size_t)1 << 60) == NULL);
    EXPECT(t, kmalloc(MM_PHYS_BYTES) == NULL);
    EXPECT(t, kcalloc(SIZE_MAX, 2) == NULL);
    EXPECT(t, kcalloc((size_t)1 << 32, (size_t)1 << 32) == NULL);
    EXPECT(t, kcalloc(((size_t)1 << 61) + 1, 8) == NULL); /* 8, but for the overflow */
    EXPECT(t, kcalloc(0, 16) == NULL);
    EXPECT(t, kcalloc(16, 0) == NULL);
    EXPECT(t, kmalloc_aligned(0, 16) == NULL);
    EXPECT(t, kmalloc_aligned(64, 0) == NULL);
    EXPECT(t, kmalloc_aligned(64, 48) == NULL);
    EXPECT(t, kmalloc_aligned(64, 2 * CHUNK_BYTES) == NULL);
    EXPECT(t, kmalloc_bulk(0, 1, &p) == 0);
    EXPECT(t, kmalloc_bulk(SIZE_MAX, 1, &p) == 0);
    EXPECT(t, kmalloc_bulk(64, 0, &p) == 0);
    EXPECT(t, ksize(NULL) == 0);
    kfree(NULL);
    kfree_sized(NULL, 64);
    kfree_bulk(0, NULL);
}

TEST(kmalloc, objects_do_not_overlap)
{
    static void *objects[OBJECTS];

    for (size_t bytes = 1; bytes <= 40000; bytes = bytes * 3 / 2 + 1) {
        unsigned count = bytes > 4096 ? 32 : OBJECTS;

        for (unsigned i = 0; i < count; i++) {
            REQUIRE(t, (objects[i] = kmalloc(bytes)) != NULL);
            object_fill(objects[i], ksize(objects[i]), bytes + i);
        }
        for (unsigned i = 0; i < count; i++) {
            EXPECT(t, object_holds(objects[i], ksize(objects[i]), bytes + i));
            kfree(objects[i]);
        }
    }
}

TEST(kmalloc, zeroed_is_zero)
{
    for (size_t bytes = 1; bytes <= 70000; bytes = bytes * 5 / 4 + 1) {
        for (unsigned round = 0; round < 2; round++) {
            uint8_t *p = round == 0 ? kzalloc(bytes) : kcalloc(bytes, 1);

            REQUIRE(t, p != NULL);
            EXPECT(t, p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0);
            memset(p, 0xff, bytes);
            kfree(p);
        }
    }
}

TEST(kmalloc, aligned_is_aligned)
{
    for (size_t align = 1; align <= CHUNK_BYTES; align *= 2) {
        for (size_t bytes = 1; bytes <= 100000; bytes = bytes * 3 + 1) {
            uint8_t *a = kmalloc_aligned(bytes, align);
            uint8_t *b = kmalloc_aligned(bytes, align);

            REQUIRE(t, a != NULL && b != NULL && a != b);
            EXPECT(t, IS_ALIGNED((uintptr_t)a, align) && IS_ALIGNED((uintptr_t)b, align));
            EXPECT(t, ksize(a) >= bytes);
            memset(a, 1, ksize(a));
            memset(b, 2, ksize(b));
            EXPECT(t, a[0] == 1 && a[ksize(a) - 1] == 1);
            kfree(a);
            kfree(b);
        }
    }
}

TEST(kmalloc, realloc_keeps_contents)
{
    static const size_t sizes[] = {1, 8, 9, 24, 100, 112, 113, 5000, 32768, 32769, 90000, 200, 17};
    void *p = krealloc(NULL, sizes[0]);

    REQUIRE(t, p != NULL);
    object_fill(p, sizes[0], 1);
    for (unsigned i = 1; i < ARRAY_COUNT(sizes); i++) {
        p = krealloc(p, sizes[i]);
        REQUIRE(t, p != NULL);
        EXPECT(t, object_holds(p, MIN(sizes[i - 1], sizes[i]), i));
        object_fill(p, sizes[i], i + 1);
    }
    EXPECT(t, krealloc(p, 0) == NULL);
}

TEST(kmalloc, realloc_stays_in_its_class)
{
    void *p = kmalloc(97);

    REQUIRE(t, p != NULL);
    for (size_t bytes = 97; bytes <= 112; bytes++)
        EXPECT(t, krealloc(p, bytes) == p);
    EXPECT(t, krealloc(p, ksize(p)) == p);
    kfree_sized(p, 112);

    p = kmalloc(100000);
    REQUIRE(t, p != NULL);
    EXPECT(t, krealloc(p, ksize(p)) == p);
    EXPECT(t, krealloc(p, 99000) == p);
    kfree_sized(p, 99000);
}

TEST(kmalloc, bulk_is_many)
{
    static void *objects[OBJECTS];
    static const size_t sizes[] = {8, 64, 1000, 32768, 40000};

    for (unsigned s = 0; s < ARRAY_COUNT(sizes); s++) {
        for (unsigned n = 1; n <= OBJECTS; n = n * 2 + 1) {
            REQUIRE(t, kmalloc_bulk(sizes[s], n, objects) == n);
            for (unsigned i = 0; i < n; i++)
                object_fill(objects[i], sizes[s], i);
            for (unsigned i = 0; i < n; i++)
                EXPECT(t, object_holds(objects[i], sizes[s], i));
            kfree_bulk(n, objects);
        }
    }
}

/* An object just freed is the next one handed out: it is in the cache still. */
TEST(kmalloc, last_freed_is_first)
{
    if (!slots_are_plain(t))
        return;

    void *a = kmalloc(64);
    void *b;

    REQUIRE(t, a != NULL);

    unsigned long irq = port_irq_save(); /* on one CPU */

    kfree(a);
    b = kmalloc(64);
    port_irq_restore(irq);
    EXPECT(t, a == b);
    kfree(b);
}

/* ---- What the statistics say ---- */

static struct slab_class_stats stats_named(const char *name)
{
    struct slab_class_stats stats = {.name = NULL};

    for (size_t row = 0; slab_class_stats(row, &stats); row++) {
        if (strcmp(stats.name, name) == 0)
            return stats;
    }
    return (struct slab_class_stats){.name = NULL};
}

TEST(kmalloc, stats_count)
{
    static void *objects[OBJECTS];
    struct slab_class_stats before = stats_named("kmalloc-320"), now;
    size_t guarded = guard_stats().live;

    REQUIRE(t, before.name != NULL);
    REQUIRE(t, kmalloc_bulk(300, OBJECTS, objects) == OBJECTS);
    guarded = guard_stats().live - guarded; /* not in slots */
    now = stats_named("kmalloc-320");
    EXPECT(t, now.live == before.live + OBJECTS - guarded);
    EXPECT(t, now.live + now.magazine + now.depot == now.taken - now.given);
    EXPECT(t, now.slots >= now.live + now.magazine + now.depot && now.slot_bytes >= 320);
    EXPECT(t, now.span_bytes >= now.slots * now.slot_bytes);
    kfree_bulk(OBJECTS, objects);
    mm_drain();
    now = stats_named("kmalloc-320");
    EXPECT(t, now.live == before.live && now.magazine == 0 && now.depot == 0);
    EXPECT(t, slab_stats().magazine_bytes == 0 && slab_stats().depot_bytes == 0);

    size_t object_bytes = slab_stats().object_bytes;
    void *large = kmalloc(100000);

    EXPECT(t, slab_stats().object_bytes == object_bytes + ksize(large));
    kfree(large);
}
