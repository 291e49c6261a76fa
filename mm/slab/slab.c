/*
 * The slab allocator's slow paths: between a CPU's magazines, the centrals and the page heap.
 *
 *     kmalloc, kfree                       kmem_cache_alloc, kmem_cache_free
 *         |  fast: kmalloc.c                   |  fast: cache.c
 *     magazines of this CPU and size class  ... and cache            mm/slab/magazine.h
 *         |  a magazine at a time              |
 *     central of the class                 central of the cache      mm/slab/central.h
 *         |  a span at a time                  |
 *     spans                                                          mm/span/span.h
 *
 * A free goes to the magazine of the CPU that frees, whoever has allocated.  A CPU that only frees
 * hands its magazines to the depot, where a CPU that only allocates finds them: between the two
 * there are never more slots than their magazines hold, for however long it goes on.
 *
 * What is cached strands nothing:
 *   - before the heap grows beyond what it has been of late, depots are brought down to a share of
 *     it (slab_grow);
 *   - idle CPUs give back what they have not used for a while (slab_idle.c);
 *   - under pressure everything that is cached is given back before a request fails.
 *
 * Exhaustion.  When no span can be made, everything that is cached is given back, once, and the
 * request is tried again: in ordinary context on all CPUs (slab_shrink), by the page heap before it
 * fails, or else here; with interrupts off what this CPU may touch.  Only then NULL.  An injected fault
 * (port_fault) at the head of the slow path is not retried, so that callers meet NULL; one further
 * down is, so that tests meet the retry.  While a fault is armed on a CPU it caches nothing, so that
 * every request is an acquisition.
 *
 * Locks: SLAB_CACHES for the list of caches; each shard's.  What stands in a magazine belongs to
 * its CPU, with interrupts off.
 *
 * Not here: the kmalloc family (kmalloc.c), large objects (large.c), kmem_caches (cache.c), this
 * CPU's magazines (magazine.c), reports of misuse (report.c), statistics and checks (slab_stats.c).
 *
 * Source: Bonwick, Adams, "Magazines and Vmem", USENIX 2001; Go's mcache and mcentral.
 */
#include "kernel/base/random.h"
#include "mm/page/shrink.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab_impl.h"

#define SLAB_DEPOT_SHARE 32u             /* of memory, one part of so many: in depots at most */
#define SLAB_GROW_SHARE  16u             /* of the heap, likewise, when it grows */
#define SLAB_GROW_TRIM   64u             /* magazines that go back for one span that is made */
#define SLAB_CPU_BYTES   (1024ul * 1024) /* in a CPU's magazines at most */
#define SLAB_CPU_SHARE   256u            /* of memory, one part of so many, at most */
#define SLAB_OPEN_BYTES  (64ul << 20)    /* memory that there is until it is known */

PORT_STAT(slab, alloc_failed);
PORT_STAT(slab, reclaims);

struct slab_limits slab_limits;
_Atomic size_t slab_most;
struct central slab_centrals[SIZE_CLASS_COUNT];
struct slab_cache_list slab_caches = {.lock = PORT_LOCK_INIT(SLAB_CACHES)};

#define SLAB_NAME(class, bytes, granules, slots) [class] = "kmalloc-" #bytes,

static const char *const slab_names[SIZE_CLASS_COUNT] = {SIZE_CLASS_TABLE(SLAB_NAME)};

static void slab_shrink(size_t pages)
{
    (void)pages;
    slab_drain_all();
}

static struct page_shrinker slab_shrinker = {.name = "slab", .shrink = slab_shrink};

static void slab_set_limits(size_t ram_bytes)
{
    atomic_store_explicit(&slab_limits.depot_bytes, ram_bytes / SLAB_DEPOT_SHARE,
                          memory_order_relaxed);
    atomic_store_explicit(&slab_limits.cpu_bytes, MIN(SLAB_CPU_BYTES, ram_bytes / SLAB_CPU_SHARE),
                          memory_order_relaxed);
}

void slab_init(void)
{
    slab_set_limits(SLAB_OPEN_BYTES);
    slab_debug_init();
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        central_init(&slab_centrals[class], slab_names[class], class, class,
                     &size_class_layout[class]);
        slab_centrals[class].align = (uint32_t)size_class_align(class);
        slab_debug_setup(&slab_centrals[class], size_class_align(class));
        atomic_store_explicit(&slab_by_index[class], &slab_centrals[class], memory_order_release);
    }
    page_shrinker_register(&slab_shrinker);
}

void slab_open(void)
{
    slab_set_limits(page_stats().ram_pages * PAGE_BYTES);
}

/* ---- Order of slots ---- */

struct slab_dice {
    uint64_t state; /* [P] 0: not thrown yet */
};

static PORT_PERCPU(struct slab_dice, slab_dice);

unsigned slab_throw(unsigned n)
{
    struct slab_dice *dice = port_this_cpu(slab_dice);

    if (dice->state == 0)
        dice->state = random_start(port_setting_seed(), port_cpu_id());
    return (unsigned)((random_next(&dice->state) >> 32) * n >> 32);
}

unsigned slab_random(unsigned n)
{
    return port_setting_slab_random() ? slab_throw(n) : 0;
}

void slab_shuffle(unsigned n, void **slots)
{
    if (!port_setting_slab_random())
        return;
    for (unsigned i = n; i > 1; i--) {
        unsigned j = slab_random(i);
        void *slot = slots[i - 1];

        slots[i - 1] = slots[j];
        slots[j] = slot;
    }
}

/* ---- Slots out ---- */

/* The heap is as large as it has been of late: it shall not grow for what stands in depots. */
static void slab_trim_before_growth(size_t bytes)
{
    if (atomic_load_explicit(&central_depot_bytes, memory_order_relaxed) > bytes / SLAB_GROW_SHARE)
        slab_trim_depots(SLAB_GROW_TRIM);
    atomic_store_explicit(&slab_most, bytes, memory_order_relaxed);
}

/* Make a span. */
static bool slab_grow(struct central *central)
{
    size_t bytes = span_bytes_now();

    if (bytes >= atomic_load_explicit(&slab_most, memory_order_relaxed))
        slab_trim_before_growth(bytes);
    return central_grow(central, central_shard_here(central));
}

/* Of the loaded magazine: what misses though there is a slot has been written to since. */
static void slab_check_top(uintptr_t top)
{
    void *slot = *seq_top_word(top);

    if (slot != &seq_nothing && !slab_has_token(slot))
        slab_misuse("slab", slot, SLAB_CORRUPT);
}

/* One slot from spans, without a magazine. */
static void *slab_take_direct(struct central *central)
{
    unsigned own = central_shard_here(central);
    void *slot = NULL;

    for (unsigned i = 0; i < CENTRAL_SHARDS && slot == NULL; i++) {
        unsigned shard = (own + i) % CENTRAL_SHARDS;

        if (central_has_slots(central, shard))
            (void)central_take(central, shard, 1, &slot);
    }
    if (slot == NULL)
        return NULL;
    if (!slab_has_token(slot))
        slab_misuse("slab", slot, SLAB_CORRUPT);
    slab_clear_token(slot);
    return slot;
}

/*
 * A slot from this CPU's magazine, or from spans where there can be none; NULL: grow first.
 *   is_sampled  the object is to be one of the guard pool instead, and NULL is returned
 */
static void *slab_take(struct central *central, bool may_sample, bool *is_sampled)
{
    unsigned long irq = port_irq_save();
    uintptr_t *top = &port_this_cpu(slab_cpu)->tops[central->owner.index];
    void *slot = NULL;
    unsigned got = 1;

    *is_sampled = false;
    if (magazine_may_cache(central)) {
        slab_check_top(*top);
        slot = seq_magazine_pop(top);
        if (slot == NULL && magazine_refill(central)) {
            got = port_this_cpu(slab_cpu)->room[central->owner.index];
            slab_check_top(*top);
            if (!(*is_sampled = may_sample && slab_sample(central, got)))
                slot = seq_magazine_pop(top);
        }
    } else {
        *is_sampled = may_sample && slab_sample(central, got);
    }
    if (slot == NULL && !*is_sampled)
        slot = slab_take_direct(central);
    port_irq_restore(irq);
    return slot;
}

/* The slot is its user's: his object. */
static void *slab_hand_out(struct central *central, void *slot, size_t bytes, uintptr_t caller)
{
    void *object = (char *)slot + central->object_shift;

    if (UNLIKELY(central->debug_flags != 0))
        slab_debug_alloc(central, object, bytes, caller);
    return object;
}

void *slab_alloc_slow(struct central *central, size_t bytes, uintptr_t caller)
{
    bool has_reclaimed = false, may_sample = true, is_sampled;

    if (port_fault())
        goto fail;
    for (;;) {
        void *slot = slab_take(central, may_sample, &is_sampled);

        if (slot != NULL)
            return slab_hand_out(central, slot, bytes, caller);
        if (UNLIKELY(is_sampled)) {
            void *object = slab_guarded(central, bytes);

            if (object != NULL)
                return object;
            may_sample = false;
            continue;
        }
        if (slab_grow(central))
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

void slab_free_slow(const char *name, struct central *central, void *slot, uintptr_t caller)
{
    if (UNLIKELY(central->debug_flags != 0))
        return slab_debug_free(name, central, (char *)slot + central->object_shift, caller);

    magazine_t surplus = 0;
    bool is_done = false;
    unsigned long irq = port_irq_save();
    uintptr_t *top = &port_this_cpu(slab_cpu)->tops[central->owner.index];

    if (magazine_may_cache(central)) {
        is_done = seq_magazine_push(top, slot, seq_token(slot));
        if (!is_done && magazine_make_room(central, &surplus))
            is_done = seq_magazine_push(top, slot, seq_token(slot));
    }
    port_irq_restore(irq);
    if (surplus != 0)
        magazine_flush(central, surplus);
    if (is_done)
        return;
    slab_set_token(slot);
    central_give(central, 1, &slot);
}

/* ---- Drain ---- */

void slab_each_central(void (*fn)(struct central *))
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
        fn(&slab_centrals[class]);

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_own_from(slab_caches.first); cache != NULL;
         cache = slab_own_from(cache->next))
        fn(cache->central);
    port_unlock(&slab_caches.lock, irq);
}

static void slab_drain_depot(struct central *central)
{
    central_trim_depot(central, SIZE_MAX);
    central_trim(central);
}

void slab_drain_this_cpu(void *unused)
{
    (void)unused;

    unsigned long irq = port_irq_save();

    slab_each_central(magazine_drain);
    magazine_drain_empties();
    slab_large_drain();
    port_irq_restore(irq);
}

static void slab_drain_shared(void)
{
    atomic_store_explicit(&slab_most, 0, memory_order_relaxed);
    slab_each_central(slab_drain_depot);
    magazine_pool_drain();
    span_drain();
}

void slab_drain_all(void)
{
    slab_quarantine_drain(NULL);
    port_call_all(slab_drain_this_cpu, NULL);
    slab_drain_shared();
}

void slab_reclaim(void)
{
    port_stat_inc(slab, reclaims);
    if (port_can_wait()) {
        (void)page_shrink(1); /* what lacked was maybe asked for with a lock held: a descriptor */
        return;
    }
    slab_quarantine_drain(NULL);
    slab_drain_this_cpu(NULL);
    slab_drain_shared();
    page_drain_this_cpu(NULL);
}

/* An armed fault: this CPU caches nothing from now on, so that each request is an acquisition. */
static void slab_drain_armed(void)
{
    slab_drain_this_cpu(NULL);
    slab_drain_shared();
}
PORT_FAULT_HOOK(slab_drain_armed);

static void slab_trim_cache_depots(size_t magazines)
{
    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_own_from(slab_caches.first); cache != NULL;
         cache = slab_own_from(cache->next))
        magazines -= central_trim_depot(cache->central, magazines);
    port_unlock(&slab_caches.lock, irq);
}

static _Atomic unsigned slab_trim_hand; /* [A] relaxed: the class whose depot is trimmed next */

void slab_trim_depots(size_t magazines)
{
    for (unsigned i = 0; i < SIZE_CLASS_COUNT && magazines > 0; i++) {
        unsigned index =
            atomic_fetch_add_explicit(&slab_trim_hand, 1, memory_order_relaxed) % SIZE_CLASS_COUNT;

        if (index > 0)
            magazines -= central_trim_depot(&slab_centrals[index], magazines);
    }
    if (magazines > 0)
        slab_trim_cache_depots(magazines);
}
