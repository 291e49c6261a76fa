/*
 * What idle CPUs give back of the slab allocator's caches: their own magazines when these rest, and
 * a little at a time of what stands in depots and has not been needed for a while.
 */
#include "mm/slab/slab_impl.h"

#define SLAB_IDLES_PER_SECOND 10u /* an idle CPU whose magazines rest for 1/10 s drains them */
#define SLAB_AGES_PER_SECOND  64u /* a class a time: each comes by about once a second */
#define SLAB_AGE_TRIM         8u  /* magazines that go back at a time */

PORT_STAT(slab, idle_drains);

/* What this CPU's magazines looked like at its last idle turn, and the port_ticks() since when. */
struct slab_rest {
    uint64_t sum;   /* [P] */
    uint64_t since; /* [P] */
};

static PORT_PERCPU(struct slab_rest, slab_rest);
static _Atomic uint64_t slab_aged; /* [A] relaxed: port_ticks() of the last time */
static _Atomic unsigned
    slab_age_hand; /* [A] relaxed: the class whose depots come next; 0: caches' */

static uint64_t slab_sum_of_tops(const struct slab_cpu *cpu)
{
    uint64_t sum = cpu->visits;

    for (unsigned index = 0; index < SLAB_INDEX_MAX; index++)
        sum = sum * 31 + cpu->tops[index];
    return sum;
}

static void slab_drain_if_resting(void)
{
    unsigned long irq = port_irq_save();
    const struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    bool has_any = cpu->capacity_bytes != 0 || slab_large_is_kept();
    struct slab_rest *rest = port_this_cpu(slab_rest);
    struct slab_rest now = {has_any ? slab_sum_of_tops(cpu) : 0, port_ticks()};

    if (!has_any || now.sum != rest->sum) {
        *rest = now;
    } else if (now.since - rest->since > port_ticks_per_second() / SLAB_IDLES_PER_SECOND) {
        port_stat_inc(slab, idle_drains);
        slab_drain_this_cpu(NULL);
        has_any = false;
    }
    port_irq_restore(irq);
    if (has_any)
        port_idle_again(port_ticks_per_second() / SLAB_IDLES_PER_SECOND);
}

/* What the depots of one class do not need, or a little of what those of each cache do not. */
static void slab_age_next(void)
{
    unsigned class =
        atomic_fetch_add_explicit(&slab_age_hand, 1, memory_order_relaxed) % SIZE_CLASS_COUNT;

    if (class != 0) {
        central_age(&slab_centrals[class], SLAB_AGE_TRIM);
        return;
    }
    atomic_store_explicit(&slab_most, 0, memory_order_relaxed);

    unsigned long irq = port_lock(&slab_caches.lock);

    for (struct kmem_cache *cache = slab_own_from(slab_caches.first); cache != NULL;
         cache = slab_own_from(cache->next))
        central_age(cache->central, 1);
    port_unlock(&slab_caches.lock, irq);
}

static bool slab_idle(void)
{
    uint64_t now = port_ticks();
    uint64_t aged = atomic_load_explicit(&slab_aged, memory_order_relaxed);

    slab_drain_if_resting();
    if (now - aged > port_ticks_per_second() / SLAB_AGES_PER_SECOND &&
        atomic_compare_exchange_strong_explicit(&slab_aged, &aged, now, memory_order_relaxed,
                                                memory_order_relaxed))
        slab_age_next();
    if (atomic_load_explicit(&central_depot_bytes, memory_order_relaxed) != 0)
        port_idle_again(port_ticks_per_second() / SLAB_AGES_PER_SECOND);
    return false;
}
PORT_IDLE_WORK(slab_idle);
