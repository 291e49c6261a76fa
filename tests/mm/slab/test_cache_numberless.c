/* kmem_caches beyond those that have a number: without magazines, told apart by their owner. */
#include "mm/port.h"
#include "mm/slab/slab_impl.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS 200u

static void *objects[OBJECTS];
static struct kmem_cache *caches[SLAB_INDEX_MAX];

static void free_to_another(void *object)
{
    kmem_cache_free(caches[SLAB_INDEX_MAX - 2], object);
}

static void free_again(void *object)
{
    kfree(object);
    kfree(object);
}

/* What is free stands in its span: the next allocations of the cache meet it. */
static void write_after_free(void *object)
{
    kfree(object);
    *(uint64_t *)object ^= 1;
    for (unsigned i = 0; i < OBJECTS; i++)
        kmem_cache_alloc(caches[SLAB_INDEX_MAX - 1]);
}

TEST(kmem_cache, more_than_there_are_numbers)
{
    if (!slots_are_plain(t))
        return;

    size_t taken = slab_class_count() + 1; /* 0 is nobody's */

    for (unsigned i = 0; i < SLAB_INDEX_MAX; i++) {
        REQUIRE(t, (caches[i] = kmem_cache_create("many", 64, 0, NULL, 0)) != NULL);
        EXPECT(t, (caches[i]->index != 0) == (i < SLAB_INDEX_MAX - taken));
        REQUIRE(t, (objects[i % OBJECTS] = object_in_slot(caches[i])) != NULL);
        EXPECT(t, span_of(objects[i % OBJECTS])->owner == &caches[i]->central->owner);
        kmem_cache_free(caches[i], objects[i % OBJECTS]);
    }

    struct kmem_cache *last = caches[SLAB_INDEX_MAX - 1];

    for (unsigned i = 0; i < OBJECTS; i++) {
        REQUIRE(t, (objects[i] = object_in_slot(last)) != NULL);
        EXPECT(t, span_of(objects[i])->owner == &last->central->owner);
        if (i % 2 == 0)
            EXPECT(t, !slab_has_token(objects[i]));
    }
    EXPECT_PANIC(t, free_to_another, objects[0], "is not an object of that cache");
    EXPECT_PANIC(t, free_again, objects[0], "kfree: double free of 0x");
    EXPECT_PANIC(t, write_after_free, objects[0], "written after it was freed, or freed twice");
    kmem_cache_free_bulk(last, OBJECTS, objects);
    slab_check();
    for (unsigned i = 0; i < SLAB_INDEX_MAX; i++)
        kmem_cache_destroy(caches[i]);
}
