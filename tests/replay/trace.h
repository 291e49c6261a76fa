/*
 * Recorded allocation traces (tests/traces/README.md): the reader.
 *
 * Pure: no state, no allocation, no alignment assumed of the data; every byte that it looks at is
 * inside [data, data + bytes).  A trace that trace_check has passed can be replayed without a
 * further check.
 */
#pragma once

#include "kernel/base/base.h"

#define TRACE_HEADER_BYTES 24u
#define TRACE_RECORD_BYTES 16u
#define TRACE_ORDER_MAX    34u /* 2^34 pages of 4 KiB: the 46 bits of address that mm/ manages */

enum trace_op { TRACE_OBJECT_ALLOC, TRACE_OBJECT_FREE, TRACE_PAGE_ALLOC, TRACE_PAGE_FREE };

struct trace_record {
    uint64_t size; /* objects: bytes asked for; pages: order */
    uint32_t id;
    uint8_t cpu;
    uint8_t op; /* enum trace_op */
};

struct trace {
    const uint8_t *records; /* [C] record 0, any alignment; borrowed from the caller */
    uint32_t record_count;  /* [C] */
    uint32_t id_count;      /* [C] */
    uint32_t cpu_count;     /* [C] as recorded */

    /* What trace_check counted, in the order of the records. */
    uint32_t object_allocs;
    uint32_t page_allocs;    /* runs */
    uint64_t pages;          /* in these runs */
    uint64_t alloc_bytes;    /* asked for, objects and pages */
    uint64_t peak_bytes;     /* live at most; modulo 2^64, as sizes may be anything */
    uint32_t peak_record;    /* the first record after which that much was live */
    uint64_t live_bytes_end; /* never freed */
    uint32_t live_ids_end;
};

/* Per id, for trace_check. */
struct trace_id {
    uint64_t size;
    uint64_t live; /* 0: not live; else the op that allocated it, plus 1 */
};

struct trace_error {
    char text[120]; /* "record 17: id 4 freed while not live" */
};

/*
 * trace_read_header -- set up `trace` over the file's bytes.
 *   returns  false: malformed, *error says why
 *   pairs    nothing to close; data must outlive the trace
 */
bool trace_read_header(struct trace *trace, const void *data, size_t bytes,
                       struct trace_error *error);

/*
 * trace_check -- check every record and count.
 *   ids      room for trace->id_count entries, contents ignored
 *   returns  false: malformed, *error has the record's number and the reason
 */
bool trace_check(struct trace *trace, struct trace_id *ids, struct trace_error *error);

/* Record idx, 0 .. record_count - 1. */
static inline struct trace_record trace_record(const struct trace *trace, uint32_t idx)
{
    const uint8_t *bytes = trace->records + (size_t)idx * TRACE_RECORD_BYTES;
    struct trace_record record = {.op = bytes[0], .cpu = bytes[1]};

    __builtin_memcpy(&record.id, bytes + 4, sizeof(record.id));
    __builtin_memcpy(&record.size, bytes + 8, sizeof(record.size));
    return record;
}

static inline bool trace_is_alloc(const struct trace_record *record)
{
    return record->op == TRACE_OBJECT_ALLOC || record->op == TRACE_PAGE_ALLOC;
}

static inline bool trace_is_page(const struct trace_record *record)
{
    return record->op >= TRACE_PAGE_ALLOC;
}

/* What the record's allocation asks for. */
static inline uint64_t trace_bytes(const struct trace_record *record)
{
    return trace_is_page(record) ? 4096ull << record->size : record->size;
}
