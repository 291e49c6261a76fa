/*
 * What kinds of kmem_caches there are: shared with a size class, below an address, with constructor
 * and alignment, more of them than have magazines; and objects held ready.
 */
#include "kernel/base/string.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/debug.h"
#include "mm/slab/magazine.h"
#include "mm/slab/slab.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS      600u
#define CACHES       600u /* more than have a number */
#define DEVICE_DMA32 (4ul << 30)

static void *objects[OBJECTS];

/* No references to what comes to stand there: the tests of leaks look at all of memory. */
static void forget(void)
{
    memset(objects, 0, sizeof(objects));
}

static uintptr_t physical(const void *object)
{
    return (uintptr_t)object - port_direct_base();
}

/* ---- Shared ---- */

/* No row, no spans: its objects are slots of the class, and a free slot of one serves the other. */
TEST(kmem_cache, shares_with_its_size_class)
{
    if (!slots_are_exact(t))
        return;
    mm_drain();

    size_t rows = slab_class_count(), live = class_row("kmalloc-64").live;
    struct kmem_cache *cache = kmem_cache_create("shared", 60, 0, NULL, KMEM_CACHE_SHARE);
    struct kmem_cache *aligned = kmem_cache_create("aligned", 65, 256, NULL, KMEM_CACHE_SHARE);

    REQUIRE(t, cache != NULL && aligned != NULL);
    EXPECT(t, slab_class_count() == rows);
    for (unsigned i = 0; i < OBJECTS; i++) {
        REQUIRE(t, (objects[i] = kmem_cache_alloc(cache)) != NULL);
        EXPECT(t, ksize(objects[i]) == 64 && span_of(objects[i])->index == size_class_of(64));
        object_fill(objects[i], 64, i);
    }
    EXPECT(t, class_row("kmalloc-64").live == live + OBJECTS);

    void *freed = objects[0];

    kmem_cache_free(cache, objects[0]);
    EXPECT(t, (objects[0] = kmalloc(64)) == freed);
    kfree(objects[0]);
    EXPECT(t, (objects[0] = kmem_cache_alloc(cache)) == freed);
    object_fill(objects[0], 64, 0);
    for (unsigned i = 0; i < OBJECTS; i++) {
        EXPECT(t, object_holds(objects[i], 64, i));
        if (i % 3 == 0)
            kmem_cache_free(cache, objects[i]);
        else if (i % 3 == 1)
            kfree(objects[i]);
        else
            kfree_sized(objects[i], 64);
    }
    kmem_cache_free(cache, NULL);
    EXPECT(t, class_row("kmalloc-64").live == live);

    for (unsigned i = 0; i < 40; i++) {
        REQUIRE(t, (objects[i] = kmem_cache_alloc(aligned)) != NULL);
        EXPECT(t, IS_ALIGNED((uintptr_t)objects[i], 256) && ksize(objects[i]) >= 65);
    }
    kmem_cache_free_bulk(aligned, 40, objects);
    kmem_cache_destroy(cache);
    kmem_cache_destroy(aligned);
    forget();
}

static void ctor_nothing(void *object)
{
    (void)object;
}

TEST(kmem_cache, shares_nothing_that_is_special)
{
    EXPECT(t, kmem_cache_create("bad", 64, 0, ctor_nothing, KMEM_CACHE_SHARE) == NULL);
    EXPECT(t, kmem_cache_create("bad", 64, 0, NULL, KMEM_CACHE_SHARE | KMEM_CACHE_DMA) == NULL);
    EXPECT(t, kmem_cache_create("bad", 64, 0, NULL, KMEM_CACHE_SHARE | KMEM_CACHE_DMA32) == NULL);
}

static struct kmem_cache *wrong_cache;

static void free_to_wrong_cache(void *object)
{
    kmem_cache_free(wrong_cache, object);
}

static void free_twice_to_shared(void *object)
{
    kmem_cache_free(wrong_cache, object);
    kmem_cache_free(wrong_cache, object);
}

/* Of another size class, and of a cache with spans of its own, both ways. */
TEST(kmem_cache, shared_objects_come_back_to_their_class_only)
{
    if (!slots_are_exact(t))
        return;

    struct kmem_cache *shared = kmem_cache_create("shared", 64, 0, NULL, KMEM_CACHE_SHARE);
    struct kmem_cache *larger = kmem_cache_create("larger", 100, 0, NULL, KMEM_CACHE_SHARE);
    struct kmem_cache *own = kmem_cache_create("own", 64, 0, NULL, 0);

    REQUIRE(t, shared != NULL && larger != NULL && own != NULL);

    void *of_shared = kmem_cache_alloc(shared), *of_own = kmem_cache_alloc(own);

    wrong_cache = larger;
    EXPECT_PANIC(t, free_to_wrong_cache, of_shared, "is not an object of that cache");
    wrong_cache = own;
    EXPECT_PANIC(t, free_to_wrong_cache, of_shared, "is not an object of that cache");
    wrong_cache = shared;
    EXPECT_PANIC(t, free_to_wrong_cache, of_own, "is not an object of that cache");
    EXPECT_PANIC(t, free_to_wrong_cache, (char *)of_shared + 8, "is not the start of an object");
    EXPECT_PANIC(t, free_twice_to_shared, of_shared, "kmem_cache_free: double free of 0x");
    kmem_cache_free(shared, of_shared);
    kmem_cache_free(own, of_own);
    kmem_cache_destroy(shared);
    kmem_cache_destroy(larger);
    kmem_cache_destroy(own);
    forget();
}

/* ---- Below an address ---- */

static void expect_below(struct test *t, unsigned flags, uintptr_t limit, void (*ctor)(void *))
{
    struct kmem_cache *cache = kmem_cache_create("low", 1000, 0, ctor, flags);

    REQUIRE(t, cache != NULL);
    for (unsigned i = 0; i < 200; i++) {
        REQUIRE(t, (objects[i] = kmem_cache_alloc(cache)) != NULL);
        EXPECT(t, physical(objects[i]) + 1000 <= limit);
        object_fill(objects[i], 1000, i);
    }
    for (unsigned i = 0; i < 200; i++)
        EXPECT(t, object_holds(objects[i], 1000, i));
    kmem_cache_free_bulk(cache, 200, objects);
    kmem_cache_destroy(cache);
}

TEST(kmem_cache, objects_for_devices_lie_below)
{
    expect_below(t, KMEM_CACHE_DMA, MM_DMA_BYTES, NULL);
    expect_below(t, KMEM_CACHE_DMA, MM_DMA_BYTES, ctor_nothing);
    expect_below(t, KMEM_CACHE_DMA32, DEVICE_DMA32, NULL);
    expect_below(t, KMEM_CACHE_DMA | KMEM_CACHE_DMA32, MM_DMA_BYTES, NULL);
    forget();
}

/* The low memory ends: NULL, though there is other memory; all of it comes back. */
TEST(kmem_cache, low_memory_runs_out)
{
    mm_drain();

    size_t free_before = page_free_count(), count = 0;
    struct kmem_cache *cache = kmem_cache_create("low", 32 * KIB, 0, NULL, KMEM_CACHE_DMA);
    void **list = NULL, **object;

    REQUIRE(t, cache != NULL);
    while ((object = kmem_cache_alloc(cache)) != NULL) {
        EXPECT(t, physical(object) + 32 * KIB <= MM_DMA_BYTES);
        *object = list;
        list = object;
        REQUIRE(t, ++count <= MM_DMA_BYTES / (32 * KIB));
    }
    EXPECT(t, count > 16);
    EXPECT(t, page_free_count() > 0);

    void *ordinary = kmalloc(32 * KIB);

    EXPECT(t, ordinary != NULL);
    kfree(ordinary);
    while (list != NULL) {
        object = *list;
        kmem_cache_free(cache, list);
        list = object;
    }
    kmem_cache_destroy(cache);
    mm_drain();
    EXPECT(t, page_free_count() == free_before);
    forget();
}

/* ---- Constructors ---- */

#define CTOR_BYTES 40u

static _Atomic unsigned ctor_calls;

static void ctor_fill(void *object)
{
    atomic_fetch_add_explicit(&ctor_calls, 1, memory_order_relaxed);
    object_fill(object, CTOR_BYTES, 1);
}

/* Whatever the alignment, a free object's bytes are as its user left them, first to last. */
TEST(kmem_cache, constructed_at_every_alignment)
{
    for (size_t align = 1; align <= PAGE_BYTES; align *= 2) {
        struct kmem_cache *cache = kmem_cache_create("ctor", CTOR_BYTES, align, ctor_fill, 0);
        unsigned calls = atomic_load(&ctor_calls);

        REQUIRE(t, cache != NULL);
        for (unsigned round = 0; round < 3; round++) {
            REQUIRE(t, kmem_cache_alloc_bulk(cache, 100, objects) == 100);
            for (unsigned i = 0; i < 100; i++) {
                EXPECT(t, IS_ALIGNED((uintptr_t)objects[i], MAX(align, (size_t)8)));
                EXPECT(t, object_holds(objects[i], CTOR_BYTES, 1));
                EXPECT(t, ksize(objects[i]) == CTOR_BYTES);
            }
            kmem_cache_free_bulk(cache, 100, objects);
        }
        EXPECT(t, atomic_load(&ctor_calls) >= calls + 100);
        kmem_cache_destroy(cache);
    }
    forget();
}

/* ---- More caches than have magazines ---- */

TEST(kmem_cache, six_hundred_at_once)
{
    static struct kmem_cache *caches[CACHES];
    static void *held[CACHES][3];
    size_t rows = slab_class_count();

    mm_drain();

    size_t free_before = page_free_count();

    for (unsigned i = 0; i < CACHES; i++) {
        size_t bytes = 16 + i % 7 * 24;

        REQUIRE(t, (caches[i] = kmem_cache_create("many", bytes, 0,
                                                  i % 5 == 0 ? ctor_nothing : NULL, 0)) != NULL);
        REQUIRE(t, kmem_cache_alloc_bulk(caches[i], 3, held[i]) == 3);
        for (unsigned k = 0; k < 3; k++)
            object_fill(held[i][k], bytes, i * 3 + k);
    }
    EXPECT(t, slab_class_count() == rows + CACHES);
    EXPECT(t, CACHES + SIZE_CLASS_COUNT > SLAB_INDEX_MAX);
    for (unsigned i = 0; i < CACHES; i++) {
        size_t bytes = 16 + i % 7 * 24;

        for (unsigned round = 0; round < 40; round++) /* one goes and comes, of another number */
            kmem_cache_free(caches[i], kmem_cache_alloc(caches[i]));
        for (unsigned k = 0; k < 3; k++) {
            EXPECT(t, object_holds(held[i][k], bytes, i * 3 + k));
            if (k == 0)
                kfree(held[i][k]);
            else
                kmem_cache_free(caches[i], held[i][k]);
        }
    }
    mm_check();

    /* A number that comes free is the next cache's. */
    kmem_cache_destroy(caches[3]);
    caches[3] = kmem_cache_create("numbered", 64, 0, NULL, 0);
    REQUIRE(t, caches[3] != NULL);
    kmem_cache_free(caches[3], kmem_cache_alloc(caches[3]));
    if (slab_debug_flags(NULL) == 0 && port_setting_guard_rate() == 0)
        EXPECT(t, class_row("numbered").magazine > 0);
    for (unsigned i = 0; i < CACHES; i++)
        kmem_cache_destroy(caches[i]);
    mm_drain();
    EXPECT(t, page_free_count() == free_before && slab_class_count() == rows);
    memset(held, 0, sizeof(held));
    memset(caches, 0, sizeof(caches));
    forget();
}

static void free_of_numberless(void *two)
{
    kmem_cache_free(((struct kmem_cache **)two)[0],
                    kmem_cache_alloc(((struct kmem_cache **)two)[1]));
}

static void free_twice_of_numberless(void *two)
{
    struct kmem_cache *cache = ((struct kmem_cache **)two)[1];
    void *object = kmem_cache_alloc(cache);

    kmem_cache_free(cache, object);
    kmem_cache_free(cache, object);
}

/* Two without a number have the same key: whose an object is, its span says. */
TEST(kmem_cache, without_a_number_misuse_is_found)
{
    static struct kmem_cache *caches[SLAB_INDEX_MAX + 2];
    unsigned count = ARRAY_COUNT(caches);

    if (!slots_are_exact(t))
        return;
    for (unsigned i = 0; i < count; i++)
        REQUIRE(t, (caches[i] = kmem_cache_create("many", 64, 0, NULL, 0)) != NULL);
    EXPECT_PANIC(t, free_of_numberless, &caches[count - 2], "is not an object of that cache");
    EXPECT_PANIC(t, free_twice_of_numberless, &caches[count - 2], "kmem_cache_free: double free");
    for (unsigned i = 0; i < count; i++)
        kmem_cache_destroy(caches[i]);
    forget();
}

/* ---- Objects held ready ---- */

#define PREFILLED 100u

static void expect_prefill(struct test *t, struct kmem_cache *cache)
{
    struct kmem_prefill *prefill = kmem_cache_prefill(cache, PREFILLED);

    REQUIRE(t, prefill != NULL);
    for (unsigned i = 0; i < PREFILLED; i++) {
        EXPECT(t, kmem_prefill_left(prefill) == PREFILLED - i);
        fault_fail_nth(1); /* whatever is asked for fails */
        objects[i] = kmem_prefill_take(prefill);
        EXPECT(t, !fault_disarm());
        REQUIRE(t, objects[i] != NULL);
        object_fill(objects[i], CTOR_BYTES, i);
    }
    EXPECT(t, kmem_prefill_take(prefill) == NULL && kmem_prefill_left(prefill) == 0);
    for (unsigned i = 0; i < PREFILLED; i++)
        EXPECT(t, object_holds(objects[i], CTOR_BYTES, i));
    kmem_cache_free_bulk(cache, PREFILLED, objects);
    kmem_prefill_release(prefill);

    prefill = kmem_cache_prefill(cache, PREFILLED);
    REQUIRE(t, prefill != NULL);
    kmem_cache_free(cache, kmem_prefill_take(prefill));
    kmem_prefill_release(prefill); /* the other 99 */
    prefill = kmem_cache_prefill(cache, 0);
    EXPECT(t, prefill != NULL && kmem_prefill_take(prefill) == NULL);
    kmem_prefill_release(prefill);
    kmem_prefill_release(NULL);
    EXPECT(t, kmem_cache_prefill(cache, SIZE_MAX) == NULL);
    EXPECT(t, kmem_cache_prefill(cache, SIZE_MAX / sizeof(void *) + 2) == NULL);
    EXPECT(t, kmem_cache_prefill(cache, SIZE_MAX / sizeof(void *)) == NULL);
}

static struct kmem_cache *cache_of_kind(unsigned kind)
{
    static const unsigned flags[] = {0, KMEM_CACHE_SHARE, KMEM_CACHE_DMA, 0, KMEM_CACHE_DMA32};

    return kmem_cache_create("kind", CTOR_BYTES, kind == 3 ? 64 : 0, kind == 3 ? ctor_fill : NULL,
                             flags[kind]);
}

#define KINDS 5u

TEST(kmem_cache, prefilled_objects_cannot_fail)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct kmem_cache *cache = cache_of_kind(kind);

        REQUIRE(t, cache != NULL);
        expect_prefill(t, cache);
        kmem_cache_destroy(cache); /* nothing is live */
    }
    forget();
}

/* Too little memory: NULL, and all that it had got is back. */
TEST(kmem_cache, prefill_takes_all_or_nothing)
{
    static struct hog hog;
    struct kmem_cache *cache = kmem_cache_create("kind", 4096, 0, NULL, 0);

    REQUIRE(t, cache != NULL);
    mm_drain();
    hog_take(&hog, 256);

    size_t free_before = page_free_count();

    EXPECT(t, kmem_cache_prefill(cache, 1000) == NULL);
    mm_drain();
    EXPECT(t, page_free_count() == free_before);

    struct kmem_prefill *prefill = kmem_cache_prefill(cache, 20);

    EXPECT(t, prefill != NULL);
    kmem_prefill_release(prefill);
    hog_give(&hog);
    kmem_cache_destroy(cache);
    forget();
}

/* ---- Every acquisition fails once ---- */

static bool use_kind(unsigned kind)
{
    struct kmem_cache *cache = cache_of_kind(kind);

    if (cache == NULL)
        return false;

    size_t got = kmem_cache_alloc_bulk(cache, 40, objects);

    kmem_cache_free_bulk(cache, got, objects);

    struct kmem_prefill *prefill = kmem_cache_prefill(cache, 10);
    bool is_whole = got == 40 && prefill != NULL && kmem_prefill_left(prefill) == 10;

    kmem_prefill_release(prefill);
    kmem_cache_destroy(cache);
    return is_whole;
}

TEST(kmem_cache, every_kind_unwinds_every_failure)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned nth = 1;; nth++) {
            mm_drain();

            size_t free_before = page_free_count();

            fault_fail_nth(nth);
            bool is_whole = use_kind(kind);
            bool has_fired = fault_disarm();

            EXPECT(t, is_whole || has_fired);
            EXPECT(t, nth > 1 || !is_whole);
            mm_drain();
            EXPECT(t, page_free_count() == free_before);
            if (!has_fired)
                break;
            REQUIRE(t, nth < 300);
        }
    }
    forget();
}
