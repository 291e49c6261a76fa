/* kmem_caches: arguments, alignment, constructors, what they hold and give back. */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "mm/port.h"
#include "mm/slab/slab.h"
#include "mm/page/page.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS 500u

static void *objects[OBJECTS];

TEST(kmem_cache, refuses_bad_arguments)
{
    EXPECT(t, kmem_cache_create(NULL, 64, 0, NULL, 0) == NULL);
    EXPECT(t, kmem_cache_create("bad", 0, 0, NULL, 0) == NULL);
    EXPECT(t, kmem_cache_create("bad", KMALLOC_SMALL_MAX + 1, 0, NULL, 0) == NULL);
    EXPECT(t, kmem_cache_create("bad", 64, 48, NULL, 0) == NULL);
    EXPECT(t, kmem_cache_create("bad", 64, 2 * PAGE_BYTES, NULL, 0) == NULL);
    EXPECT(t, kmem_cache_create("bad", 64, 0, NULL, 8) == NULL);
    kmem_cache_destroy(NULL);
}

static void ctor_nothing(void *object)
{
    (void)object;
}

TEST(kmem_cache, sizes_and_alignments)
{
    for (size_t bytes = 1; bytes <= KMALLOC_SMALL_MAX; bytes = bytes * 2 + 1 - bytes % 3) {
        for (size_t align = 0; align <= PAGE_BYTES; align = align == 0 ? 1 : align * 4) {
            void (*ctor)(void *) = (bytes ^ align) & 4 ? ctor_nothing : NULL;
            struct kmem_cache *cache = kmem_cache_create("sizes", bytes, align, ctor, 0);

            REQUIRE(t, cache != NULL);
            for (unsigned i = 0; i < 20; i++) {
                REQUIRE(t, (objects[i] = kmem_cache_alloc(cache)) != NULL);
                EXPECT(t, IS_ALIGNED((uintptr_t)objects[i], MAX(align, (size_t)1)));
                EXPECT(t, bytes < 16 || align != 0 || IS_ALIGNED((uintptr_t)objects[i], 16));
                EXPECT(t, ksize(objects[i]) >= bytes);
                object_fill(objects[i], ksize(objects[i]), i);
            }
            for (unsigned i = 0; i < 20; i++) {
                EXPECT(t, object_holds(objects[i], ksize(objects[i]), i));
                if (i % 2 == 0)
                    kmem_cache_free(cache, objects[i]);
                else
                    kfree(objects[i]);
            }
            kmem_cache_destroy(cache);
        }
    }
}

#define CONSTRUCTED 0x636f6e7374ull

struct constructed {
    uint64_t magic, uses, last;
};

static _Atomic unsigned ctor_calls;

static void ctor_count(void *object)
{
    struct constructed *constructed = object;

    *constructed = (struct constructed){.magic = CONSTRUCTED, .last = ~CONSTRUCTED};
    atomic_fetch_add(&ctor_calls, 1);
}

/* Constructed once per slot, and left as its user left it: all of it, at the ends too. */
TEST(kmem_cache, objects_stay_constructed)
{
    if (!slots_are_plain(t))
        return;

    struct kmem_cache *cache =
        kmem_cache_create("ctor", sizeof(struct constructed), 0, ctor_count, 0);
    uint64_t uses = 0;

    REQUIRE(t, cache != NULL);
    atomic_store(&ctor_calls, 0);
    for (unsigned round = 1; round <= 10; round++) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            struct constructed *object = kmem_cache_alloc(cache);

            REQUIRE(t, object != NULL);
            EXPECT(t, object->magic == CONSTRUCTED && object->last == ~CONSTRUCTED);
            object->uses++;
            objects[i] = object;
        }
        for (unsigned i = 0; i < OBJECTS; i++)
            kmem_cache_free(cache, objects[i]);
    }

    unsigned calls = atomic_load(&ctor_calls);

    EXPECT(t, calls >= OBJECTS && calls < 2 * OBJECTS + 1024);
    for (unsigned i = 0; i < OBJECTS; i++) {
        REQUIRE(t, (objects[i] = kmem_cache_alloc(cache)) != NULL);
        uses += ((struct constructed *)objects[i])->uses;
    }
    EXPECT(t, uses > 9 * OBJECTS / 2); /* objects came round again, not new ones */
    kfree_bulk(OBJECTS, objects);
    kmem_cache_destroy(cache);
}

static struct kmem_cache *recursive_cache;

static void ctor_allocates(void *object)
{
    *(void **)object = kmalloc(40); /* a constructor runs with no lock held */
    kfree(*(void **)object);
    if (recursive_cache != NULL) {
        struct kmem_cache *cache = recursive_cache;

        recursive_cache = NULL;
        kmem_cache_free(cache, kmem_cache_alloc(cache));
    }
}

TEST(kmem_cache, constructors_may_allocate)
{
    struct kmem_cache *cache = kmem_cache_create("recursive", 32, 0, ctor_allocates, 0);

    REQUIRE(t, cache != NULL);
    recursive_cache = cache;

    void *object = kmem_cache_alloc(cache);

    EXPECT(t, object != NULL && recursive_cache == NULL);
    kmem_cache_free(cache, object);
    kmem_cache_destroy(cache);
}

TEST(kmem_cache, has_a_row_and_gives_all_back)
{
    size_t rows = slab_class_count();
    struct kmem_cache *first = kmem_cache_create("first", 200, 0, NULL, 0);
    struct kmem_cache *second = kmem_cache_create("second", 200, 0, NULL, 0);
    struct slab_class_stats row;

    REQUIRE(t, first != NULL && second != NULL);
    EXPECT(t, slab_class_count() == rows + 2);
    EXPECT(t, slab_class_stats(rows, &row) && strcmp(row.name, "first") == 0);
    EXPECT(t, slab_class_stats(rows + 1, &row) && strcmp(row.name, "second") == 0);
    EXPECT(t, !slab_class_stats(rows + 2, &row));
    for (unsigned i = 0; i < OBJECTS; i++)
        REQUIRE(t, (objects[i] = object_in_slot(second)) != NULL);
    EXPECT(t, slab_class_stats(rows + 1, &row) && row.live == OBJECTS);
    EXPECT(t, row.taken - row.given == row.live + row.magazine + row.depot);
    EXPECT(t, slab_class_stats(rows, &row) && row.live == 0 && row.spans == 0);
    kfree_bulk(OBJECTS, objects);
    slab_check();
    slab_drain_all();
    EXPECT(t, slab_class_stats(rows + 1, &row) && row.live == 0 && row.spans == 0);
    EXPECT(t, row.taken >= OBJECTS && row.given == row.taken);
    kmem_cache_destroy(first);
    EXPECT(t, slab_class_stats(rows, &row) && strcmp(row.name, "second") == 0);
    kmem_cache_destroy(second);
    EXPECT(t, slab_class_count() == rows);
}

/* ---- Exhaustion ---- */

TEST(kmem_cache, create_and_alloc_unwind_every_failure)
{
    for (unsigned nth = 1;; nth++) {
        mm_drain();

        size_t free_before = page_free_count();
        void *object = NULL;

        fault_fail_nth(nth);
        struct kmem_cache *cache = kmem_cache_create("fail", 64, 0, NULL, 0);
        if (cache != NULL)
            object = kmem_cache_alloc(cache);
        bool fired = fault_disarm();

        EXPECT(t, object != NULL || fired);
        if (cache != NULL) {
            kmem_cache_free(cache, object);
            kmem_cache_destroy(cache);
        }
        mm_drain();
        EXPECT(t, page_free_count() == free_before);
        if (!fired)
            return;
        REQUIRE(t, nth < 20);
    }
}

/* No page for magazines: objects come from central one by one, and frees do not fail. */
TEST(kmem_cache, works_without_magazines)
{
    struct kmem_cache *cache = kmem_cache_create("bare", 512, 0, NULL, 0);
    static struct hog hog;
    struct slab_class_stats row;

    void *held = kmalloc(40); /* so that there are descriptors of spans */

    REQUIRE(t, cache != NULL && held != NULL);
    mm_drain();

    void *granule = page_alloc_aligned(GRANULE_PAGES, GRANULE_PAGES, 0, 0);

    REQUIRE(t, granule != NULL);
    hog_take(&hog, 0);
    page_free(granule, GRANULE_PAGES); /* a span */

    unsigned got = 0;

    while (got < OBJECTS && (objects[got] = kmem_cache_alloc(cache)) != NULL)
        got++;
    EXPECT(t, got > 0);
    kfree_bulk(got, objects);
    hog_give(&hog);
    kfree(held);
    EXPECT(t, slab_class_stats(slab_class_count() - 1, &row));
    EXPECT(t, row.live == 0 && row.taken >= got);
    kmem_cache_destroy(cache);
}
