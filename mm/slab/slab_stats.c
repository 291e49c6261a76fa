/* What the slab allocator holds, and checks of it.  Figures are exact when nothing else runs. */
#include "mm/slab/slab_impl.h"

/* Reading other CPUs' magazines races with them, harmlessly: what is read is a word each. */
#define RACY_READER __attribute__((no_sanitize("thread")))

static RACY_READER unsigned stats_magazine_slots(unsigned index)
{
    unsigned slots = 0;

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        const struct slab_cpu *here = port_cpu(slab_cpu, cpu);

        slots += magazine_loaded(here->tops[index]) + magazine_count(here->spares[index]);
    }
    return slots;
}

static struct slab_class_stats stats_of_central(struct central *central)
{
    const struct slot_layout *layout = &central->owner.layout;
    struct central_sums sums = central_sums(central);
    struct slab_class_stats stats = {
        .name = central->name,
        .slot_bytes = layout->slot_bytes,
        .spans = sums.spans,
        .slots = sums.spans * layout->slot_count,
        .magazine = stats_magazine_slots(central->owner.index),
        .depot = sums.full_slots,
        .span_bytes = sums.spans * layout->granules * GRANULE_BYTES,
        .taken = atomic_load_explicit(&central->taken, memory_order_relaxed),
        .given = atomic_load_explicit(&central->given, memory_order_relaxed),
    };
    stats.magazine += atomic_load_explicit(&central->quarantined, memory_order_relaxed);

    size_t out = stats.slots - sums.free_slots;

    stats.live = out - MIN(out, stats.magazine + stats.depot);
    return stats;
}

size_t slab_class_count(void)
{
    size_t caches = 0;
    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_own_from(slab_caches.first); cache != NULL;
         cache = slab_own_from(cache->next))
        caches++;
    port_unlock(&slab_caches.lock, irq);
    return SIZE_CLASS_COUNT - 1 + caches;
}

bool slab_class_stats(size_t row, struct slab_class_stats *out)
{
    bool is_found = false;

    if (row < SIZE_CLASS_COUNT - 1) {
        *out = stats_of_central(&slab_centrals[row + 1]);
        return true;
    }
    row -= SIZE_CLASS_COUNT - 1;

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_own_from(slab_caches.first); cache != NULL;
         cache = slab_own_from(cache->next)) {
        if (row-- > 0)
            continue;
        *out = stats_of_central(cache->central);
        is_found = true;
        break;
    }
    port_unlock(&slab_caches.lock, irq);
    return is_found;
}

struct slab_stats slab_stats(void)
{
    struct slab_large_stats large = slab_large_stats();
    struct slab_stats stats = {
        .object_bytes = large.live_bytes,
        .magazine_bytes = large.kept_bytes,
        .large_objects = large.live,
        .large_bytes = large.live_bytes,
        .large_allocs = large.allocs,
        .cache_bytes = magazine_pool_bytes(),
        .static_bytes = port_cpu_count() * sizeof(struct slab_cpu) + sizeof(slab_centrals),
    };
    struct slab_class_stats class;

    for (size_t row = 0; slab_class_stats(row, &class); row++) {
        size_t object_bytes = class.live * class.slot_bytes;
        size_t magazine_bytes = class.magazine * class.slot_bytes;
        size_t depot_bytes = class.depot * class.slot_bytes;

        stats.object_bytes += object_bytes;
        stats.magazine_bytes += magazine_bytes;
        stats.depot_bytes += depot_bytes;
        stats.central_bytes +=
            class.span_bytes - MIN(class.span_bytes, object_bytes + magazine_bytes + depot_bytes);
    }

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_caches.first; cache != NULL; cache = cache->next)
        stats.cache_bytes += PAGE_BYTES;
    port_unlock(&slab_caches.lock, irq);
    return stats;
}

/* ---- Checks ---- */

/*
 * What stands in magazines is slots of this central, with tokens, not free in their spans; and a CPU
 * has no larger magazines than it counts.
 */
static void check_central(struct central *central)
{
    unsigned index = central->owner.index;

    central_check(central);
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        const struct slab_cpu *here = port_cpu(slab_cpu, cpu);
        unsigned loaded = magazine_loaded(here->tops[index]);
        magazine_t spare = here->spares[index];

        CHECK(here->tops[index] == 0 || here->room[index] <= here->capacity[index]);
        CHECK(magazine_count(spare) <= here->capacity[index]);
        central_check_slots(central, loaded, seq_top_word(here->tops[index]) + 1 - loaded);
        central_check_slots(central, magazine_count(spare), magazine_slots(spare));
    }
}

void slab_check(void)
{
    slab_each_central(check_central);
}
