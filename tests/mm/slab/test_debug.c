/*
 * Debugged slots that nobody misuses: how they are cut, what stands in them, what they cost when
 * they are off.  Misuse is test_debug_misuse.c's, the quarantine test_quarantine.c's.
 */
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "tests/mm/slab/debug_case.h"
#include "tests/mm/slab/objects.h"

#define OBJECTS 100u

static void *objects[OBJECTS];

/* ---- Layout ---- */

/* Slots of this layout, found by the arithmetic of spans, and nothing else found. */
static void test_slots(struct test *t, const struct slot_layout *layout)
{
    struct span_owner owner = {.layout = *layout};
    struct span span = {.base = 4096 << 12, .magic = layout->slot_magic, .owner = &owner};

    span.bias = span.base * span.magic;
    for (size_t at = 0; at < span_bytes(&span); at += 8) {
        const char *addr = (const char *)span.base + at;
        bool is_slot = at % layout->slot_bytes == 0 && at / layout->slot_bytes < layout->slot_count;

        if (!EXPECT(t, span_is_slot(&span, addr, 0) == is_slot))
            return;
    }
}

static void test_layout(struct test *t, unsigned flags, size_t bytes, size_t align)
{
    size_t red = flags & SLAB_DEBUG_REDZONE ? SLAB_RED_BYTES : 0;
    size_t record =
        flags & SLAB_DEBUG_TRACE ? sizeof(struct slab_record) : offsetof(struct slab_record, alloc);
    uint32_t object_shift, record_offset;
    struct slot_layout layout =
        slab_debug_layout(flags, bytes, align, &object_shift, &record_offset);

    EXPECT(t, IS_ALIGNED(object_shift, align) && IS_ALIGNED(layout.slot_bytes, align));
    EXPECT(t, object_shift >= red + 8 && object_shift <= PAGE_BYTES);
    EXPECT(t, IS_ALIGNED(record_offset, 8u) && record_offset >= bytes + red);
    EXPECT(t, object_shift + record_offset + record == layout.slot_bytes);
    EXPECT(t, layout.slot_count > 0);
    test_slots(t, &layout);
}

TEST(slab_debug, layouts_are_sound)
{
    for (unsigned flags = 1; flags < 32 && t->failures == 0; flags += 2) {
        for (size_t align = 8; align <= PAGE_BYTES; align *= 4) {
            for (size_t bytes = 1; bytes < SIZE_CLASS_MAX_BYTES; bytes = bytes * 2 + 7)
                test_layout(t, flags, bytes, align);
            test_layout(t, flags, SIZE_CLASS_MAX_BYTES, align);
            test_layout(t, flags - 1 != 0 ? flags - 1 : 2, SIZE_CLASS_MAX_BYTES, align);
        }
    }
}

/* ---- Off ---- */

TEST(slab_debug, off_changes_nothing)
{
    struct kmem_cache *cache = debug_cache("0", "plain", 100, 0, NULL);

    REQUIRE(t, cache != NULL);
    EXPECT(t, cache->central->debug_flags == 0 && cache->central->object_shift == 0);
    EXPECT(t, cache->central->owner.layout.slot_bytes == 112 && cache->central->magazine_max > 0);
    kmem_cache_destroy(cache);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct central *central = &slab_centrals[class];

        EXPECT(t, central->debug_flags == slab_debug_flags(central->name));
        EXPECT(t, (central->debug_flags == 0) == (central->magazine_max > 0));
        if (central->debug_flags != 0)
            continue;
        EXPECT(t, central->record_offset == 0 && central->object_shift == 0);
        EXPECT(t, memcmp(&central->owner.layout, &size_class_layout[class],
                         sizeof(central->owner.layout)) == 0);
    }
}

/* Of two caches made under one setting, that which it names is debugged. */
TEST(slab_debug, goes_by_name)
{
    struct settings kept = settings;

    memcpy(settings.slab_debug, "rt,named", sizeof("rt,named"));
    struct kmem_cache *named = kmem_cache_create("named", 64, 0, NULL, 0);
    struct kmem_cache *other = kmem_cache_create("other", 64, 0, NULL, 0);
    settings = kept;

    REQUIRE(t, named != NULL && other != NULL);
    EXPECT(t, named->central->debug_flags == (SLAB_DEBUG_REDZONE | SLAB_DEBUG_TRACE));
    EXPECT(t, other->central->debug_flags == 0);
    kmem_cache_destroy(named);
    kmem_cache_destroy(other);
}

/* ---- What stands in a slot ---- */

static bool bytes_are(const void *object, ptrdiff_t from, ptrdiff_t to, uint8_t value)
{
    const uint8_t *at = object;

    for (ptrdiff_t i = from; i < to; i++) {
        if (at[i] != value)
            return false;
    }
    return true;
}

TEST(slab_debug, lays_red_zones_and_poison)
{
    struct kmem_cache *cache = debug_cache("rp", "laid", 50, 32, NULL);
    REQUIRE(t, cache != NULL);

    const struct central *central = cache->central;
    void *object = kmem_cache_alloc(cache);

    REQUIRE(t, object != NULL);
    EXPECT(t, IS_ALIGNED((uintptr_t)object, 32) && ksize(object) == 50);
    EXPECT(t, central->object_shift == 32);
    EXPECT(t, bytes_are(object, -24, 0, SLAB_RED));
    EXPECT(t, bytes_are(object, 50, central->record_offset, SLAB_RED));
    EXPECT(t, debug_state(central, object) == SLAB_STATE_LIVE);
    memset(object, 1, 50);
    mm_check();

    kmem_cache_free(cache, object);
    EXPECT(t, bytes_are(object, 0, 49, SLAB_POISON) && bytes_are(object, 49, 50, SLAB_POISON_END));
    EXPECT(t, bytes_are(object, -24, 0, SLAB_RED));
    EXPECT(t, bytes_are(object, 50, central->record_offset, SLAB_RED));
    EXPECT(t, debug_state(central, object) == SLAB_STATE_FREED);
    kmem_cache_destroy(cache);
}

struct constructed {
    uint64_t first, uses, last;
};

static void construct(void *object)
{
    *(struct constructed *)object = (struct constructed){.first = 1, .last = 2};
}

/* Constructed state stands through frees, whatever is checked. */
TEST(slab_debug, leaves_constructed_objects)
{
    static const char *const checks[] = {"r", "p", "q", "rpqt"};

    for (unsigned i = 0; i < ARRAY_COUNT(checks); i++) {
        struct kmem_cache *cache =
            debug_cache(checks[i], "ctor", sizeof(struct constructed), 0, construct);

        REQUIRE(t, cache != NULL);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned j = 0; j < OBJECTS; j++) {
                struct constructed *object = objects[j] = kmem_cache_alloc(cache);

                REQUIRE(t, object != NULL);
                EXPECT(t, object->first == 1 && object->last == 2);
                object->uses++;
            }
            mm_check();
            for (unsigned j = 0; j < OBJECTS; j++)
                kmem_cache_free(cache, objects[j]);
            mm_check();
        }
        kmem_cache_destroy(cache);
    }
}

/* ---- The whole family, its users writing to every byte that is theirs ---- */

TEST(slab_debug, users_have_all_that_they_asked_for)
{
    static const char *const checks[] = {"r", "rp", "rpq", "rpqt"};
    static const size_t sizes[] = {1, 7, 8, 24, 50, 333, 4096, 20000, 32768};

    for (unsigned i = 0; i < ARRAY_COUNT(checks) * ARRAY_COUNT(sizes); i++) {
        size_t bytes = sizes[i / ARRAY_COUNT(checks)];
        size_t align = (size_t)8 << i % 10;
        struct kmem_cache *cache =
            debug_cache(checks[i % ARRAY_COUNT(checks)], "family", bytes, align, NULL);

        REQUIRE(t, cache != NULL);
        for (unsigned j = 0; j < 20; j++) {
            REQUIRE(t, (objects[j] = kmem_cache_alloc(cache)) != NULL);
            EXPECT(t, IS_ALIGNED((uintptr_t)objects[j], align) && ksize(objects[j]) == bytes);
            object_fill(objects[j], bytes, j);
        }
        for (unsigned j = 0; j < 20; j++) {
            EXPECT(t, object_holds(objects[j], bytes, j));
            if (j % 2 == 0)
                kmem_cache_free(cache, objects[j]);
            else
                kfree(objects[j]);
        }
        kmem_cache_destroy(cache);
    }
}

/* krealloc in place and not, both ways, filled to the last byte each time. */
TEST(slab_debug, realloc_moves_the_end)
{
    static const size_t sizes[] = {50, 64, 49, 51, 1, 17, 300, 40000, 64, 33};
    void *p;

    if (!needs_debug(t, SLAB_DEBUG_REDZONE))
        return;
    REQUIRE(t, (p = kmalloc(sizes[0])) != NULL);
    for (unsigned i = 1; i < ARRAY_COUNT(sizes); i++) {
        object_fill(p, sizes[i - 1], i);
        p = krealloc(p, sizes[i]);
        REQUIRE(t, p != NULL);
        EXPECT(t, object_holds(p, MIN(sizes[i - 1], sizes[i]), i));
        EXPECT(t, sizes[i] > KMALLOC_SMALL_MAX || ksize(p) == sizes[i]);
    }
    kfree_sized(p, 33);
}

TEST(slab_debug, aligned_objects)
{
    if (!needs_debug(t, SLAB_DEBUG_REDZONE))
        return;
    for (size_t align = 8; align <= CHUNK_BYTES; align *= 2) {
        for (size_t bytes = 1; bytes <= KMALLOC_SMALL_MAX; bytes = bytes * 3 + 1) {
            void *p = kmalloc_aligned(bytes, align);

            REQUIRE(t, p != NULL);
            EXPECT(t, IS_ALIGNED((uintptr_t)p, align));
            object_fill(p, bytes, align);
            kfree(p);
        }
    }
}

/* ---- Exhaustion ---- */

TEST(slab_debug, every_failure_unwinds)
{
    for (unsigned nth = 1;; nth++) {
        mm_drain();

        size_t free_before = page_free_count(), got = 0;

        fault_fail_nth(nth);
        struct kmem_cache *cache = debug_cache("rpqt", "fail", 3000, 0, NULL);
        while (cache != NULL && got < 10 && (objects[got] = kmem_cache_alloc(cache)) != NULL)
            got++;
        bool fired = fault_disarm();

        EXPECT(t, got == 10 || fired);
        for (size_t i = 0; i < got; i++)
            kmem_cache_free(cache, objects[i]);
        kmem_cache_destroy(cache);
        mm_drain();
        EXPECT(t, page_free_count() == free_before);
        if (!fired)
            return;
        REQUIRE(t, nth < 50);
    }
}

/* ---- All CPUs: objects are freed on another CPU than the one that allocated them ---- */

#define SMP_ROUNDS 4000u

static struct test *smp_test;
static struct kmem_cache *smp_cache;
static _Atomic(void *) smp_places[64];

static void smp_worker(void *arg)
{
    _Atomic unsigned *workers = arg;
    unsigned worker = atomic_fetch_add(workers, 1);
    uint64_t state = worker + 1;

    for (unsigned round = 0; round < SMP_ROUNDS; round++) {
        uint64_t random = random_next(&state);
        void *object = kmem_cache_alloc(smp_cache);

        if (!EXPECT(smp_test, object != NULL))
            return;
        object_fill(object, 120, (uintptr_t)object);
        object = atomic_exchange(&smp_places[random % ARRAY_COUNT(smp_places)], object);
        if (object != NULL) {
            EXPECT(smp_test, object_holds(object, 120, (uintptr_t)object));
            kfree(object);
        }
        if (round % 1000 == worker)
            slab_drain_all();
    }
}

TEST(slab_debug, on_all_cpus)
{
    _Atomic unsigned workers = 0;

    smp_test = t;
    smp_cache = debug_cache("rpqt", "smp", 120, 0, NULL);
    REQUIRE(t, smp_cache != NULL);
    cpu_run_all(cpus_online(), smp_worker, &workers);
    for (unsigned i = 0; i < ARRAY_COUNT(smp_places); i++)
        kfree(atomic_exchange(&smp_places[i], NULL));
    mm_check();
    kmem_cache_destroy(smp_cache);
}
