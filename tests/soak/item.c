/*
 * Items: every way to get an object, every way to give it back.
 *
 * Each is filled from end to end with words made of its tag, and compared before it is given back,
 * resized, and from time to time between: so two that overlap are seen when the first of them goes.
 * Objects with a constructor get its pattern again before they are freed, and must have it when they
 * are handed out.
 */
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "tests/replay/pattern.h"
#include "tests/soak/soak.h"
#include "kernel/print.h"

#define CTOR_TAG 0xc0115ull

static bool is_zero(const uint8_t *addr, size_t bytes)
{
    return addr[0] == 0 && memcmp(addr, addr + 1, bytes - 1) == 0;
}

bool soak_item_holds(struct soak_worker *worker, const struct soak_item *item)
{
    if (EXPECT(worker->t, pattern_is_whole(item->addr, item->bytes, item->tag)))
        return true;
    printk("# damaged: kind %u, %p, %zu bytes, tag 0x%lx, cache %p\n", item->kind, item->addr,
           item->bytes, item->tag, (void *)item->cache);
    return false;
}

/* ---- Allocate ---- */

static size_t random_bytes(struct soak_worker *worker)
{
    static const size_t few[] = {32, 64, 200, 1024};

    if (worker->has_few_sizes)
        return few[soak_random(worker, ARRAY_COUNT(few))];
    if (soak_random(worker, 400) == 0)
        return 1 + soak_random(worker, MIB);
    if (soak_random(worker, 16) == 0)
        return 1 + soak_random(worker, 2 * KMALLOC_SMALL_MAX);
    return 1 + soak_random(worker, (size_t)16 << soak_random(worker, 9));
}

static void item_set(struct soak_worker *worker, struct soak_item *item, enum soak_kind kind,
                     void *addr, size_t bytes)
{
    if (addr == NULL) {
        worker->failures++;
        worker->failed_bytes = bytes;
        return;
    }
    *item = (struct soak_item){
        .kind = kind, .addr = addr, .bytes = bytes, .tag = random_next(&worker->random)};
    if (kind != SOAK_PAGES)
        EXPECT(worker->t, ksize(addr) >= bytes);
    pattern_fill(addr, bytes, item->tag);
}

void soak_item_adopt(struct soak_worker *worker, struct soak_item *item, struct soak_cache *cache,
                     void *object)
{
    if (object != NULL) {
        EXPECT(worker->t, cache->align == 0 || IS_ALIGNED((uintptr_t)object, cache->align));
        EXPECT(worker->t, !cache->has_ctor || pattern_is_whole(object, cache->bytes, CTOR_TAG));
        atomic_fetch_add_explicit(&cache->items, 1, memory_order_relaxed);
    }
    item_set(worker, item, SOAK_CACHED, object, cache->bytes);
    item->cache = cache;
}

/* One of the worker's caches, its own as often as all others together. */
static struct soak_cache *random_cache(struct soak_worker *worker)
{
    if (worker->own != NULL && worker->own->cache != NULL && !worker->own->is_closing &&
        soak_random(worker, 2) == 0)
        return worker->own;
    return &worker->caches[soak_random(worker, SOAK_CACHES)];
}

static void item_alloc_zeroed(struct soak_worker *worker, struct soak_item *item, size_t bytes)
{
    size_t n = 1 + soak_random(worker, 8);
    void *addr = n == 1 ? kzalloc(bytes) : kcalloc(n, bytes);

    EXPECT(worker->t, addr == NULL || is_zero(addr, n * bytes));
    item_set(worker, item, SOAK_SIZED, addr, n * bytes);
}

static void item_alloc_aligned(struct soak_worker *worker, struct soak_item *item, size_t bytes)
{
    size_t align = (size_t)1 << soak_random(worker, 15);
    void *addr = kmalloc_aligned(bytes, align);

    EXPECT(worker->t, IS_ALIGNED((uintptr_t)addr, align));
    item_set(worker, item, SOAK_PLAIN, addr, bytes);
}

static void item_alloc_pages(struct soak_worker *worker, struct soak_item *item)
{
    size_t pages = 1 + soak_random(worker, soak_random(worker, 32) == 0 ? 64 : 4);
    size_t align = (size_t)1 << soak_random(worker, 4);
    unsigned flags = soak_random(worker, 4) == 0 ? PAGE_ZERO : 0;
    void *addr = page_alloc_aligned(pages, align, 0, flags);

    EXPECT(worker->t, IS_ALIGNED((uintptr_t)addr, align * PAGE_BYTES));
    EXPECT(worker->t, addr == NULL || !(flags & PAGE_ZERO) || is_zero(addr, pages * PAGE_BYTES));
    item_set(worker, item, SOAK_PAGES, addr, pages * PAGE_BYTES);
}

void soak_item_alloc(struct soak_worker *worker, struct soak_item *item)
{
    size_t bytes = random_bytes(worker);
    size_t way = soak_random(worker, 100);

    if (way < 55) {
        item_set(worker, item, SOAK_SIZED, kmalloc(bytes), bytes);
    } else if (way < 62) {
        item_alloc_zeroed(worker, item, bytes);
    } else if (way < 67) {
        item_alloc_aligned(worker, item, bytes);
    } else if (way < 71) {
        item_set(worker, item, SOAK_SIZED, krealloc(NULL, bytes), bytes);
    } else if (way < 75) {
        item_alloc_pages(worker, item);
    } else {
        struct soak_cache *cache = random_cache(worker);

        soak_item_adopt(worker, item, cache, kmem_cache_alloc(cache->cache));
    }
}

void soak_item_alloc_bulk(struct soak_worker *worker, struct soak_item *items, size_t n)
{
    struct soak_cache *cache = soak_random(worker, 2) == 0 ? random_cache(worker) : NULL;
    size_t bytes = random_bytes(worker);
    void *objects[SOAK_BULK];

    n = cache == NULL ? MIN(n, 1 + SOAK_BULK_BYTES / bytes) : n;

    size_t got = cache != NULL ? kmem_cache_alloc_bulk(cache->cache, n, objects)
                               : kmalloc_bulk(bytes, n, objects);

    worker->failures += got < n;
    for (size_t i = 0; i < got; i++) {
        if (cache != NULL)
            soak_item_adopt(worker, &items[i], cache, objects[i]);
        else
            item_set(worker, &items[i], SOAK_PLAIN, objects[i], bytes);
    }
}

/* ---- Resize ---- */

void soak_item_resize(struct soak_worker *worker, struct soak_item *item)
{
    size_t bytes = random_bytes(worker);

    if (item->kind != SOAK_SIZED && item->kind != SOAK_PLAIN)
        return;
    if (soak_random(worker, 4) == 0) /* a little more: may stay in place */
        bytes = item->bytes + soak_random(worker, 2 * PAGE_BYTES);
    soak_item_holds(worker, item);

    void *moved = krealloc(item->addr, bytes);

    if (moved == NULL) {
        soak_item_holds(worker, item);
        worker->failures++;
        return;
    }
    item->addr = moved;
    item->bytes = MIN(bytes, item->bytes) / 8 * 8; /* the pattern's tail depends on where it ends */
    soak_item_holds(worker, item);
    item_set(worker, item, SOAK_SIZED, moved, bytes);
}

/* ---- Free ---- */

/* What must be so when it is given back; the object is its allocator's then. */
static void *item_retire(struct soak_worker *worker, struct soak_item *item)
{
    soak_item_holds(worker, item);
    if (item->kind == SOAK_CACHED && item->cache->has_ctor)
        pattern_fill(item->addr, item->bytes, CTOR_TAG);
    item->kind = SOAK_NONE;
    return item->addr;
}

void soak_item_free(struct soak_worker *worker, struct soak_item *item)
{
    struct soak_cache *cache = item->cache;
    bool is_named = soak_random(worker, 2) == 0;

    switch (item->kind) {
    case SOAK_NONE:
        return;
    case SOAK_PAGES:
        page_free(item_retire(worker, item), item->bytes / PAGE_BYTES);
        return;
    case SOAK_CACHED:
        if (is_named)
            kmem_cache_free(cache->cache, item_retire(worker, item));
        else
            kfree(item_retire(worker, item));
        atomic_fetch_sub_explicit(&cache->items, 1, memory_order_release);
        return;
    case SOAK_SIZED:
        if (is_named) {
            kfree_sized(item_retire(worker, item), item->bytes);
            return;
        }
        break;
    case SOAK_PLAIN:
        break;
    }
    kfree(item_retire(worker, item));
}

/* kfree_bulk takes objects of all kinds mixed; runs of pages go by themselves. */
void soak_item_free_bulk(struct soak_worker *worker, struct soak_item *items, size_t n)
{
    void *objects[SOAK_BULK];
    struct soak_cache *caches[SOAK_BULK];
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        if (items[i].kind == SOAK_PAGES)
            soak_item_free(worker, &items[i]);
        if (items[i].kind == SOAK_NONE)
            continue;
        caches[count] = items[i].kind == SOAK_CACHED ? items[i].cache : NULL;
        objects[count++] = item_retire(worker, &items[i]);
    }
    kfree_bulk(count, objects);
    for (size_t i = 0; i < count; i++) {
        if (caches[i] != NULL)
            atomic_fetch_sub_explicit(&caches[i]->items, 1, memory_order_release);
    }
}

/* ---- Caches ---- */

/* The pattern depends on the object's bytes: a constructor for each size that has one. */
static void construct_104(void *object)
{
    pattern_fill(object, 104, CTOR_TAG);
}

static void construct_1500(void *object)
{
    pattern_fill(object, 1500, CTOR_TAG);
}

bool soak_cache_create(struct soak_cache *cache, const char *name)
{
    void (*ctor)(void *) = cache->bytes == 104 ? construct_104 : construct_1500;

    cache->cache = kmem_cache_create(name, cache->bytes, cache->align,
                                     cache->has_ctor ? ctor : NULL, cache->flags);
    cache->is_closing = false;
    return cache->cache != NULL;
}

bool soak_cache_create_random(struct soak_worker *worker, struct soak_cache *cache)
{
    static const unsigned flags[] = {0, 0, KMEM_CACHE_SHARE, KMEM_CACHE_DMA32};

    cache->has_ctor = soak_random(worker, 4) == 0;
    if (cache->has_ctor) {
        cache->bytes = soak_random(worker, 2) == 0 ? 104 : 1500;
        cache->align = cache->flags = 0;
    } else {
        cache->bytes = 1 + soak_random(worker, (size_t)16 << soak_random(worker, 12));
        cache->align = soak_random(worker, 2) == 0 ? 0 : (size_t)1 << soak_random(worker, 13);
        cache->flags = flags[soak_random(worker, ARRAY_COUNT(flags))];
    }
    return soak_cache_create(cache, "soak-brief");
}
