/*
 * The guard pool behind kmalloc and kmem_caches: for a machine with guard_rate=1, on which every
 * allocation that fits a page is guarded as long as there is a slot.
 */
#include "kernel/base/string.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

static bool is_not_wanted(struct test *t)
{
    bool is_wanted = guard_stats().slots != 0 && guard_stats().rate == 1;

    if (!is_wanted)
        test_skip(t, "needs guard_rate=1");
    return !is_wanted;
}

static void *hide(void *p)
{
    __asm__("" : "+r"(p)); /* the compiler shall not see what is wrong with it */
    return p;
}

TEST(guard_kmalloc, objects_are_guarded)
{
    static const size_t sizes[] = {1, 8, 24, 100, 1000, 4096};

    if (is_not_wanted(t))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        char *p = kmalloc(sizes[i]);

        REQUIRE(t, p != NULL);
        EXPECT(t, guard_owns(p));
        EXPECT(t, ksize(p) >= sizes[i] && ksize(p) <= PAGE_BYTES);
        EXPECT(t, IS_ALIGNED((uintptr_t)p, sizes[i] >= 16 ? 16 : 8));
        object_fill(p, sizes[i], i);
        EXPECT(t, object_holds(p, sizes[i], i));
        kfree_sized(p, sizes[i]);
    }
}

TEST(guard_kmalloc, what_does_not_fit_is_not)
{
    if (is_not_wanted(t))
        return;

    void *small = kmalloc(PAGE_BYTES + 1), *large = kmalloc(100000);

    REQUIRE(t, small != NULL && large != NULL);
    EXPECT(t, !guard_owns(small) && !guard_owns(large));
    kfree(small);
    kfree(large);
    EXPECT(t, kmalloc(0) == NULL);
    kfree(NULL);
}

TEST(guard_kmalloc, zeroed_and_resized)
{
    if (is_not_wanted(t))
        return;

    char *p = kzalloc(200);
    char *q = kcalloc(10, 20);

    REQUIRE(t, p != NULL && q != NULL);
    for (unsigned i = 0; i < 200; i++)
        EXPECT(t, p[i] == 0 && q[i] == 0);
    object_fill(p, 200, 1);
    p = krealloc(p, 2000);
    REQUIRE(t, p != NULL);
    EXPECT(t, object_holds(p, 200, 1));
    object_fill(p, 2000, 2);
    p = krealloc(p, 20000);
    REQUIRE(t, p != NULL && !guard_owns(p));
    EXPECT(t, object_holds(p, 2000, 2));
    p = krealloc(p, 50);
    REQUIRE(t, p != NULL);
    EXPECT(t, object_holds(p, 50, 2));
    kfree(p);
    kfree(q);
}

TEST(guard_kmalloc, aligned)
{
    if (is_not_wanted(t))
        return;
    for (size_t align = 8; align <= 2 * PAGE_BYTES; align *= 2) {
        void *p = kmalloc_aligned(40, align);

        REQUIRE(t, p != NULL);
        EXPECT(t, IS_ALIGNED((uintptr_t)p, align));
        kfree(p);
    }
}

TEST(guard_kmalloc, bulk_mixes_guarded_and_not)
{
    static void *objects[2 * GUARD_OBJECTS_MAX];
    size_t live = guard_stats().live;

    if (is_not_wanted(t))
        return;
    EXPECT(t, kmalloc_bulk(64, ARRAY_COUNT(objects), objects) == ARRAY_COUNT(objects));
    for (size_t i = 0; i < ARRAY_COUNT(objects); i++)
        object_fill(objects[i], 64, i);
    for (size_t i = 0; i < ARRAY_COUNT(objects); i++)
        EXPECT(t, object_holds(objects[i], 64, i));
    kfree_bulk(ARRAY_COUNT(objects), objects);
    EXPECT(t, guard_stats().live == live);
}

static void construct(void *object)
{
    memset(object, 0x5a, 72);
}

TEST(guard_kmalloc, caches)
{
    struct kmem_cache *cache = kmem_cache_create("guarded", 72, 0, construct, 0);

    REQUIRE(t, cache != NULL);
    if (!is_not_wanted(t)) {
        uint8_t *p = kmem_cache_alloc(cache);

        REQUIRE(t, p != NULL);
        EXPECT(t, guard_owns(p) && ksize(p) == 72);
        for (unsigned i = 0; i < 72; i++)
            EXPECT(t, p[i] == 0x5a);
        kmem_cache_free(cache, p);
        p = kmem_cache_alloc(cache);
        kfree(p); /* objects of kmem_caches too */
    }
    kmem_cache_destroy(cache);
}

/* What it has freed stays known when it is gone; its name may be gone with it. */
TEST(guard_kmalloc, destroyed_caches_are_forgotten)
{
    char name[] = "short-lived";
    struct guard_object object;
    bool is_found = false;

    if (is_not_wanted(t))
        return;

    struct kmem_cache *cache = kmem_cache_create(name, 72, 0, NULL, 0);
    void *p = cache != NULL ? kmem_cache_alloc(cache) : NULL;

    REQUIRE(t, p != NULL && guard_owns(p));
    kmem_cache_free(cache, p);
    kmem_cache_destroy(cache);
    for (size_t slot = 0; slot < guard_stats().slots; slot++) {
        if (!guard_object_at(slot, &object))
            continue;
        is_found |= object.addr == (uintptr_t)p;
        EXPECT(t, object.cache != name);
        EXPECT(t, object.addr != (uintptr_t)p || object.owner == NULL);
    }
    EXPECT(t, is_found);
}

/* ---- Misuse ---- */

static NOINLINE char *alloc_site(size_t bytes)
{
    char *p = kmalloc(bytes);

    __asm__ volatile("" : : : "memory"); /* a call, not a jump */
    return p;
}

static void use_after_free(void *unused)
{
    char *p = alloc_site(100);

    (void)unused;
    kfree(p);
    *(volatile char *)hide(p + 99) = 1;
}

static void use_long_after_free(void *unused)
{
    char *p = alloc_site(100);

    (void)unused;
    kfree(p);
    for (unsigned i = 0; i < 100; i++)
        kfree(alloc_site(100));
    (void)*(volatile char *)hide(p);
}

static void free_twice(void *unused)
{
    char *p = alloc_site(100);

    (void)unused;
    kfree(p);
    kfree(hide(p));
}

static void free_inside(void *unused)
{
    (void)unused;
    kfree(hide(alloc_site(100) + 16));
}

/* At one edge the write traps, at the other the free finds it. */
static void overflow(void *unused)
{
    char *p = alloc_site(128);

    (void)unused;
    *(volatile char *)hide(p + ksize(p)) = 1;
    kfree(p);
}

static void underflow(void *unused)
{
    char *p = alloc_site(128);

    (void)unused;
    *(volatile char *)hide(p - 1) = 1;
    kfree(p);
}

static void wrong_size(void *unused)
{
    (void)unused;
    kfree_sized(alloc_site(100), 1000);
}

static void size_of_freed(void *unused)
{
    char *p = alloc_site(100);

    (void)unused;
    kfree(p);
    (void)ksize(hide(p));
}

static void free_to_other(void *cache)
{
    kmem_cache_free(cache, alloc_site(64));
}

static void destroy_live(void *unused)
{
    struct kmem_cache *cache = kmem_cache_create("destroyed", 64, 0, NULL, 0);

    (void)unused;
    (void)kmem_cache_alloc(cache);
    kmem_cache_destroy(cache);
}

TEST(guard_kmalloc, misuse)
{
    struct kmem_cache *cache = kmem_cache_create("other", 64, 0, NULL, 0);

    REQUIRE(t, cache != NULL);
    if (!is_not_wanted(t)) {
        EXPECT_PANIC(t, use_after_free, NULL, "panic: guard: use after free, write of 0x");
        EXPECT_PANIC(t, use_after_free, NULL, ": byte 99 of object 0x");
        EXPECT_PANIC(t, use_after_free, NULL, " alloc_site+0x");
        EXPECT_PANIC(t, use_long_after_free, NULL, "panic: guard: use after free, read of 0x");
        EXPECT_PANIC(t, free_twice, NULL, "panic: guard: kfree: double free of 0x");
        EXPECT_PANIC(t, free_inside, NULL, "panic: guard: kfree: invalid free of 0x");
        EXPECT_PANIC(t, free_inside, NULL, ": byte 16 of object 0x");
        EXPECT_PANIC(t, overflow, NULL, ": 1 byte behind object 0x");
        EXPECT_PANIC(t, underflow, NULL, ": 1 byte before object 0x");
        EXPECT_PANIC(t, wrong_size, NULL, "panic: ");
        EXPECT_PANIC(t, size_of_freed, NULL, "panic: guard: ksize: use after free of 0x");
        EXPECT_PANIC(t, free_to_other, cache, "panic: guard: kmem_cache_free: wrong cache for 0x");
        EXPECT_PANIC(t, destroy_live, NULL, "kmem_cache_destroy: destroyed has 1 live object");
    }
    kmem_cache_destroy(cache);
}
