/*
 * libFuzzer over the trace reader: arbitrary bytes are refused with a message or pass, and what
 * has passed keeps what trace.h promises of it.
 */
#include "tests/replay/trace.h"

#include <stdlib.h>
#include <string.h>
#include "kernel/base/check.h"

#define FUZZ_ID_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

void check_failed(const char *expression, const char *file, int line)
{
    (void)expression, (void)file, (void)line;
    abort();
}

/* Replays what passed against one flag per id. */
static void fuzz_trust(const struct trace *trace)
{
    static uint8_t live[FUZZ_ID_MAX];
    uint32_t live_count = 0;

    memset(live, 0, sizeof(live));
    for (uint32_t idx = 0; idx < trace->record_count; idx++) {
        struct trace_record record = trace_record(trace, idx);

        CHECK(record.cpu < trace->cpu_count && record.id < trace->id_count);
        CHECK(live[record.id] == !trace_is_alloc(&record));
        live[record.id] ^= 1;
        live_count += trace_is_alloc(&record) ? 1u : -1u;
    }
    CHECK(live_count == trace->live_ids_end);
}

static void fuzz_read(const uint8_t *data, size_t bytes)
{
    struct trace trace;
    struct trace_error error = {""};

    if (!trace_read_header(&trace, data, bytes, &error)) {
        CHECK(error.text[0] != '\0');
        return;
    }
    if (trace.id_count > FUZZ_ID_MAX)
        return;

    struct trace_id *ids = malloc((size_t)trace.id_count * sizeof(*ids) + 1);
    CHECK(ids != NULL);
    if (trace_check(&trace, ids, &error))
        fuzz_trust(&trace);
    else
        CHECK(error.text[0] != '\0');
    free(ids);
}

/* Once as it is, once behind a header that fits, so that the records are reached at all. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint32_t header[] = {(uint32_t)(bytes / TRACE_RECORD_BYTES), 8, 2, 0};
    size_t whole = header[0] * (size_t)TRACE_RECORD_BYTES;
    uint8_t *file = malloc(TRACE_HEADER_BYTES + whole);

    CHECK(file != NULL);
    fuzz_read(data, bytes);
    memcpy(file, "KMTRACE1", 8);
    memcpy(file + 8, header, sizeof(header));
    if (whole > 0)
        memcpy(file + TRACE_HEADER_BYTES, data, whole);
    fuzz_read(file, TRACE_HEADER_BYTES + whole);
    free(file);
    return 0;
}
