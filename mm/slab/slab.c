/*
 * The slab allocator's slow paths: between a CPU's magazines and the centrals.
 *
 *     kmalloc, kfree                       kmem_cache_alloc, kmem_cache_free
 *         |  fast: mm/slab/magazine.h          |
 *     magazine of this CPU and size class  magazine of this CPU and cache
 *         |  half a magazine at a time         |
 *     central of the class                 central of the cache      mm/slab/central.h
 *         |  a span at a time                  |
 *     spans                                                          mm/span/span.h
 *
 * A free goes to the magazine of the CPU that frees, whoever has allocated.  A CPU that only frees
 * flushes the older half of its magazine each time that it is full, and so keeps at most one
 * magazine per class: MAGAZINE_SLOTS slots or 8 KiB.
 *
 * Exhaustion.  When no span can be made, everything that is cached is given back, once, and the
 * request is tried again: in ordinary context on all CPUs, by the page heap before it fails
 * (slab_shrink); with interrupts off what this CPU may touch.  Only then NULL.  An injected fault (port_fault) at the head of the slow path is not
 * retried, so that callers meet NULL; one further down is, so that tests meet the retry.
 *
 * Locks: SLAB_CACHES for the list of caches; each central's.  What stands in a magazine belongs to
 * its CPU, with interrupts off.
 *
 * Not here: large objects and the kmalloc family (kmalloc.c), kmem_caches (cache.c), reports of
 * misuse (report.c), statistics and checks (slab_stats.c).
 *
 * Source: Bonwick, Adams, "Magazines and Vmem", USENIX 2001; Go's mcache and mcentral.
 */
#include "mm/page/shrink.h"
#include "mm/slab/slab_impl.h"

PORT_STAT(slab, alloc_failed);
PORT_STAT(slab, refills);
PORT_STAT(slab, flushes);
PORT_STAT(slab, reclaims);

PORT_PERCPU(struct slab_cpu, slab_cpu);
uint64_t slab_secret;
struct central slab_centrals[SIZE_CLASS_COUNT];
struct slab_cache_list slab_caches = {.lock = PORT_LOCK_INIT(SLAB_CACHES)};
const struct magazine cache_no_magazine;

#define SLAB_NAME(class, bytes, granules, slots, magic) [class] = "kmalloc-" #bytes,

static const char *const slab_names[SIZE_CLASS_COUNT] = {SIZE_CLASS_TABLE(SLAB_NAME)};

/* Spread the bits of a seed: the finaliser of MurmurHash3 (Appleby). */
static uint64_t slab_mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static void slab_shrink(size_t pages)
{
    (void)pages;
    slab_drain_all();
}

static struct page_shrinker slab_shrinker = {.name = "slab", .shrink = slab_shrink};

void slab_init(void)
{
    slab_secret = slab_mix(port_seed());
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
        central_init(&slab_centrals[class], slab_names[class], class, &size_class_layout[class]);
    page_shrinker_register(&slab_shrinker);
}

struct magazine *slab_magazine(struct central *central)
{
    if (central->span_class == SPAN_CLASS_CACHE)
        return atomic_load_explicit(&slab_cache_of(central)->magazines[port_cpu_id()],
                                    memory_order_acquire);
    return &port_this_cpu(slab_cpu)->magazines[central->span_class];
}

const struct magazine *slab_magazine_of_cpu(const struct central *central, unsigned cpu)
{
    if (central->span_class == SPAN_CLASS_CACHE)
        return atomic_load_explicit(&slab_cache_of(central)->magazines[cpu], memory_order_acquire);
    return &port_cpu(slab_cpu, cpu)->magazines[central->span_class];
}

/* ---- Slots out ---- */

/* The canary is consumed: the slot is its user's from here on. */
static void slab_hand_out(struct central *central, void *slot)
{
    if (!slab_has_canary(slot, central->canary_offset))
        slab_misuse("slab", slot, SLAB_CORRUPT);
    *slab_canary(slot, central->canary_offset) = 0;
}

static void slab_count_allocs(struct central *central, struct magazine *magazine, unsigned n)
{
    if (magazine != &cache_no_magazine)
        magazine->allocs += n;
    else
        atomic_fetch_add_explicit(&slab_cache_of(central)->allocs, n, memory_order_relaxed);
}

unsigned slab_alloc_batch(struct central *central, unsigned n, void **out)
{
    unsigned long irq = port_irq_save();
    struct magazine *magazine = slab_magazine(central);
    unsigned taken = MIN(n, magazine->count);

    for (unsigned i = 0; i < taken; i++)
        out[i] = magazine->slots[--magazine->count];
    if (taken < n)
        taken += central_take(central, n - taken, out + taken);
    for (unsigned i = 0; i < taken; i++)
        slab_hand_out(central, out[i]);
    slab_count_allocs(central, magazine, taken);
    port_irq_restore(irq);
    return taken;
}

/* Half a magazine from central where this CPU's is empty, then one slot of it; NULL: grow first. */
static void *slab_refill(struct central *central)
{
    unsigned long irq = port_irq_save();
    struct magazine *magazine = slab_magazine(central);
    void *slot = NULL;

    if (magazine != &cache_no_magazine && magazine->count == 0) {
        magazine->limit = central->magazine_limit;
        magazine->count = central_take(central, magazine->limit / 2, magazine->slots);
        port_stat_inc(slab, refills);
    }
    slab_alloc_batch(central, 1, &slot);
    port_irq_restore(irq);
    return slot;
}

void *slab_alloc_slow(struct central *central)
{
    bool has_reclaimed = false;

    if (port_fault())
        goto fail;
    for (;;) {
        void *slot = slab_refill(central);

        if (slot != NULL)
            return slot;
        if (central_grow(central))
            continue;
        if (has_reclaimed)
            goto fail;
        slab_reclaim();
        has_reclaimed = true;
    }
fail:
    port_stat_inc(slab, alloc_failed);
    return NULL;
}

/* ---- Slots in ---- */

/* Take the n oldest slots out of a magazine.  Interrupts off. */
static void slab_take_oldest(struct magazine *magazine, unsigned n, void **out)
{
    for (unsigned i = 0; i < n; i++)
        out[i] = magazine->slots[i];
    magazine->count -= n;
    for (unsigned i = 0; i < magazine->count; i++)
        magazine->slots[i] = magazine->slots[i + n];
}

void slab_free_slow(struct central *central, void *slot)
{
    void *flushed[MAGAZINE_SLOTS];
    unsigned n = 0;
    unsigned long irq = port_irq_save();
    struct magazine *magazine = slab_magazine(central);

    if (slab_has_canary(slot, central->canary_offset))
        slab_misuse("kfree", slot, SLAB_DOUBLE_FREE);
    if (magazine == &cache_no_magazine) {
        *slab_canary(slot, central->canary_offset) = slab_canary_value(slot);
        flushed[n++] = slot;
    } else {
        magazine->limit = central->magazine_limit;
        if (magazine->count == magazine->limit) {
            n = (magazine->limit + 1) / 2;
            slab_take_oldest(magazine, n, flushed);
            port_stat_inc(slab, flushes);
        }
        CHECK(magazine_push(magazine, slot, central->canary_offset));
    }
    port_irq_restore(irq);
    if (n > 0)
        central_give(central, n, flushed);
}

void slab_drain_magazine(struct central *central)
{
    void *slots[MAGAZINE_SLOTS];
    unsigned long irq = port_irq_save();
    struct magazine *magazine = slab_magazine(central);
    unsigned n = magazine->count;

    if (n > 0)
        slab_take_oldest(magazine, n, slots);
    port_irq_restore(irq);
    if (n > 0)
        central_give(central, n, slots);
}

/* ---- Drain ---- */

void slab_each_central(void (*fn)(struct central *))
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
        fn(&slab_centrals[class]);

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_caches.first; cache != NULL; cache = cache->next)
        fn(&cache->central);
    port_unlock(&slab_caches.lock, irq);
}

void slab_drain_this_cpu(void *unused)
{
    (void)unused;

    unsigned long irq = port_irq_save();

    slab_each_central(slab_drain_magazine);
    port_irq_restore(irq);
}

void slab_drain_all(void)
{
    port_call_all(slab_drain_this_cpu, NULL);
    slab_each_central(central_trim);
    span_drain();
}

void slab_reclaim(void)
{
    port_stat_inc(slab, reclaims);
    if (port_can_wait())
        return; /* slab_shrink has been at it */
    slab_drain_this_cpu(NULL);
    slab_each_central(central_trim);
    span_drain();
    page_drain_this_cpu(NULL);
}
