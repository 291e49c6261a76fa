/*
 * Reading traces: see trace.h for the contract, tests/traces/README.md for the format.
 *
 * The check walks the records once, in their order, with one small state per id: not live, or
 * live since an object or page allocation of some size.  Whatever a replay relies on is proved
 * here: fields in range, alloc and free of each id in turn, a free of what was allocated.
 */
#include "tests/replay/trace.h"

#include "kernel/base/format.h"
#include "kernel/base/string.h"

#define refuse(error, ...) (format_string((error)->text, sizeof((error)->text), __VA_ARGS__), false)

static uint32_t trace_u32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

bool trace_read_header(struct trace *trace, const void *data, size_t bytes,
                       struct trace_error *error)
{
    const uint8_t *header = data;

    memset(trace, 0, sizeof(*trace));
    if (bytes < TRACE_HEADER_BYTES)
        return refuse(error, "header: the file has %zu bytes, a header has %u", bytes,
                      TRACE_HEADER_BYTES);
    if (memcmp(header, "KMTRACE1", 8) != 0)
        return refuse(error, "header: the magic is not KMTRACE1");
    if (trace_u32(header + 20) != 0)
        return refuse(error, "header: reserved field is 0x%x, not 0", trace_u32(header + 20));

    trace->records = header + TRACE_HEADER_BYTES;
    trace->record_count = trace_u32(header + 8);
    trace->id_count = trace_u32(header + 12);
    trace->cpu_count = trace_u32(header + 16);

    size_t whole = (bytes - TRACE_HEADER_BYTES) / TRACE_RECORD_BYTES;
    size_t rest = (bytes - TRACE_HEADER_BYTES) % TRACE_RECORD_BYTES;
    if (whole < trace->record_count)
        return refuse(error, "record %zu: the file ends here, its header says %u records", whole,
                      trace->record_count);
    if (whole > trace->record_count || rest != 0)
        return refuse(error, "record %u: %zu bytes follow the last of %u records",
                      trace->record_count,
                      bytes - TRACE_HEADER_BYTES - (size_t)trace->record_count * TRACE_RECORD_BYTES,
                      trace->record_count);
    return true;
}

/* The record by itself. */
static bool trace_check_fields(const struct trace *trace, uint32_t idx, struct trace_error *error)
{
    const uint8_t *bytes = trace->records + (size_t)idx * TRACE_RECORD_BYTES;
    struct trace_record record = trace_record(trace, idx);

    if (record.op > TRACE_PAGE_FREE)
        return refuse(error, "record %u: op %u, the last is %u", idx, record.op, TRACE_PAGE_FREE);
    if (record.cpu >= trace->cpu_count)
        return refuse(error, "record %u: CPU %u of %u", idx, record.cpu, trace->cpu_count);
    if (bytes[2] != 0 || bytes[3] != 0)
        return refuse(error, "record %u: reserved field is 0x%x, not 0", idx,
                      bytes[2] | (unsigned)bytes[3] << 8);
    if (record.id >= trace->id_count)
        return refuse(error, "record %u: id %u of %u", idx, record.id, trace->id_count);
    if (trace_is_page(&record) && record.size > TRACE_ORDER_MAX)
        return refuse(error, "record %u: order %lu, the largest is %u", idx, record.size,
                      TRACE_ORDER_MAX);
    return true;
}

/* The record after those before it. */
static bool trace_check_order(uint32_t idx, const struct trace_record *record,
                              const struct trace_id *id, struct trace_error *error)
{
    if (trace_is_alloc(record)) {
        if (id->live != 0)
            return refuse(error, "record %u: id %u allocated while live", idx, record->id);
        return true;
    }
    if (id->live == 0)
        return refuse(error, "record %u: id %u freed while not live", idx, record->id);

    bool was_page = id->live - 1 == TRACE_PAGE_ALLOC;
    if (was_page != trace_is_page(record))
        return refuse(error, "record %u: id %u freed as %s, allocated as %s", idx, record->id,
                      was_page ? "object" : "pages", was_page ? "pages" : "object");
    if (id->size != record->size)
        return refuse(error, "record %u: id %u freed with %s %lu, allocated with %lu", idx,
                      record->id, was_page ? "order" : "size", record->size, id->size);
    return true;
}

static void trace_count_alloc(struct trace *trace, uint32_t idx, const struct trace_record *record)
{
    uint64_t bytes = trace_bytes(record);

    if (trace_is_page(record)) {
        trace->page_allocs++;
        trace->pages += 1ull << record->size;
    } else {
        trace->object_allocs++;
    }
    trace->alloc_bytes += bytes;
    trace->live_bytes_end += bytes;
    trace->live_ids_end++;
    if (trace->live_bytes_end > trace->peak_bytes) {
        trace->peak_bytes = trace->live_bytes_end;
        trace->peak_record = idx;
    }
}

bool trace_check(struct trace *trace, struct trace_id *ids, struct trace_error *error)
{
    memset(ids, 0, (size_t)trace->id_count * sizeof(*ids));
    for (uint32_t idx = 0; idx < trace->record_count; idx++) {
        if (!trace_check_fields(trace, idx, error))
            return false;

        struct trace_record record = trace_record(trace, idx);
        struct trace_id *id = &ids[record.id];
        if (!trace_check_order(idx, &record, id, error))
            return false;

        if (trace_is_alloc(&record)) {
            *id = (struct trace_id){.size = record.size, .live = record.op + 1u};
            trace_count_alloc(trace, idx, &record);
        } else {
            id->live = 0;
            trace->live_bytes_end -= trace_bytes(&record);
            trace->live_ids_end--;
        }
    }
    return true;
}
