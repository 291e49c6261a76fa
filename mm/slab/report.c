/*
 * Misuse of the slab allocator: find out what an address is, print it, panic.  Everything here only
 * reads, and without locks: the machine is about to stop, and other CPUs may still be at work, so
 * where a free slot stands is a good guess and no more.
 */
#include "mm/slab/debug.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab_impl.h"
#include "mm/span/large.h"

/* The panic's first line: the caller's name, then these around the address. */
static const struct {
    const char *before, *after;
} slab_misuse_text[] = {
    [SLAB_DOUBLE_FREE] = {"double free of ", ""},
    [SLAB_USE_AFTER_FREE] = {"", " is free"},
    [SLAB_NOT_START] = {"", " is not the start of an object"},
    [SLAB_NOT_HEAP] = {"", " is not an object of the heap"},
    [SLAB_COLLECTED] = {"", " belongs to the collected heap"},
    [SLAB_WRONG_SIZE] = {"", " is not an object of that size"},
    [SLAB_WRONG_CACHE] = {"", " is not an object of that cache"},
    [SLAB_CORRUPT] = {"", " was written after it was freed, or freed twice"},
};

static bool report_is_among(const void *slot, unsigned n, void *const *slots)
{
    for (unsigned i = 0; i < n; i++) {
        if (slots[i] == slot)
            return true;
    }
    return false;
}

/* The CPU in one of whose magazines a slot stands; port_cpu_count() if in none. */
static unsigned report_magazine_cpu(const struct central *central, const void *slot)
{
    unsigned index = central->owner.index, cpu;

    for (cpu = 0; cpu < port_cpu_count(); cpu++) {
        const struct slab_cpu *here = port_cpu(slab_cpu, cpu);
        void **last = seq_top_word(here->tops[index]);
        unsigned loaded = magazine_loaded(here->tops[index]);
        magazine_t spare = here->spares[index];

        if (report_is_among(slot, loaded, last + 1 - loaded) ||
            report_is_among(slot, magazine_count(spare), magazine_slots(spare)))
            return cpu;
    }
    return cpu;
}

static void report_slot(const struct span *span, const void *addr)
{
    const struct central *central = central_of(span);
    size_t index = span_slot_index(span, addr);

    if (index >= span_slot_count(span)) {
        port_print("  in %s, behind its %u slots of %zu bytes\n", central->name,
                   span_slot_count(span), span_slot_bytes(span));
        return;
    }

    void *slot = span_slot(span, (unsigned)index);
    unsigned cpu = report_magazine_cpu(central, slot);

    port_print("  in %s, slot %zu of %u, at %p, %zu bytes; address is byte %td of its object\n",
               central->name, index, span_slot_count(span), slot, span_slot_bytes(span),
               (const char *)addr - (char *)slot - (ptrdiff_t)central->object_shift);
    port_print("  token 0x%zx, 0x%zx in a free slot\n", (size_t) * (uint64_t *)slot,
               (size_t)seq_token(slot));
    if (span_slot_is_free(span, (unsigned)index))
        port_print("  state: free, in its span\n");
    else if (cpu < port_cpu_count())
        port_print("  state: free, in a magazine of CPU %u\n", cpu);
    else if (slab_debug_is_held(central, (char *)slot + central->object_shift))
        port_print("  state: free, in the quarantine\n");
    else if (slab_has_token(slot))
        port_print("  state: free, in a depot, or between a magazine and its span\n");
    else
        port_print("  state: in use\n");
    if (central->debug_flags != 0)
        slab_debug_print(central, (char *)slot + central->object_shift);
}

/* Slots of the slab allocator, not of the collected heap. */
static bool report_is_slab(const struct span *span)
{
    return span->owner != NULL &&
           (span->span_class < SIZE_CLASS_COUNT || span->span_class == SPAN_CLASS_CACHE);
}

void slab_report_address(const void *addr)
{
    const struct span *span = span_of(addr);
    unsigned span_class;

    if (span != NULL) {
        port_print("slab: %p: span at 0x%zx, %zu pages, span class %u\n", addr, (size_t)span->base,
                   span_granules(span) * GRANULE_PAGES, span->span_class);
        if (report_is_slab(span))
            report_slot(span, addr);
        else if (span->span_class == SPAN_CLASS_LARGE)
            port_print("  large object, %s; address is byte %zu of it\n",
                       span_large_is_out(span) ? "in use" : "free, kept by a CPU",
                       (size_t)((uintptr_t)addr - span->base));
    } else if (span_last_slot(addr, &span_class)) {
        port_print("slab: %p: no span; last in the span of %s, which is free\n", addr,
                   span_class == SPAN_CLASS_LARGE  ? "a large object"
                   : span_class < SIZE_CLASS_COUNT ? slab_centrals[span_class].name
                                                   : "a kmem_cache");
    } else {
        port_print("slab: %p: no span\n", addr);
    }
}

void slab_misuse(const char *caller, const void *addr, enum slab_misuse misuse)
{
    slab_report_address(addr);
    port_panic("%s: %s%p%s", caller, slab_misuse_text[misuse].before, addr,
               slab_misuse_text[misuse].after);
}

struct span *slab_live_span(const char *caller, const void *object, enum slab_misuse if_freed)
{
    struct span *span = span_of(object);
    unsigned last_class;

    if (span == NULL)
        slab_misuse(caller, object, span_last_slot(object, &last_class) ? if_freed : SLAB_NOT_HEAP);
    if (span->span_class == SPAN_CLASS_LARGE) {
        if ((uintptr_t)object != span->base)
            slab_misuse(caller, object, SLAB_NOT_START);
        if (!span_large_is_out(span))
            slab_misuse(caller, object, if_freed);
        return span;
    }
    if (!report_is_slab(span))
        slab_misuse(caller, object, SLAB_COLLECTED);

    const void *slot = slab_slot_of(central_of(span), object);

    if (span_of(slot) != span || !span_is_any_slot(span, slot))
        slab_misuse(caller, object, SLAB_NOT_START);
    if (slab_has_token(slot))
        slab_misuse(caller, object, if_freed);
    return span;
}

#define REPORT_OBJECTS_MAX 8

/* Print live objects of a list of spans, while less than REPORT_OBJECTS_MAX have been shown. */
static unsigned report_live(const struct central *central, const struct span *span, unsigned shown)
{
    for (; span != NULL; span = span->next) {
        for (unsigned i = 0; i < span_slot_count(span) && shown < REPORT_OBJECTS_MAX; i++) {
            if (!span_slot_is_free(span, i)) {
                port_print("slab: %s: %p is in use\n", central->name,
                           (char *)span_slot(span, i) + central->object_shift);
                if (central->debug_flags != 0)
                    slab_debug_print(central, (char *)span_slot(span, i) + central->object_shift);
                shown++;
            }
        }
    }
    return shown;
}

void slab_misuse_destroy(const struct central *central, size_t live)
{
    unsigned shown = 0;

    for (unsigned shard = 0; shard < CENTRAL_SHARDS; shard++) {
        for (unsigned list = CENTRAL_FULL; list < CENTRAL_EMPTY; list++)
            shown = report_live(central, central->shards[shard].lists[list], shown);
    }
    guard_live_print(central);
    port_panic("kmem_cache_destroy: %s has %zu live object%s", central->name, live,
               live == 1 ? "" : "s");
}
