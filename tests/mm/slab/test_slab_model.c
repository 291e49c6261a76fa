/*
 * A seeded random run of the whole family against a naive model: a table of what should be live,
 * with size and pattern.  Every object is checked when it is freed or resized.
 */
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define OBJECTS 1500u
#define STEPS   (CONFIG_DEBUG ? 15000u : 60000u)
#define BULK    40u

static struct object {
    void *addr; /* NULL: not live */
    size_t bytes;
    struct kmem_cache *cache;
    bool is_aligned; /* from kmalloc_aligned: not for kfree_sized */
} objects[OBJECTS];

struct model {
    struct test *t;
    struct kmem_cache *caches[3];
    uint64_t state;
    size_t live;
};

static size_t model_random(struct model *model, size_t below)
{
    return random_next(&model->state) % below;
}

/* Mostly small, of all magnitudes. */
static size_t model_size(struct model *model)
{
    size_t limit = (size_t)16 << model_random(model, 13);

    return 1 + model_random(model, limit);
}

static void model_add(struct model *model, struct object *object, void *addr, size_t bytes)
{
    if (!EXPECT(model->t, addr != NULL))
        return;
    EXPECT(model->t, ksize(addr) >= bytes);
    *object = (struct object){.addr = addr, .bytes = bytes};
    object_fill(addr, bytes, (uintptr_t)addr);
    model->live++;
}

static void model_alloc(struct model *model, struct object *object)
{
    static const size_t cache_bytes[] = {24, 200, 3000};
    size_t bytes = model_size(model);
    size_t kind = model_random(model, 10);

    if (kind < 6) {
        model_add(model, object, kmalloc(bytes), bytes);
    } else if (kind < 7) {
        uint8_t *addr = kzalloc(bytes);

        if (addr != NULL)
            EXPECT(model->t, addr[0] == 0 && memcmp(addr, addr + 1, bytes - 1) == 0);
        model_add(model, object, addr, bytes);
    } else if (kind < 8) {
        size_t align = (size_t)1 << model_random(model, 14);
        void *addr = kmalloc_aligned(bytes, align);

        EXPECT(model->t, IS_ALIGNED((uintptr_t)addr, align));
        model_add(model, object, addr, bytes);
        object->is_aligned = true;
    } else {
        size_t i = model_random(model, ARRAY_COUNT(cache_bytes));

        model_add(model, object, kmem_cache_alloc(model->caches[i]), cache_bytes[i]);
        object->cache = model->caches[i];
    }
}

static void model_free(struct model *model, struct object *object)
{
    EXPECT(model->t, object_holds(object->addr, object->bytes, (uintptr_t)object->addr));
    if (object->cache != NULL && model_random(model, 2) == 0)
        kmem_cache_free(object->cache, object->addr);
    else if (object->cache == NULL && !object->is_aligned && model_random(model, 2) == 0)
        kfree_sized(object->addr, object->bytes);
    else
        kfree(object->addr);
    object->addr = NULL;
    model->live--;
}

static void model_realloc(struct model *model, struct object *object)
{
    size_t bytes = model_size(model);
    void *moved = krealloc(object->addr, bytes);

    REQUIRE(model->t, moved != NULL);
    EXPECT(model->t, object_holds(moved, MIN(bytes, object->bytes), (uintptr_t)object->addr));
    object_fill(moved, bytes, (uintptr_t)moved);
    *object = (struct object){.addr = moved, .bytes = bytes};
}

/* A row of objects at once, into empty places, and back at once. */
static void model_bulk(struct model *model)
{
    void *bulk[BULK];
    size_t bytes = model_size(model);
    size_t n = kmalloc_bulk(bytes, 1 + model_random(model, BULK), bulk);

    for (size_t i = 0; i < n; i++)
        object_fill(bulk[i], bytes, i);
    for (size_t i = 0; i < n; i++)
        EXPECT(model->t, object_holds(bulk[i], bytes, i));
    kfree_bulk(n, bulk);
}

/* In slots, large, or in the guard pool, which takes some of them at random. */
static size_t model_live(void)
{
    struct slab_class_stats row;
    size_t live = slab_stats().large_objects + guard_stats().live;

    for (size_t i = 0; slab_class_stats(i, &row); i++)
        live += row.live;
    return live;
}

static void model_step(struct model *model)
{
    struct object *object = &objects[model_random(model, OBJECTS)];
    size_t action = model_random(model, 100);

    if (action == 0)
        model_bulk(model);
    else if (object->addr == NULL)
        model_alloc(model, object);
    else if (action < 20 && object->cache == NULL)
        model_realloc(model, object);
    else
        model_free(model, object);
}

TEST(slab, random_run_agrees_with_model)
{
    struct model model = {.t = t, .state = test_seed(t)};
    size_t live_before = model_live();

    model.caches[0] = kmem_cache_create("model-24", 24, 0, NULL, 0);
    model.caches[1] = kmem_cache_create("model-200", 200, 64, NULL, 0);
    model.caches[2] = kmem_cache_create("model-3000", 3000, 0, NULL, 0);
    REQUIRE(t, model.caches[0] != NULL && model.caches[1] != NULL && model.caches[2] != NULL);

    for (unsigned step = 0; step < STEPS && t->failures == 0; step++) {
        model_step(&model);
        if (step % (STEPS / 4) == 0) {
            EXPECT(t, model_live() == live_before + model.live);
            mm_check();
        }
        if (step % (STEPS / 3) == 0)
            mm_drain();
    }
    EXPECT(t, model_live() == live_before + model.live);
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (objects[i].addr != NULL)
            model_free(&model, &objects[i]);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(model.caches); i++)
        kmem_cache_destroy(model.caches[i]);
    mm_drain();
    mm_check();
}
