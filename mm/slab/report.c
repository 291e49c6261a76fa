/*
 * Misuse of the slab allocator: find out what an address is, print it, panic.  Everything here only
 * reads, and without locks: the machine is about to stop, and other CPUs may still be at work, so
 * where a free slot stands is a good guess and no more.
 */
#include "mm/slab/slab_impl.h"

/* The panic's first line: the caller's name, then these around the address. */
static const struct {
    const char *before, *after;
} slab_misuse_text[] = {
    [SLAB_DOUBLE_FREE] = {"double free of ", ""},
    [SLAB_USE_AFTER_FREE] = {"", " is free"},
    [SLAB_NOT_START] = {"", " is not the start of an object"},
    [SLAB_NOT_HEAP] = {"", " is not an object of the heap"},
    [SLAB_WRONG_SIZE] = {"", " is not an object of that size"},
    [SLAB_WRONG_CACHE] = {"", " is not an object of that cache"},
    [SLAB_CORRUPT] = {"", " was written after it was freed, or freed twice"},
};

/* The CPU in whose magazine a slot stands; port_cpu_count() if in none. */
static unsigned report_magazine_cpu(const struct central *central, const void *slot)
{
    unsigned cpu;

    for (cpu = 0; cpu < port_cpu_count(); cpu++) {
        const struct magazine *magazine = slab_magazine_of_cpu(central, cpu);

        for (unsigned i = 0; i < MIN(magazine->count, MAGAZINE_SLOTS); i++) {
            if (magazine->slots[i] == slot)
                return cpu;
        }
    }
    return cpu;
}

static void report_slot(const struct span *span, const void *addr)
{
    const struct central *central = span->owner;
    unsigned index = (unsigned)(span_slot_product(span, addr) >> 32);

    if (index >= span_slot_count(span)) {
        port_print("  in %s, behind its %u slots of %u bytes\n", central->name,
                   span_slot_count(span), span->slot_bytes);
        return;
    }

    void *slot = span_slot(span, index);
    unsigned cpu = report_magazine_cpu(central, slot);

    port_print("  in %s, slot %u of %u, at %p, %u bytes; address is byte %zu of it\n",
               central->name, index, span_slot_count(span), slot, span->slot_bytes,
               (size_t)((const char *)addr - (char *)slot));
    port_print("  canary 0x%zx, 0x%zx in a free slot\n",
               (size_t)*slab_canary(slot, central->canary_offset), (size_t)slab_canary_value(slot));
    if (span_slot_is_free(span, index))
        port_print("  state: free, in its span\n");
    else if (cpu < port_cpu_count())
        port_print("  state: free, in the magazine of CPU %u\n", cpu);
    else if (slab_has_canary(slot, central->canary_offset))
        port_print("  state: free, between a magazine and its span\n");
    else
        port_print("  state: in use\n");
}

static void report_address(const void *addr)
{
    const struct span *span = span_of(addr);
    unsigned span_class;

    if (span != NULL) {
        port_print("slab: %p: span at 0x%zx, %zu pages, span class %u\n", addr, (size_t)span->base,
                   span->granules * GRANULE_PAGES, span->span_class);
        if (span->owner != NULL)
            report_slot(span, addr);
        else if (span->span_class == SPAN_CLASS_LARGE)
            port_print("  large object, in use; address is byte %zu of it\n",
                       (size_t)((uintptr_t)addr - span->base));
    } else if (span_last_slot(addr, &span_class)) {
        port_print("slab: %p: no span; last in the span of %s, which is free\n", addr,
                   span_class == SPAN_CLASS_LARGE ? "a large object"
                                                  : slab_centrals[span_class].name);
    } else {
        port_print("slab: %p: no span\n", addr);
    }
}

void slab_misuse(const char *caller, const void *addr, enum slab_misuse misuse)
{
    report_address(addr);
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
        return span;
    }
    if (span->span_class >= SIZE_CLASS_COUNT && span->span_class != SPAN_CLASS_CACHE)
        slab_misuse(caller, object, SLAB_NOT_HEAP);
    if (!span_product_is_slot(span, span_slot_product(span, object)))
        slab_misuse(caller, object, SLAB_NOT_START);

    const struct central *central = span->owner;

    if (slab_has_canary((void *)object, central->canary_offset))
        slab_misuse(caller, object, if_freed);
    return span;
}

#define REPORT_OBJECTS_MAX 8

void slab_misuse_destroy(const struct central *central, size_t live)
{
    unsigned shown = 0;

    for (unsigned list = CENTRAL_FULL; list < CENTRAL_EMPTY; list++) {
        for (const struct span *span = central->lists[list]; span != NULL; span = span->next) {
            for (unsigned i = 0; i < span_slot_count(span) && shown < REPORT_OBJECTS_MAX; i++) {
                if (!span_slot_is_free(span, i)) {
                    port_print("slab: %s: %p is in use\n", central->name, span_slot(span, i));
                    shown++;
                }
            }
        }
    }
    port_panic("kmem_cache_destroy: %s has %zu live object%s", central->name, live,
               live == 1 ? "" : "s");
}
