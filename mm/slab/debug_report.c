/*
 * Reports of what debugging of slots has found: the object, what its record knows, the bytes that
 * are not as they should be, then the panic, whose line alone says what and where.
 */
#include "kernel/base/format.h"
#include "mm/slab/debug.h"

#define REPORT_BYTES 16u /* that are shown, at most */

static void report_trace(const char *what, unsigned cpu, bool is_traced,
                         const struct slab_trace *trace)
{
    size_t count = 0;

    while (is_traced && count < SLAB_TRACE_FRAMES && trace->pcs[count] != 0)
        count++;
    if (count == 0)
        return;
    port_print("  %s on CPU %u by:\n", what, cpu);
    port_backtrace_print(trace->pcs, count);
}

void slab_debug_print(const struct central *central, const void *object)
{
    const struct slab_record *record = slab_record(central, object);
    uint32_t state = atomic_load_explicit(&record->state, memory_order_acquire);
    bool is_traced = central->debug_flags & SLAB_DEBUG_TRACE;

    switch (state) {
    case SLAB_STATE_NEW:
        port_print("  never handed out\n");
        return;
    case SLAB_STATE_LIVE:
    case SLAB_STATE_FREED:
    case SLAB_STATE_HELD:
        break;
    default:
        port_print("  its record was written over: state 0x%x\n", state);
        return;
    }
    port_print("  %u bytes asked for\n", record->bytes);
    report_trace("allocated", record->alloc_cpu, is_traced, &record->alloc);
    report_trace("freed", record->free_cpu, is_traced, &record->free);
}

/* "  bytes 50 to 52: 00 00 2a", as many as a line takes. */
static void report_bytes(const void *object, ptrdiff_t first, ptrdiff_t last)
{
    char text[REPORT_BYTES * 3 + 1] = "";
    size_t shown = MIN((size_t)(last - first) + 1, (size_t)REPORT_BYTES);

    for (size_t i = 0; i < shown; i++)
        format_string(text + 3 * i, sizeof(text) - 3 * i, " %02x",
                      ((const uint8_t *)object)[first + (ptrdiff_t)i]);
    if (first == last)
        port_print("  byte %td:%s\n", first, text);
    else
        port_print("  bytes %td to %td:%s\n", first, last, text);
}

void slab_report_bounds(const char *name, const void *object, size_t bytes, ptrdiff_t first,
                        ptrdiff_t last)
{
    slab_report_address(object);
    report_bytes(object, first, last);
    if (first < 0)
        port_panic("%s: %p of %zu bytes: out of bounds: byte %td was written, %td before its start",
                   name, object, bytes, last, -last);
    port_panic("%s: %p of %zu bytes: out of bounds: byte %td was written, %td behind its end", name,
               object, bytes, first, first - (ptrdiff_t)bytes + 1);
}

void slab_report_written(const char *name, const void *object, ptrdiff_t first, ptrdiff_t last)
{
    slab_report_address(object);
    report_bytes(object, first, last);
    port_panic("%s: %p was written after it was freed: byte %td", name, object, first);
}

void slab_report_changed(const char *name, const void *object)
{
    slab_report_address(object);
    port_panic("%s: %p, with a constructor, was written after it was freed", name, object);
}

void slab_report_record(const char *name, const struct central *central, const void *object)
{
    slab_report_address(object);
    report_bytes(object, central->record_offset,
                 central->record_offset + (ptrdiff_t)sizeof(struct slab_record) - 1);
    port_panic("%s: %p: its record, %u bytes behind its start, was written over", name, object,
               central->record_offset);
}
