/*
 * Which allocations guard sampling takes (mm/slab/guard.h has what it does with them).
 *
 * Allocations are counted where a CPU's magazine gets slots, so the fast paths count nothing.  What
 * never misses its magazine, a buffer that is taken and given back again and again, would never be
 * sampled that way.  So every other sample that is due goes to another class: that one's magazines
 * are put away (a gate), frees get none meanwhile, and its next allocation, which so misses, is the
 * one that is guarded.
 *
 * Left out are caches that are debugged anyway, and those with a limit on addresses: a guarded
 * object is not in the direct map.  Where the rate is so high that most magazines would be filled
 * for nothing, no CPU has any.
 *
 * Context: interrupts off, but for slab_guarded: irq.
 */
#include "mm/slab/guard.h"
#include "mm/slab/slab_impl.h"

#define SAMPLE_RATE_DENSE (2 * MAGAZINE_SLOTS) /* no magazines up to this rate */

PORT_STAT(slab, guard_gates);

bool slab_sample_is_dense(void)
{
    uint64_t rate = port_setting_guard_rate();

    return rate != 0 && rate <= SAMPLE_RATE_DENSE;
}

/* A class or cache of which this CPU has slots in its magazine; 0: none was met. */
static unsigned sample_pick_index(void)
{
    const struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    unsigned index = slab_throw(SLAB_INDEX_MAX);

    for (unsigned i = 0; i < SLAB_INDEX_MAX; i++, index = (index + 1) % SLAB_INDEX_MAX) {
        if (cpu->tops[index] != 0)
            return index;
    }
    return 0;
}

bool slab_sample(const struct central *central, unsigned allocations)
{
    struct slab_cpu *cpu = port_this_cpu(slab_cpu);
    unsigned index = central->owner.index;

    if (UNLIKELY(cpu->gate != 0 && cpu->gate == index)) {
        cpu->gate = 0;
        return true;
    }
    if (LIKELY(!guard_sample(allocations)))
        return false;
    if (slab_sample_is_dense() || cpu->samples++ % 2 == 0)
        return true;
    cpu->gate = sample_pick_index();
    if (cpu->gate != 0) {
        magazine_drain(atomic_load_explicit(&slab_by_index[cpu->gate], memory_order_acquire));
        port_stat_inc(slab, guard_gates);
    }
    return false;
}

/* As kmalloc promises it, or the cache does. */
static size_t sample_align(const struct central *central, size_t bytes)
{
    if (central->owner.span_class == SPAN_CLASS_CACHE || bytes == central->object_bytes)
        return MIN(central->align, PAGE_BYTES);
    return bytes < 16 ? 8 : 16;
}

void *slab_guarded(struct central *central, size_t bytes)
{
    if (central->limit != 0 || central->debug_flags != 0 || bytes > PAGE_BYTES)
        return NULL;

    void *object = guard_alloc(central->name, central, bytes, sample_align(central, bytes));

    if (object != NULL && central->ctor != NULL)
        central->ctor(object);
    return object;
}
