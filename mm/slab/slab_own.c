/* What is the slab allocator's own (mm/slab/slab_own.h). */
#include "mm/slab/slab_impl.h"
#include "mm/slab/slab_own.h"

typedef void own_fn(uintptr_t start, uintptr_t end, void *arg);

static void own_give(own_fn *fn, void *arg, const void *start, size_t bytes)
{
    fn((uintptr_t)start, (uintptr_t)start + bytes, arg);
}

/* The page of the pool that a block stands in: pages without a free one are on no list there. */
static void own_block(const struct seq_magazine *block, own_fn *fn, void *arg)
{
    if (block != NULL)
        own_give(fn, arg, (const void *)ALIGN_DOWN((uintptr_t)block, PAGE_BYTES), PAGE_BYTES);
}

/* A CPU's magazines, by their blocks; what unused words of their pages hold are old addresses. */
static void own_magazines(const struct slab_cpu *cpu, own_fn *fn, void *arg)
{
    own_give(fn, arg, cpu, sizeof(*cpu));
    for (unsigned index = 0; index < SLAB_INDEX_MAX; index++) {
        if (cpu->tops[index] != 0)
            own_block(magazine_of_top(cpu->tops[index]), fn, arg);
        own_block(magazine_block(cpu->spares[index]), fn, arg);
    }
    for (const struct seq_magazine *empty = cpu->empty; empty != NULL; empty = empty->words[0])
        own_block(empty, fn, arg);
}

static void own_depots(const struct central *central, own_fn *fn, void *arg)
{
    for (unsigned shard = 0; shard < CENTRAL_SHARDS; shard++) {
        magazine_t full = central->shards[shard].full;

        for (; full != 0; full = depot_next(full))
            own_block(magazine_block(full), fn, arg);
    }
}

void slab_each_own(own_fn *fn, void *arg)
{
    own_give(fn, arg, slab_centrals, sizeof(slab_centrals));
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        own_magazines(port_cpu(slab_cpu, cpu), fn, arg);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
        own_depots(&slab_centrals[class], fn, arg);
    magazine_pool_each_page(fn, arg);

    unsigned long irq = port_lock(&slab_caches.lock);

    for (const struct kmem_cache *cache = slab_caches.first; cache != NULL; cache = cache->next) {
        own_give(fn, arg, cache, PAGE_BYTES);
        own_depots(&cache->own, fn, arg);
    }
    port_unlock(&slab_caches.lock, irq);
}
