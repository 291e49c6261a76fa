/*
 * kmem_caches: objects of one size in spans of their own, with their own central and magazines, or
 * in those of kmalloc's size class where a cache shares.
 *
 * A cache is a page from the page heap.  Its number in the CPUs' magazines is taken from a table;
 * where all are taken the cache has no magazines, and its slots come from central and go there one
 * by one.  A free never fails.
 *
 * The fast path of a free asks three things by one comparison (mm/span/span.h): that the address is
 * a slot's first byte, and that the span is this cache's, by its key.
 *
 * With a constructor the object's bytes must stand as its user left them while the slot is free, so
 * the token stands in front of them:
 *
 *     | token, padding to align | object, rounded up to align |
 *
 * Such a cache shows the fast paths the number of no magazine and a key that no span has, so both
 * miss; behind them stands a second pair of sequences, which know the shift.
 *
 * Locks: SLAB_CACHES for the list of caches and their numbers.
 */
#include "mm/slab/debug.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab_impl.h"

_Static_assert(sizeof(struct kmem_cache) <= PAGE_BYTES, "a cache is one page");

/* As kmalloc aligns: 8 bytes, 16 from 16 bytes up, powers of two naturally up to a page. */
static size_t cache_natural_align(size_t bytes)
{
    if (is_pow2(bytes))
        return MIN(MAX(bytes, (size_t)8), (size_t)PAGE_BYTES);
    return bytes < 16 ? 8 : 16;
}

/* A number in the CPUs' magazines; 0: all are taken. */
static unsigned cache_take_index(struct kmem_cache *cache)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    unsigned index = SIZE_CLASS_COUNT;

    while (index < SLAB_INDEX_MAX &&
           atomic_load_explicit(&slab_by_index[index], memory_order_relaxed) != NULL)
        index++;
    if (index < SLAB_INDEX_MAX)
        atomic_store_explicit(&slab_by_index[index], &cache->own, memory_order_release);
    port_unlock(&slab_caches.lock, irq);
    return index < SLAB_INDEX_MAX ? index : 0;
}

static void cache_list_add(struct kmem_cache *cache)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    struct kmem_cache **link = &slab_caches.first;

    while (*link != NULL)
        link = &(*link)->next;
    *link = cache;
    port_unlock(&slab_caches.lock, irq);
}

static void cache_list_remove(struct kmem_cache *cache)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    struct kmem_cache **link = &slab_caches.first;

    while (*link != cache)
        link = &(*link)->next;
    *link = cache->next;
    port_unlock(&slab_caches.lock, irq);
}

/* ---- Create ---- */

static bool cache_is_sound(const char *name, size_t bytes, size_t align, void (*ctor)(void *),
                           unsigned flags)
{
    if (name == NULL || bytes - 1 >= KMALLOC_SMALL_MAX || (flags & ~KMEM_CACHE_FLAGS) != 0)
        return false;
    if (align != 0 && (!is_pow2(align) || align > PAGE_BYTES))
        return false;
    return (flags & KMEM_CACHE_SHARE) == 0 || (flags == KMEM_CACHE_SHARE && ctor == NULL);
}

/* The size class whose slots are as aligned as that. */
static struct central *cache_shared_central(size_t bytes, size_t align)
{
    unsigned class = size_class_of(bytes);

    while (align != 0 && !IS_ALIGNED(size_class_layout[class].slot_bytes, align))
        class ++;
    return &slab_centrals[class];
}

static void cache_init_own(struct kmem_cache *cache, size_t bytes, size_t align,
                           void (*ctor)(void *), unsigned flags)
{
    if (align == 0)
        align = ctor == NULL ? cache_natural_align(bytes) : bytes < 16 ? 8 : 16;
    align = MAX(align, sizeof(uint64_t));

    unsigned shift = ctor == NULL ? 0 : (unsigned)align;
    struct slot_layout layout = slot_layout_of(ALIGN_UP(bytes, align) + shift);
    unsigned index = slab_debug_flags(cache->name) == 0 ? cache_take_index(cache) : 0;
    struct central *central = &cache->own;

    central_init(central, cache->name, SPAN_CLASS_CACHE, index, &layout);
    central->ctor = ctor;
    central->align = (uint32_t)align;
    central->object_shift = shift;
    central->object_bytes = ctor == NULL ? layout.slot_bytes : (uint32_t)bytes;
    if (slab_debug_flags(cache->name) != 0) {
        central->object_bytes = (uint32_t)bytes;
        slab_debug_setup(central, align);
    }
    if (flags & KMEM_CACHE_DMA32)
        central->limit = 4ul << 30;
    if (flags & KMEM_CACHE_DMA)
        central->limit = MM_DMA_BYTES;
    cache->central = central;
    cache->key = CACHE_NO_KEY;
    if (ctor == NULL && index != 0) {
        cache->key = central->owner.key;
        cache->index = index;
    }
}

struct kmem_cache *kmem_cache_create(const char *name, size_t bytes, size_t align,
                                     void (*ctor)(void *), unsigned flags)
{
    if (!cache_is_sound(name, bytes, align, ctor, flags))
        return NULL;

    struct kmem_cache *cache = page_alloc(1, PAGE_ZERO);

    if (cache == NULL)
        return NULL;
    cache->name = name;
    if ((flags & KMEM_CACHE_SHARE) && slab_debug_flags(name) == 0) {
        cache->central = cache_shared_central(bytes, align);
        cache->index = cache->central->owner.index;
        cache->key = CACHE_NO_KEY;
    } else {
        cache_init_own(cache, bytes, align, ctor, flags);
    }
    cache_list_add(cache);
    return cache;
}

/* ---- Alloc ---- */

/* Where the token stands in front of the object. */
static PORT_RESTARTABLE void *cache_alloc_shifted(const struct central *central, uintptr_t caller)
{
    void *slot;

    if (LIKELY(port_magazine_pop(slab_cpu, central->owner.index, &slot)))
        return (char *)slot + central->object_shift;
    return slab_alloc_slow((struct central *)central, central->object_bytes, caller);
}

static NOINLINE void *cache_alloc_slow(struct kmem_cache *cache, uintptr_t caller)
{
    return cache->central->object_shift != 0
               ? cache_alloc_shifted(cache->central, caller)
               : slab_alloc_slow(cache->central, cache->central->object_bytes, caller);
}

PORT_RESTARTABLE void *kmem_cache_alloc(struct kmem_cache *cache)
{
    void *slot;

    if (LIKELY(port_magazine_pop(slab_cpu, cache->index, &slot)))
        return slot;
    return cache_alloc_slow(cache, SLAB_CALLER);
}

/* ---- Free ---- */

/* The free of a live slot that its magazine has no room for, or of one that is free. */
static NOINLINE void cache_free_full(struct kmem_cache *cache, void *slot, uintptr_t caller,
                                     bool is_free)
{
    struct central *central = cache->central;

    if (is_free)
        slab_misuse("kmem_cache_free", (char *)slot + central->object_shift, SLAB_DOUBLE_FREE);
    slab_free_slow("kmem_cache_free", central, slot, caller);
}

/* Where the token stands in front of the object, or the cache shares, or the object is not its. */
static PORT_RESTARTABLE NOINLINE void cache_free_other(struct kmem_cache *cache, void *object,
                                                       uintptr_t caller)
{
    const struct central *central = cache->central;
    void *slot = slab_slot_of(central, object);
    const struct span *span = span_of(slot);

    if (span != NULL && span->owner == &central->owner &&
        span_is_slot(span, slot, central->owner.key)) {
        uint64_t token = seq_token(slot);

        if (UNLIKELY(*(uint64_t *)slot == token))
            return cache_free_full(cache, slot, caller, true);
        if (UNLIKELY(!port_magazine_push(slab_cpu, central->owner.index, slot, token)))
            cache_free_full(cache, slot, caller, false);
        return;
    }
    if (object == NULL)
        return;
    if (guard_owns(object))
        return guard_free("kmem_cache_free", central, object);
    (void)slab_live_span("kmem_cache_free", object, SLAB_DOUBLE_FREE);
    slab_misuse("kmem_cache_free", object, SLAB_WRONG_CACHE);
}

PORT_RESTARTABLE void kmem_cache_free(struct kmem_cache *cache, void *object)
{
    const struct span *span;

    if (UNLIKELY(!span_near(object, &span) || !span_is_slot(span, object, cache->key)))
        return cache_free_other(cache, object, SLAB_CALLER);

    uint64_t token = seq_token(object);

    if (UNLIKELY(*(uint64_t *)object == token))
        return cache_free_full(cache, object, SLAB_CALLER, true);
    if (UNLIKELY(!port_magazine_push(slab_cpu, cache->index, object, token)))
        cache_free_full(cache, object, SLAB_CALLER, false);
}

/* ---- Many at once ---- */

size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, size_t n, void **out)
{
    size_t done = 0;

    while (done < n && (out[done] = kmem_cache_alloc(cache)) != NULL)
        done++;
    return done;
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **objects)
{
    for (size_t i = 0; i < n; i++)
        kmem_cache_free(cache, objects[i]);
}

/* ---- Objects held ready ---- */

struct kmem_prefill {
    struct kmem_cache *cache; /* [C] */
    size_t left;              /* [L] the holder's: objects not taken yet */
    void *objects[];
};

struct kmem_prefill *kmem_cache_prefill(struct kmem_cache *cache, size_t n)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, sizeof(void *), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct kmem_prefill), &bytes))
        return NULL;

    struct kmem_prefill *prefill = kmalloc(bytes);

    if (prefill == NULL)
        return NULL;
    prefill->cache = cache;
    prefill->left = kmem_cache_alloc_bulk(cache, n, prefill->objects);
    if (prefill->left == n)
        return prefill;
    kmem_prefill_release(prefill);
    return NULL;
}

void *kmem_prefill_take(struct kmem_prefill *prefill)
{
    return prefill->left > 0 ? prefill->objects[--prefill->left] : NULL;
}

size_t kmem_prefill_left(const struct kmem_prefill *prefill)
{
    return prefill->left;
}

void kmem_prefill_release(struct kmem_prefill *prefill)
{
    if (prefill == NULL)
        return;
    kmem_cache_free_bulk(prefill->cache, prefill->left, prefill->objects);
    kfree(prefill);
}

/* ---- Destroy ---- */

static void cache_drain_this_cpu(void *cache)
{
    magazine_drain(((struct kmem_cache *)cache)->central);
}

static void cache_drain(struct kmem_cache *cache)
{
    slab_quarantine_drain(cache->central);
    port_call_all(cache_drain_this_cpu, cache);
    central_trim_depot(cache->central, SIZE_MAX);
    central_trim(cache->central);
}

/* Off the list first: who walks it may have slots of the cache in hand until then. */
void kmem_cache_destroy(struct kmem_cache *cache)
{
    if (cache == NULL)
        return;
    cache_list_remove(cache);
    if (cache->central == &cache->own) {
        cache_drain(cache);

        struct central_sums sums = central_sums(cache->central);
        size_t live = sums.spans * cache->own.owner.layout.slot_count - sums.free_slots +
                      guard_live_count(&cache->own);

        if (live != 0)
            slab_misuse_destroy(cache->central, live);
        guard_forget(&cache->own);
        if (cache->own.owner.index != 0)
            atomic_store_explicit(&slab_by_index[cache->own.owner.index], NULL,
                                  memory_order_release);
    }
    page_free(cache, 1);
}
