/* The replay itself: order across CPUs, what it finds, what it leaves behind. */
#include "tests/replay/replay.h"

#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/modules.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/replay/builder.h"
#include "tests/replay/load.h"
#include "tests/replay/pattern.h"
#include "tests/test.h"

#define REPLAY_TEST_IDS   16u
#define REPLAY_TEST_CPUS  8u
#define REPLAY_TEST_PAGES ((BUILDER_FILE_BYTES + PAGE_BYTES - 1) / PAGE_BYTES)

static struct replay replay_test; /* too large for a stack */

/*
 * A few ids that all CPUs pass around: nearly every record waits for one of another CPU.  Ends
 * with what happens to be live.
 */
static void replay_test_build(struct builder *builder, uint64_t seed, uint32_t records)
{
    struct trace_record live[REPLAY_TEST_IDS] = {0};
    bool is_live[REPLAY_TEST_IDS] = {false};

    for (uint32_t i = 0; i < records; i++) {
        uint64_t random = random_next(&seed);
        uint32_t id = random % REPLAY_TEST_IDS;
        unsigned cpu = random >> 8 & (REPLAY_TEST_CPUS - 1);

        if (!is_live[id]) {
            bool is_page = (random >> 16 & 15) == 0;

            live[id].op = is_page ? TRACE_PAGE_ALLOC : TRACE_OBJECT_ALLOC;
            live[id].size = is_page ? random >> 20 & 3 : 1 + (random >> 20) % 3000;
            builder_add(builder, live[id].op, cpu, id, live[id].size);
        } else {
            builder_add(builder, live[id].op + 1u, cpu, id, live[id].size);
        }
        is_live[id] = !is_live[id];
    }
}

static bool replay_test_open(struct test *t, const struct builder *builder, struct trace *trace)
{
    struct trace_id ids[REPLAY_TEST_IDS];
    struct trace_error error;

    return EXPECT(t, trace_read_header(trace, builder->file, builder_bytes(builder), &error)) &&
           EXPECT(t, trace_check(trace, ids, &error)) &&
           EXPECT(t, replay_init(&replay_test, trace, "test", cpus_online()));
}

/* Interleaving: a free on one CPU and the next alloc of its id on another, thousands of times. */
TEST(replay, keeps_the_order_of_each_id_across_cpus)
{
    struct trace trace;
    uint64_t seed = test_seed(t) | 1;
    void *file = page_alloc(REPLAY_TEST_PAGES, 0);

    REQUIRE(t, file != NULL);
    struct builder builder = builder_begin(file, REPLAY_TEST_IDS, REPLAY_TEST_CPUS);
    replay_test_build(&builder, seed, BUILDER_RECORD_MAX);
    if (replay_test_open(t, &builder, &trace)) {
        EXPECT(t, replay_reset(&replay_test, REPLAY_FILL));
        replay_run(&replay_test, trace.peak_record + 1);
        EXPECT(t, replay_test.live_bytes == trace.peak_bytes);
        replay_run(&replay_test, trace.record_count);
        EXPECT(t, replay_test.live_bytes == trace.live_bytes_end);
        EXPECT(t, replay_test.done == trace.record_count);
        EXPECT(t, replay_test.peak_live_bytes >= trace.peak_bytes);
        replay_release(&replay_test);
        EXPECT(t, replay_test.live_bytes == 0 && replay_test.page_bytes == 0);
        EXPECT(t, replay_test.damaged == 0);
        EXPECT(t, replay_totals(&replay_test).refused == 0);
        replay_fini(&replay_test);
    }
    page_free(file, REPLAY_TEST_PAGES);
}

TEST(replay, dry_pass_allocates_nothing)
{
    struct trace trace;
    void *file = page_alloc(REPLAY_TEST_PAGES, 0);

    REQUIRE(t, file != NULL);
    struct builder builder = builder_begin(file, REPLAY_TEST_IDS, REPLAY_TEST_CPUS);
    replay_test_build(&builder, 5, 1000);
    if (replay_test_open(t, &builder, &trace)) {
        EXPECT(t, replay_reset(&replay_test, REPLAY_FILL | REPLAY_DRY));
        size_t pages = page_free_count();
        replay_run(&replay_test, trace.record_count);
        EXPECT(t, page_free_count() == pages);
        EXPECT(t, replay_test.live_bytes == trace.live_bytes_end);
        EXPECT(t, replay_test.damaged == 0);
        replay_fini(&replay_test);
    }
    page_free(file, REPLAY_TEST_PAGES);
}

/* What no machine has is refused and its free skipped; what comes after is done. */
TEST(replay, refused_allocation_is_not_corruption)
{
    uint8_t file[256];
    struct trace trace;
    struct builder builder = builder_begin(file, REPLAY_TEST_IDS, 1);

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 1ull << 60);
    builder_add(&builder, TRACE_PAGE_ALLOC, 0, 1, TRACE_ORDER_MAX);
    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 2, 64);
    builder_add(&builder, TRACE_OBJECT_FREE, 0, 0, 1ull << 60);
    builder_add(&builder, TRACE_OBJECT_FREE, 0, 2, 64);
    if (!replay_test_open(t, &builder, &trace))
        return;
    EXPECT(t, replay_reset(&replay_test, REPLAY_FILL));
    replay_run(&replay_test, trace.record_count);
    replay_release(&replay_test);
    EXPECT(t, replay_totals(&replay_test).refused == 2);
    EXPECT(t, replay_test.damaged == 0);
    EXPECT(t, replay_test.peak_live_bytes == 64);
    replay_fini(&replay_test);
}

/* ---- What it finds ---- */

/* The last byte asked for of record 1, the first of record 3. */
static void replay_test_damage(void *addr, size_t bytes, uint32_t record)
{
    unsigned char *byte = addr;

    if (record == 1)
        byte[bytes - 1] ^= 0x80;
    if (record == 3)
        byte[0] ^= 1;
}

TEST(replay, finds_an_overwritten_object)
{
    uint8_t file[256];
    struct trace trace;
    struct builder builder = builder_begin(file, REPLAY_TEST_IDS, 1);

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 100);
    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 1, 61);
    builder_add(&builder, TRACE_OBJECT_FREE, 0, 0, 100);
    builder_add(&builder, TRACE_PAGE_ALLOC, 0, 2, 0); /* found when what is live is freed */
    builder_add(&builder, TRACE_OBJECT_FREE, 0, 1, 61);
    if (!replay_test_open(t, &builder, &trace))
        return;
    replay_test.after_fill = replay_test_damage;
    EXPECT(t, replay_reset(&replay_test, REPLAY_FILL));
    replay_run(&replay_test, trace.record_count);
    EXPECT(t, replay_test.damaged == 1);
    replay_release(&replay_test);
    EXPECT(t, replay_test.damaged == 2);
    replay_fini(&replay_test);
}

TEST(replay, pattern_covers_every_byte)
{
    static const size_t sizes[] = {1, 7, 8, 9, 31, 32, 33, 40, 61, 64};
    uint64_t words[9];
    unsigned char *bytes = (unsigned char *)words;
    uint64_t seed = pattern_seed(7, 3);

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        size_t size = sizes[i];
        struct pattern_damage damage;

        memset(words, 0x55, sizeof(words));
        pattern_fill(words, size, seed);
        EXPECT(t, bytes[size] == 0x55);
        EXPECT(t, pattern_is_whole(words, size, seed));
        EXPECT(t, !pattern_find_damage(words, size, seed, &damage));
        EXPECT(t, !pattern_is_whole(words, size, pattern_seed(7, 5)));
        for (size_t offset = 0; offset < size; offset++) {
            bytes[offset] ^= 0x10;
            EXPECT(t, !pattern_is_whole(words, size, seed));
            EXPECT(t, pattern_find_damage(words, size, seed, &damage) && damage.offset == offset);
            EXPECT(t, damage.expected != damage.found);
            bytes[offset] ^= 0x10;
        }
    }
}

/* ---- Memory ---- */

TEST(replay, init_unwinds_when_memory_is_refused)
{
    uint8_t file[256];
    struct trace trace;
    struct builder builder = builder_begin(file, REPLAY_TEST_IDS, 1);
    size_t before = page_free_count();

    builder_add(&builder, TRACE_OBJECT_ALLOC, 0, 0, 100);
    if (!replay_test_open(t, &builder, &trace))
        return;
    replay_fini(&replay_test);

    fault_fail_nth(1);
    EXPECT(t, !replay_init(&replay_test, &trace, "test", 1));
    EXPECT(t, fault_disarm());
    EXPECT(t, page_free_count() == before);
}

/* Each trace that came as a module is sound. */
TEST(replay, recorded_traces_are_sound)
{
    for (unsigned i = 0; i < module_count(); i++) {
        struct trace trace;

        if (trace_module_is(module_at(i)))
            EXPECT(t, trace_module_read(module_at(i), &trace));
    }
}
