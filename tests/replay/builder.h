/* Small traces for tests, written record by record; the file's bytes as a recorder would leave them. */
#pragma once

#include "kernel/base/string.h"
#include "tests/replay/trace.h"

#define BUILDER_RECORD_MAX 4096u

struct builder {
    uint8_t *file; /* TRACE_HEADER_BYTES + BUILDER_RECORD_MAX * TRACE_RECORD_BYTES */
    uint32_t record_count;
};

#define BUILDER_FILE_BYTES (TRACE_HEADER_BYTES + BUILDER_RECORD_MAX * TRACE_RECORD_BYTES)

static inline void builder_put_u32(struct builder *builder, size_t offset, uint32_t value)
{
    memcpy(builder->file + offset, &value, sizeof(value));
}

static inline size_t builder_bytes(const struct builder *builder)
{
    return TRACE_HEADER_BYTES + (size_t)builder->record_count * TRACE_RECORD_BYTES;
}

/* An empty trace of so many ids and CPUs in `file`. */
static inline struct builder builder_begin(void *file, uint32_t ids, uint32_t cpus)
{
    struct builder builder = {.file = file};

    memset(file, 0, TRACE_HEADER_BYTES);
    memcpy(file, "KMTRACE1", 8);
    builder_put_u32(&builder, 12, ids);
    builder_put_u32(&builder, 16, cpus);
    return builder;
}

static inline void builder_add(struct builder *builder, unsigned op, unsigned cpu, uint32_t id,
                               uint64_t size)
{
    uint8_t *record = builder->file + builder_bytes(builder);

    memset(record, 0, TRACE_RECORD_BYTES);
    record[0] = (uint8_t)op;
    record[1] = (uint8_t)cpu;
    memcpy(record + 4, &id, sizeof(id));
    memcpy(record + 8, &size, sizeof(size));
    builder_put_u32(builder, 8, ++builder->record_count);
}
