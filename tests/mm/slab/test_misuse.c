/* Misuse: each kind is found, reported and fatal, before a slot is handed out twice. */
#include "kernel/base/string.h"
#include "mm/port.h"
#include "mm/page/page.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define MANY 100u

static size_t arg_bytes; /* of the object that the panicking function makes for itself */

static void free_twice(void *unused)
{
    (void)unused;
    void *p = kmalloc(arg_bytes);

    kfree(p);
    kfree(p);
}

/* The second free of an object that has gone to its span: flushed by many other frees. */
static void free_twice_flushed(void *unused)
{
    void *p[MANY];

    (void)unused;
    kmalloc_bulk(arg_bytes, MANY, p);
    kfree_bulk(MANY, p);
    kfree(p[0]);
}

static void free_twice_drained(void *unused)
{
    void *p[MANY];

    (void)unused;
    kmalloc_bulk(arg_bytes, MANY, p);
    for (unsigned i = 1; i < MANY; i += 2)
        kfree(p[i]); /* no span runs empty */
    mm_drain();
    kfree(p[1]);
}

static void free_twice_span_gone(void *unused)
{
    (void)unused;
    void *p = kmalloc(arg_bytes);

    kfree(p);
    mm_drain();
    kfree(p);
}

/* A write destroys the token between the frees; the slot must not come out twice. */
static void free_twice_written(void *unused)
{
    (void)unused;
    uint64_t *p = kmalloc(arg_bytes);

    kfree(p);
    *p = 1;
    kfree(p);
    for (unsigned i = 0; i < 2 * MANY; i++) {
        uint64_t *q = kmalloc(arg_bytes);

        if (q == p)
            *q = 2;
    }
}

/* The same, and both references are flushed before anything is allocated. */
static void free_twice_written_drained(void *unused)
{
    (void)unused;
    uint64_t *p = kmalloc(arg_bytes);

    kfree(p);
    *p = 1;
    kfree(p);
    mm_drain();
}

/* The same, and the first reference is in use again when the second is flushed. */
static void free_twice_written_reused(void *unused)
{
    (void)unused;
    uint64_t *p = kmalloc(arg_bytes);
    unsigned long irq = port_irq_save();

    kfree(p);
    *p = 1;
    kfree(p);
    if (kmalloc(arg_bytes) != p)
        return;
    *p = 3;
    port_irq_restore(irq);
    mm_drain();
}

static void write_after_free(void *unused)
{
    (void)unused;
    uint64_t *p = kmalloc(arg_bytes);

    kfree(p);
    *p ^= 1;
    for (unsigned i = 0; i < 2 * MANY; i++)
        kmalloc(arg_bytes);
}

/* Written while it stands in a magazine; its span stays, so the flush must find it. */
static void write_after_free_drained(void *unused)
{
    void *p[MANY];

    (void)unused;
    kmalloc_bulk(arg_bytes, MANY, p);
    kfree(p[1]);
    *(uint64_t *)p[1] ^= 1;
    mm_drain();
}

/* Written when it is back in its span, which then goes back to the page heap. */
static void write_after_free_retired(void *unused)
{
    void *p[MANY];

    (void)unused;
    kmalloc_bulk(arg_bytes, MANY, p);
    kfree(p[1]);
    mm_drain();
    *(uint64_t *)p[1] ^= 1;
    p[1] = NULL;
    kfree_bulk(MANY, p);
    mm_drain();
}

TEST(slab_misuse, double_free)
{
    static const size_t sizes[] = {8, 64, 1000, 4096, 32768};

    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        arg_bytes = sizes[i];
        EXPECT_PANIC(t, free_twice, NULL, "kfree: double free of 0x");
        EXPECT_PANIC(t, free_twice_span_gone, NULL, "kfree: double free of 0x");
    }
    arg_bytes = 48;
    if (slab_debug_flags(NULL) == 0) {
        EXPECT_PANIC(t, free_twice, NULL, "state: free, in a magazine of CPU");
        EXPECT_PANIC(t, free_twice_flushed, NULL, "state: free, in a depot");
        EXPECT_PANIC(t, free_twice_drained, NULL, "state: free, in its span");
    }
    EXPECT_PANIC(t, free_twice_flushed, NULL, "kfree: double free of 0x");
    EXPECT_PANIC(t, free_twice_drained, NULL, "kfree: double free of 0x");
    arg_bytes = 50000;
    EXPECT_PANIC(t, free_twice, NULL, "kfree: double free of 0x");
}

TEST(slab_misuse, double_free_with_write)
{
    if (!slots_are_plain(t))
        return;

    arg_bytes = 64;
    EXPECT_PANIC(t, free_twice_written, NULL, "written after it was freed, or freed twice");
    EXPECT_PANIC(t, free_twice_written_drained, NULL, "written after it was freed, or freed twice");
    EXPECT_PANIC(t, free_twice_written_reused, NULL, "written after it was freed, or freed twice");
    EXPECT_PANIC(t, write_after_free, NULL, "written after it was freed, or freed twice");
    EXPECT_PANIC(t, write_after_free_drained, NULL, "written after it was freed, or freed twice");
    EXPECT_PANIC(t, write_after_free_retired, NULL, "written after it was freed, or freed twice");
}

/* ---- Addresses that are no objects ---- */

static void call_kfree(void *p)
{
    kfree(p);
}

TEST(slab_misuse, free_of_no_object)
{
    static uint64_t in_image[8];
    uint64_t on_stack[8];
    char *small = kmalloc(64), *odd = kmalloc(1400), *large = kmalloc(100000);
    char *page = page_alloc(2, 0);

    REQUIRE(t, small != NULL && odd != NULL && large != NULL && page != NULL);
    EXPECT_PANIC(t, call_kfree, small + 1, "is not the start of an object");
    EXPECT_PANIC(t, call_kfree, small + 8, "is not the start of an object");
    EXPECT_PANIC(t, call_kfree, small + 32, "address is byte 32 of its object");
    EXPECT_PANIC(t, call_kfree, large + 16, "is not the start of an object");
    EXPECT_PANIC(t, call_kfree, large + GRANULE_BYTES, "is not the start of an object");
    EXPECT_PANIC(t, call_kfree, in_image, "is not an object of the heap");
    EXPECT_PANIC(t, call_kfree, on_stack, "is not an object of the heap");
    EXPECT_PANIC(t, call_kfree, (void *)8, "is not an object of the heap");
    EXPECT_PANIC(t, call_kfree, (void *)UINTPTR_MAX, "is not an object of the heap");
    EXPECT_PANIC(t, call_kfree, (void *)0xdeadbeefdeadbeeful, "is not an object of the heap");
    EXPECT_PANIC(t, call_kfree, (void *)port_direct_base(), "is not an object of the heap");
    kfree(small);
    kfree(odd);
    kfree(large);
    page_free(page, 2);
}

/* Slot number `slot` of the span that holds a new object, of whatever size. */
static void *slot_near(size_t bytes, unsigned slot)
{
    return (char *)span_of(kmalloc(bytes))->base + slot * bytes;
}

/* 1408 bytes: 11 slots in 16 KiB, then a tail of 896. */
static void free_tail(void *unused)
{
    (void)unused;
    kfree(slot_near(1408, 11));
}

/* 64 bytes: 127 slots, then their bitmap. */
static void free_bitmap(void *unused)
{
    (void)unused;
    kfree(slot_near(64, 127));
}

/* One that its span has and no magazine. */
static void free_slot_not_out(void *unused)
{
    struct span *span;
    unsigned slot = 0;

    (void)unused;
    do {
        span = span_of(kmalloc(64));
    } while (span->free_count == 0);
    while (!span_slot_is_free(span, slot))
        slot++;
    kfree(span_slot(span, slot));
}

TEST(slab_misuse, free_within_a_span)
{
    if (!slots_are_plain(t))
        return;

    EXPECT_PANIC(t, free_tail, NULL, "is not the start of an object");
    EXPECT_PANIC(t, free_bitmap, NULL, "is not the start of an object");
    EXPECT_PANIC(t, free_slot_not_out, NULL, "kfree: double free of 0x");
}

/* What the collector frees, and nobody else: a span of the classes that are kept for it. */
TEST(slab_misuse, free_of_a_collected_object)
{
    static struct span_owner collected;

    collected = (struct span_owner){
        .layout = size_class_layout[6],
        .key = 500 * SPAN_KEY_UNIT,
        .span_class = SIZE_CLASS_COUNT + 6,
    };

    struct span *span = span_create_slots(&collected, 0, 0);

    REQUIRE(t, span != NULL);
    EXPECT_PANIC(t, call_kfree, span_slot(span, 3), "belongs to the collected heap");
    span_destroy(span);
}

/* ---- Wrong size, wrong cache, use of what is free ---- */

static void free_sized_64(void *bytes)
{
    kfree_sized(kmalloc(64), *(size_t *)bytes);
}

static void free_sized_large(void *bytes)
{
    kfree_sized(kmalloc(100000), *(size_t *)bytes);
}

TEST(slab_misuse, wrong_size)
{
    static size_t wrong_for_64[] = {0, 1, 48, 65, 80, 4096, 100000, SIZE_MAX};
    static size_t wrong_for_large[] = {0, 64, 32768, 98304, 106497, SIZE_MAX};

    for (unsigned i = 0; i < ARRAY_COUNT(wrong_for_64); i++)
        EXPECT_PANIC(t, free_sized_64, &wrong_for_64[i], "kfree_sized: 0x");
    for (unsigned i = 0; i < ARRAY_COUNT(wrong_for_large); i++)
        EXPECT_PANIC(t, free_sized_large, &wrong_for_large[i], "is not an object of that size");
}

static void sized_twice(void *unused)
{
    (void)unused;
    void *p = kmalloc(64);

    kfree_sized(p, 64);
    kfree_sized(p, 64);
}

static void bulk_twice(void *unused)
{
    (void)unused;
    void *p = kmalloc(64), *twice[] = {p, p};

    kfree_bulk(2, twice);
}

static void size_of_freed(void *unused)
{
    (void)unused;
    void *p = kmalloc(64);

    kfree(p);
    ksize(p);
}

static void realloc_of_freed(void *unused)
{
    (void)unused;
    void *p = kmalloc(64);

    kfree(p);
    krealloc(p, 100);
}

TEST(slab_misuse, use_of_freed)
{
    EXPECT_PANIC(t, sized_twice, NULL, "kfree_sized: double free of 0x");
    EXPECT_PANIC(t, bulk_twice, NULL, "kfree_bulk: double free of 0x");
    EXPECT_PANIC(t, size_of_freed, NULL, " is free");
    EXPECT_PANIC(t, realloc_of_freed, NULL, "krealloc: 0x");
}

struct two_caches {
    struct kmem_cache *mine, *other;
    void *object; /* of mine */
};

static void free_to_other(void *caches)
{
    struct two_caches *two = caches;

    kmem_cache_free(two->other, two->object);
}

static void free_kmalloced(void *caches)
{
    kmem_cache_free(((struct two_caches *)caches)->mine, kmalloc(64));
}

static void free_inside(void *caches)
{
    struct two_caches *two = caches;

    kmem_cache_free(two->mine, (char *)two->object + 8);
}

static void cache_free_twice(void *caches)
{
    struct two_caches *two = caches;

    kmem_cache_free(two->mine, two->object);
    kmem_cache_free(two->mine, two->object);
}

static void cache_free_kfree(void *caches)
{
    struct two_caches *two = caches;

    kmem_cache_free(two->mine, two->object);
    kfree(two->object);
}

static void cache_destroy_live(void *caches)
{
    struct two_caches *two = caches;

    kmem_cache_alloc(two->mine);
    kmem_cache_destroy(two->mine);
}

static void ctor_nothing(void *object)
{
    memset(object, 0, 64);
}

static void test_cache_misuse(struct test *t, void (*ctor)(void *))
{
    struct two_caches two = {
        .mine = kmem_cache_create("mine", 64, 0, ctor, 0),
        .other = kmem_cache_create("other", 64, 0, ctor, 0),
    };

    REQUIRE(t, two.mine != NULL && two.other != NULL);
    two.object = kmem_cache_alloc(two.mine);
    REQUIRE(t, two.object != NULL);
    kmem_cache_free(two.other, kmem_cache_alloc(two.other)); /* so that it has a magazine */
    EXPECT_PANIC(t, free_to_other, &two, "is not an object of that cache");
    EXPECT_PANIC(t, free_to_other, &two, "in mine, slot");
    EXPECT_PANIC(t, free_kmalloced, &two, "is not an object of that cache");
    EXPECT_PANIC(t, free_inside, &two, "is not the start of an object");
    EXPECT_PANIC(t, cache_free_twice, &two, "kmem_cache_free: double free of 0x");
    EXPECT_PANIC(t, cache_free_kfree, &two, "kfree: double free of 0x");
    EXPECT_PANIC(t, cache_destroy_live, &two, "kmem_cache_destroy: mine has 2 live objects");
    kmem_cache_free(two.mine, two.object);
    kmem_cache_destroy(two.mine);
    kmem_cache_destroy(two.other);
}

TEST(slab_misuse, caches)
{
    test_cache_misuse(t, NULL);
}

TEST(slab_misuse, caches_with_constructor)
{
    test_cache_misuse(t, ctor_nothing);
}
