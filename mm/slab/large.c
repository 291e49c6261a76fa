/*
 * Large objects: above KMALLOC_SMALL_MAX, each a span of its own.
 *
 * A CPU keeps the last span of each length up to LARGE_KEPT_GRANULES that it has freed, within a
 * budget: a buffer that is freed and asked for again costs no walk through the page heap.  A span
 * that is kept says so in its descriptor, and that by an atomic exchange, so of two CPUs that free
 * an object at once one finds that it is free already, or that the descriptor is another's by now.
 * (Where the same address has become a new object meanwhile, nobody can tell: it is freed.)
 *
 * Context: irq.  Locks: none; what is kept belongs to its CPU, with interrupts off.
 */
#include "mm/page/nodes.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab_impl.h"
#include "mm/span/large.h"

#define LARGE_KEPT_GRANULES 32u           /* 256 KiB: the longest span that is kept */
#define LARGE_KEPT_BYTES    (512ul << 10) /* by a CPU, together */

struct large_cpu {
    struct span *kept[LARGE_KEPT_GRANULES + 1]; /* [P] by granules */
    size_t kept_bytes;                          /* [P] */
};

static PORT_PERCPU(struct large_cpu, large_cpu);

static struct {
    _Atomic size_t live;       /* [A] relaxed: objects */
    _Atomic size_t live_bytes; /* [A] relaxed: bytes of their spans */
    _Atomic uint64_t allocs;   /* [A] relaxed: since start */
} large_count;

PORT_STAT(slab, large_failed);
PORT_STAT(slab, large_grown);

/* Of the longest spans that are kept, a part of what a CPU may cache. */
static size_t large_budget(void)
{
    return MIN(LARGE_KEPT_BYTES,
               atomic_load_explicit(&slab_limits.cpu_bytes, memory_order_relaxed) / 2);
}

/* A span of that length that this CPU keeps; NULL: none. */
static struct span *large_take_kept(size_t granules)
{
    unsigned long irq = port_irq_save();
    struct large_cpu *cpu = port_this_cpu(large_cpu);
    struct span *span = cpu->kept[granules];

    if (span != NULL) {
        cpu->kept[granules] = NULL;
        cpu->kept_bytes -= granules * GRANULE_BYTES;
    }
    port_irq_restore(irq);
    return span;
}

static bool large_keep(struct span *span, size_t granules)
{
    unsigned long irq = port_irq_save();
    struct large_cpu *cpu = port_this_cpu(large_cpu);
    size_t bytes = granules * GRANULE_BYTES;
    bool is_kept = granules <= LARGE_KEPT_GRANULES && cpu->kept[granules] == NULL &&
                   cpu->kept_bytes + bytes <= large_budget() && !port_fault_is_armed();

    if (is_kept) {
        cpu->kept[granules] = span;
        cpu->kept_bytes += bytes;
    }
    port_irq_restore(irq);
    return is_kept;
}

static struct span *large_create(size_t bytes, size_t align_pages, unsigned page_flags)
{
    struct span *span = span_create_large(bytes, align_pages, page_flags);

    if (span != NULL || bytes / PAGE_BYTES > page_nodes_memory())
        return span;
    slab_reclaim();
    return span_create_large(bytes, align_pages, page_flags);
}

void *slab_large_alloc(size_t bytes, size_t align_pages, unsigned page_flags, uintptr_t caller)
{
    size_t granules = (bytes + GRANULE_BYTES - 1) / GRANULE_BYTES;
    struct span *span = NULL;

    if (bytes == 0 || bytes > MM_PHYS_BYTES)
        return NULL;
    if (granules <= LARGE_KEPT_GRANULES && align_pages <= GRANULE_PAGES && page_flags == 0)
        span = large_take_kept(granules);
    if (span == NULL && !port_fault())
        span = large_create(bytes, align_pages, page_flags);
    if (span == NULL) {
        port_stat_inc(slab, large_failed);
        return NULL;
    }
    slab_debug_large_alloc(span, caller);
    atomic_fetch_add_explicit(&large_count.live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&large_count.live_bytes, granules * GRANULE_BYTES,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&large_count.allocs, 1, memory_order_relaxed);
    return span_large_hand_out(span);
}

/* Of the first of two CPUs that free an object at once the second may find another's descriptor. */
static bool large_is_of(const struct span *span, const void *p)
{
    return span_of(p) == span && span->base == (uintptr_t)p;
}

void slab_large_free(struct span *span, void *p)
{
    size_t granules = span_granules(span), bytes = granules * GRANULE_BYTES;

    if (!span_large_take_back(span) || !large_is_of(span, p))
        slab_misuse("kfree", p, SLAB_DOUBLE_FREE);
    slab_debug_large_free(slab_debug_large_site(span), bytes);
    if (!large_keep(span, granules) && !span_destroy(span))
        slab_misuse("kfree", p, SLAB_DOUBLE_FREE);
    atomic_fetch_sub_explicit(&large_count.live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&large_count.live_bytes, bytes, memory_order_relaxed);
}

bool slab_large_resize(struct span *span, size_t bytes)
{
    size_t had = span_granules(span), granules = (bytes + GRANULE_BYTES - 1) / GRANULE_BYTES;

    if (granules <= had || bytes > MM_PHYS_BYTES)
        return false;
    if (!span_extend_large(span, granules))
        return false;
    slab_debug_large_resize(span, had * GRANULE_BYTES);
    atomic_fetch_add_explicit(&large_count.live_bytes, (granules - had) * GRANULE_BYTES,
                              memory_order_relaxed);
    port_stat_inc(slab, large_grown);
    return true;
}

bool slab_large_is_kept(void)
{
    return port_this_cpu(large_cpu)->kept_bytes != 0;
}

void slab_large_drain(void)
{
    for (size_t granules = 1; granules <= LARGE_KEPT_GRANULES; granules++) {
        struct span *span = large_take_kept(granules);

        if (span != NULL)
            CHECK(span_destroy(span));
    }
}

/* Other CPUs' budgets are read racily. */
static __attribute__((no_sanitize("thread"))) size_t large_kept_bytes(void)
{
    size_t bytes = 0;

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        bytes += port_cpu(large_cpu, cpu)->kept_bytes;
    return bytes;
}

struct slab_large_stats slab_large_stats(void)
{
    return (struct slab_large_stats){
        .live = atomic_load_explicit(&large_count.live, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&large_count.live_bytes, memory_order_relaxed),
        .kept_bytes = large_kept_bytes(),
        .allocs = atomic_load_explicit(&large_count.allocs, memory_order_relaxed),
    };
}
