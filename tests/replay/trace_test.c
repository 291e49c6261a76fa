/* The trace reader: what it counts, and each way in which a trace can be malformed. */
#include "tests/replay/builder.h"
#include "tests/replay/trace.h"
#include "tests/test.h"

#define TRACE_TEST_IDS 4u

struct trace_test_record {
    uint8_t op, cpu;
    uint32_t id;
    uint64_t size;
};

/* Three records, the last of which is refused with `text`. */
struct trace_test_case {
    struct trace_test_record records[3];
    const char *text;
};

static bool trace_test_read(const struct builder *builder, size_t bytes, struct trace *trace,
                            struct trace_error *error)
{
    struct trace_id ids[TRACE_TEST_IDS];

    return trace_read_header(trace, builder->file, bytes, error) && trace_check(trace, ids, error);
}

TEST(trace, counts_what_it_reads)
{
    uint8_t file[1024];
    struct trace trace;
    struct trace_error error;
    struct builder builder = builder_begin(file + 1, TRACE_TEST_IDS, 2); /* at an odd address */

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 100);
    builder_add(&builder, TRACE_PAGE_ALLOC, 1, 1, 2);
    builder_add(&builder, TRACE_OBJECT_FREE, 1, 0, 100);
    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 50);
    builder_add(&builder, TRACE_PAGE_FREE, 0, 1, 2);
    REQUIRE(t, trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
    EXPECT(t, trace.record_count == 5 && trace.id_count == TRACE_TEST_IDS && trace.cpu_count == 2);
    EXPECT(t, trace.object_allocs == 2 && trace.page_allocs == 1 && trace.pages == 4);
    EXPECT(t, trace.alloc_bytes == 150 + 4 * 4096);
    EXPECT(t, trace.peak_bytes == 100 + 4 * 4096 && trace.peak_record == 1);
    EXPECT(t, trace.live_bytes_end == 50 && trace.live_ids_end == 1);

    struct trace_record record = trace_record(&trace, 1);
    EXPECT(t, record.op == TRACE_PAGE_ALLOC && record.cpu == 1 && record.id == 1);
    EXPECT(t, record.size == 2 && trace_bytes(&record) == 4 * 4096);
}

TEST(trace, accepts_an_empty_trace)
{
    uint8_t file[TRACE_HEADER_BYTES];
    struct trace trace;
    struct trace_error error;
    struct builder builder = builder_begin(file, 0, 0);

    EXPECT(t, trace_test_read(&builder, sizeof(file), &trace, &error));
    EXPECT(t, trace.record_count == 0 && trace.peak_bytes == 0);
}

TEST(trace, refuses_a_malformed_record)
{
    static const struct trace_test_case cases[] = {
        {{{0, 0, 0, 8}, {1, 0, 0, 8}, {4, 0, 0, 8}}, "record 2: op 4"},
        {{{0, 0, 0, 8}, {1, 0, 0, 8}, {0, 2, 0, 8}}, "record 2: CPU 2 of 2"},
        {{{0, 0, 0, 8}, {1, 0, 0, 8}, {0, 0, 4, 8}}, "record 2: id 4 of 4"},
        {{{0, 0, 0, 8}, {0, 0, 1, 8}, {0, 1, 1, 8}}, "record 2: id 1 allocated while live"},
        {{{0, 0, 0, 8}, {2, 0, 1, 0}, {0, 1, 1, 8}}, "record 2: id 1 allocated while live"},
        {{{0, 0, 0, 8}, {1, 0, 0, 8}, {1, 0, 0, 8}}, "record 2: id 0 freed while not live"},
        {{{0, 0, 0, 8}, {0, 0, 1, 8}, {1, 0, 2, 8}}, "record 2: id 2 freed while not live"},
        {{{0, 0, 0, 8}, {0, 0, 1, 8}, {1, 0, 1, 9}}, "record 2: id 1 freed with size 9"},
        {{{0, 0, 0, 8}, {2, 0, 1, 3}, {3, 0, 1, 2}}, "record 2: id 1 freed with order 2"},
        {{{0, 0, 0, 8}, {2, 0, 1, 3}, {1, 0, 1, 3}}, "freed as object, allocated as pages"},
        {{{0, 0, 0, 8}, {0, 0, 1, 3}, {3, 0, 1, 3}}, "freed as pages, allocated as object"},
        {{{0, 0, 0, 8}, {1, 0, 0, 8}, {2, 0, 1, 35}}, "record 2: order 35, the largest is 34"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t file[256];
        struct trace trace;
        struct trace_error error = {""};
        struct builder builder = builder_begin(file, TRACE_TEST_IDS, 2);

        for (size_t j = 0; j < 3; j++) {
            const struct trace_test_record *record = &cases[i].records[j];

            builder_add(&builder, record->op, record->cpu, record->id, record->size);
        }
        EXPECT(t, !trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
        EXPECT(t, strstr(error.text, cases[i].text) != NULL);
        EXPECT(t, strncmp(error.text, "record 2: ", 10) == 0);
    }
}

TEST(trace, refuses_a_reserved_field_that_is_not_0)
{
    uint8_t file[256];
    struct trace trace;
    struct trace_error error = {""};
    struct builder builder = builder_begin(file, TRACE_TEST_IDS, 2);

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 8);
    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 1, 8);
    file[TRACE_HEADER_BYTES + TRACE_RECORD_BYTES + 3] = 1;
    EXPECT(t, !trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
    EXPECT(t, strstr(error.text, "record 1: reserved field is 0x100") != NULL);

    builder_put_u32(&builder, 20, 5);
    EXPECT(t, !trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
    EXPECT(t, strstr(error.text, "header: reserved field is 0x5") != NULL);
}

TEST(trace, refuses_another_magic)
{
    uint8_t file[64];
    struct trace trace;
    struct trace_error error = {""};
    struct builder builder = builder_begin(file, 1, 1);

    file[7] = '2';
    EXPECT(t, !trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
    EXPECT(t, strstr(error.text, "magic") != NULL);
}

/* Every length but the right one, and a header that counts more than memory. */
TEST(trace, refuses_another_length)
{
    uint8_t file[128] = {0};
    struct trace trace;
    struct trace_error error = {""};
    struct builder builder = builder_begin(file, TRACE_TEST_IDS, 1);

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 8);
    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 1, 8);
    for (size_t bytes = 0; bytes <= sizeof(file); bytes++)
        EXPECT(t, trace_test_read(&builder, bytes, &trace, &error) ==
                      (bytes == builder_bytes(&builder)));

    trace_test_read(&builder, TRACE_HEADER_BYTES - 1, &trace, &error);
    EXPECT(t, strstr(error.text, "header: the file has 23 bytes") != NULL);
    trace_test_read(&builder, TRACE_HEADER_BYTES + TRACE_RECORD_BYTES, &trace, &error);
    EXPECT(t, strstr(error.text, "record 1: the file ends here") != NULL);
    trace_test_read(&builder, builder_bytes(&builder) + 1, &trace, &error);
    EXPECT(t, strstr(error.text, "record 2: 1 bytes follow") != NULL);

    builder_put_u32(&builder, 8, UINT32_MAX);
    EXPECT(t, !trace_test_read(&builder, builder_bytes(&builder), &trace, &error));
}
