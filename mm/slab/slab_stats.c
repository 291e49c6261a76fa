/* What the slab allocator holds, and checks of it.  Figures are exact when nothing else runs. */
#include "mm/slab/slab_impl.h"

/* Reading other CPUs' magazines races with them, harmlessly: each field is read once. */
#define RACY_READER __attribute__((no_sanitize("thread")))

static RACY_READER void stats_add_magazine(struct slab_class_stats *stats,
                                           const struct magazine *magazine)
{
    stats->magazine += magazine->count;
    stats->allocs += magazine->allocs;
}

static struct slab_class_stats stats_of_central(struct central *central)
{
    struct slab_class_stats stats = {
        .name = central->name,
        .slot_bytes = central->layout.slot_bytes,
    };
    unsigned long irq = port_lock(&central->lock);
    size_t free_slots = central->free_slots;

    stats.spans = central->span_count;
    port_unlock(&central->lock, irq);

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        stats_add_magazine(&stats, slab_magazine_of_cpu(central, cpu));
    if (central->span_class == SPAN_CLASS_CACHE)
        stats.allocs += atomic_load_explicit(&slab_cache_of(central)->allocs, memory_order_relaxed);
    stats.slots = stats.spans * central->layout.slot_count;
    stats.span_bytes = stats.spans * central->layout.granules * GRANULE_BYTES;

    size_t taken = stats.slots - free_slots;

    stats.live = taken - MIN(taken, stats.magazine);
    stats.frees = stats.allocs - MIN(stats.allocs, (uint64_t)stats.live);
    return stats;
}

size_t slab_class_count(void)
{
    unsigned long irq = port_lock(&slab_caches.lock);
    size_t caches = slab_caches.count;

    port_unlock(&slab_caches.lock, irq);
    return SIZE_CLASS_COUNT - 1 + caches;
}

bool slab_class_stats(size_t row, struct slab_class_stats *out)
{
    if (row < SIZE_CLASS_COUNT - 1) {
        *out = stats_of_central(&slab_centrals[row + 1]);
        return true;
    }

    unsigned long irq = port_lock(&slab_caches.lock);
    struct kmem_cache *cache = slab_caches.first;

    for (row -= SIZE_CLASS_COUNT - 1; row > 0 && cache != NULL; row--)
        cache = cache->next;
    if (cache != NULL)
        *out = stats_of_central(&cache->central);
    port_unlock(&slab_caches.lock, irq);
    return cache != NULL;
}

struct slab_stats slab_stats(void)
{
    struct slab_large_stats large = slab_large_stats();
    struct slab_stats stats = {
        .object_bytes = large.live_bytes,
        .large_objects = large.live,
        .large_bytes = large.live_bytes,
        .large_allocs = large.allocs,
        .static_bytes = port_cpu_count() * sizeof(struct slab_cpu) + sizeof(slab_centrals),
    };
    struct slab_class_stats class;

    for (size_t row = 0; slab_class_stats(row, &class); row++) {
        size_t object_bytes = class.live * class.slot_bytes;
        size_t magazine_bytes = class.magazine * class.slot_bytes;

        stats.object_bytes += object_bytes;
        stats.magazine_bytes += magazine_bytes;
        stats.central_bytes +=
            class.span_bytes - MIN(class.span_bytes, object_bytes + magazine_bytes);
    }

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_caches.first; cache != NULL; cache = cache->next)
        stats.cache_bytes += (1 + cache->magazine_pages) * PAGE_BYTES;
    port_unlock(&slab_caches.lock, irq);
    return stats;
}

/* ---- Checks ---- */

/* What stands in magazines: slots of this central, not free in their span, with a canary. */
static void check_magazines(const struct central *central)
{
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        const struct magazine *magazine = slab_magazine_of_cpu(central, cpu);

        CHECK(magazine->count <= magazine->limit && magazine->limit <= MAGAZINE_SLOTS);
        for (unsigned i = 0; i < magazine->count; i++) {
            const struct span *span = span_of(magazine->slots[i]);

            CHECK(span != NULL && span->owner == central);

            uint64_t product = span_slot_product(span, magazine->slots[i]);

            CHECK(span_product_is_slot(span, product));
            CHECK(!span_slot_is_free(span, (unsigned)(product >> 32)));
            CHECK(slab_has_canary(magazine->slots[i], central->canary_offset));
        }
    }
}

static void check_central(struct central *central)
{
    central_check(central);
    check_magazines(central);
}

void slab_check(void)
{
    slab_each_central(check_central);
}
