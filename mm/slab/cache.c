/*
 * kmem_caches: objects of one size in spans of their own, with their own central and magazines.
 *
 * A cache is a page from the page heap.  Magazines come sixteen in a page, when the first of their
 * CPUs needs one, so CPUs that do not exist cost nothing; until then, and for as long as there is
 * no page to be had, a CPU's magazine is `cache_no_magazine`, empty and full at once, and its
 * slots come from central and go there one by one.  So a free never fails.
 *
 * With a constructor the object's bytes must stand as its user left them while the slot is free,
 * and the canary stands in a word of its own behind them:
 *
 *     | object, `bytes` rounded up to 8 | canary | padding to align |
 *
 * Locks: SLAB_CACHES for the list of caches, the central's for new magazines.
 */
#include "mm/slab/slab_impl.h"

#define CACHE_MAGAZINES_PER_PAGE ((unsigned)(PAGE_BYTES / sizeof(struct magazine)))

_Static_assert(sizeof(struct kmem_cache) <= PAGE_BYTES, "a cache is one page");
_Static_assert(PORT_CPU_MAX % CACHE_MAGAZINES_PER_PAGE == 0, "whole pages of magazines");

/* As kmalloc aligns: 8 bytes, 16 from 16 bytes up, powers of two naturally up to a page. */
static size_t cache_natural_align(size_t bytes)
{
    if (is_pow2(bytes))
        return MIN(MAX(bytes, (size_t)8), (size_t)PAGE_BYTES);
    return bytes < 16 ? 8 : 16;
}

static void cache_list_add(struct kmem_cache *cache)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    struct kmem_cache **link = &slab_caches.first;

    while (*link != NULL)
        link = &(*link)->next;
    *link = cache;
    slab_caches.count++;
    port_unlock(&slab_caches.lock, irq);
}

static void cache_list_remove(struct kmem_cache *cache)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    struct kmem_cache **link = &slab_caches.first;

    while (*link != cache)
        link = &(*link)->next;
    *link = cache->next;
    slab_caches.count--;
    port_unlock(&slab_caches.lock, irq);
}

struct kmem_cache *kmem_cache_create(const char *name, size_t bytes, size_t align,
                                     void (*ctor)(void *), unsigned flags)
{
    if (name == NULL || bytes - 1 >= KMALLOC_SMALL_MAX || flags != 0)
        return NULL;
    if (align != 0 && (!is_pow2(align) || align > PAGE_BYTES))
        return NULL;

    struct kmem_cache *cache = page_alloc(1, PAGE_ZERO);

    if (cache == NULL)
        return NULL;

    size_t canary_offset = ctor == NULL ? 0 : ALIGN_UP(bytes, sizeof(uint64_t));
    size_t used = MAX(bytes, canary_offset + sizeof(uint64_t));
    size_t slot_align = MAX(align != 0 ? align : cache_natural_align(bytes), sizeof(uint64_t));
    struct slot_layout layout = slot_layout_of(ALIGN_UP(used, slot_align));

    central_init(&cache->central, name, SPAN_CLASS_CACHE, &layout);
    cache->central.ctor = ctor;
    cache->central.canary_offset = (uint32_t)canary_offset;
    cache->central.object_bytes = ctor == NULL ? layout.slot_bytes : (uint32_t)bytes;
    for (unsigned cpu = 0; cpu < PORT_CPU_MAX; cpu++)
        atomic_init(&cache->magazines[cpu], (struct magazine *)&cache_no_magazine);
    cache_list_add(cache);
    return cache;
}

/* Give this CPU and its neighbours magazines, if it has none and there is memory. */
static void cache_add_magazines(struct kmem_cache *cache)
{
    unsigned first = ALIGN_DOWN(port_cpu_id(), CACHE_MAGAZINES_PER_PAGE);
    struct magazine *page;

    if (atomic_load_explicit(&cache->magazines[first], memory_order_acquire) != &cache_no_magazine)
        return;
    page = page_alloc(1, PAGE_ZERO);
    if (page == NULL)
        return;

    unsigned long irq = port_lock(&cache->central.lock);
    bool is_first =
        atomic_load_explicit(&cache->magazines[first], memory_order_relaxed) == &cache_no_magazine;

    if (is_first) {
        cache->magazine_pages++;
        for (unsigned i = 0; i < CACHE_MAGAZINES_PER_PAGE; i++)
            atomic_store_explicit(&cache->magazines[first + i], &page[i], memory_order_release);
    }
    port_unlock(&cache->central.lock, irq);
    if (!is_first)
        page_free(page, 1);
}

/* ---- Alloc and free ---- */

static ALWAYS_INLINE struct magazine *cache_magazine(struct kmem_cache *cache)
{
    return atomic_load_explicit(&cache->magazines[port_cpu_id()], memory_order_acquire);
}

static NOINLINE void *cache_alloc_slow(struct kmem_cache *cache)
{
    cache_add_magazines(cache);
    return slab_alloc_slow(&cache->central);
}

void *kmem_cache_alloc(struct kmem_cache *cache)
{
    unsigned long irq = port_irq_save();
    void *slot = magazine_pop(cache_magazine(cache), cache->central.canary_offset);

    port_irq_restore(irq);
    return LIKELY(slot != NULL) ? slot : cache_alloc_slow(cache);
}

static NOINLINE void cache_free_slow(struct kmem_cache *cache, void *object)
{
    if (object == NULL)
        return;

    const struct span *span = slab_live_span("kmem_cache_free", object, SLAB_DOUBLE_FREE);

    if (span->owner != &cache->central)
        slab_misuse("kmem_cache_free", object, SLAB_WRONG_CACHE);
    cache_add_magazines(cache);
    slab_free_slow(&cache->central, object);
}

/* Not by way of cache_free_slow: what it looks at might have changed meanwhile. */
static COLD void cache_free_double(void *object)
{
    slab_misuse("kmem_cache_free", object, SLAB_DOUBLE_FREE);
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
    uint64_t entry = span_entry(object);

    if (UNLIKELY(span_entry_class(entry) != SPAN_CLASS_CACHE))
        return cache_free_slow(cache, object);

    const struct span *span = span_entry_span(entry);

    if (UNLIKELY(span->owner != &cache->central ||
                 !span_product_is_slot(span, span_slot_product(span, object))))
        return cache_free_slow(cache, object);

    size_t canary_offset = cache->central.canary_offset;
    unsigned long irq = port_irq_save();
    bool is_free = slab_has_canary(object, canary_offset);
    bool is_done = !is_free && magazine_push(cache_magazine(cache), object, canary_offset);

    port_irq_restore(irq);
    if (UNLIKELY(!is_done))
        is_free ? cache_free_double(object) : cache_free_slow(cache, object);
}

/* ---- Destroy ---- */

static void cache_drain_this_cpu(void *cache)
{
    slab_drain_magazine(&((struct kmem_cache *)cache)->central);
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
    if (cache == NULL)
        return;
    port_call_all(cache_drain_this_cpu, cache);
    central_trim(&cache->central);

    size_t live =
        cache->central.span_count * cache->central.layout.slot_count - cache->central.free_slots;

    if (live != 0)
        slab_misuse_destroy(&cache->central, live);
    cache_list_remove(cache);
    for (unsigned cpu = 0; cpu < PORT_CPU_MAX; cpu += CACHE_MAGAZINES_PER_PAGE) {
        struct magazine *page = atomic_load_explicit(&cache->magazines[cpu], memory_order_relaxed);

        if (page != &cache_no_magazine)
            page_free(page, 1);
    }
    page_free(cache, 1);
}
