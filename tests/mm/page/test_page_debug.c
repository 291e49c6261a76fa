/*
 * page_poison=1 and page_owner=1: tests/suites.sh runs these on a machine with both on.  What ends
 * in a panic is tested in QEMU too (tests/qemu/panics.sh).
 */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/page/view.h"
#include "tests/kernel/capture.h"
#include "tests/test.h"

static bool needs(struct test *t, bool is_on, const char *setting)
{
    if (!is_on)
        test_skip(t, setting);
    return is_on;
}

static size_t number_of(const void *page)
{
    return ((uintptr_t)page - port_direct_base()) / PAGE_BYTES;
}

static NOINLINE void *alloc_here(size_t pages)
{
    void *run = page_alloc(pages, 0);

    __asm__ volatile("" : "+r"(run)); /* no tail call: this function is in the backtrace */
    return run;
}

static NOINLINE void free_here(void *run, size_t pages)
{
    page_free(run, pages);
    __asm__ volatile("");
}

TEST(page_debug, off_costs_no_memory)
{
    EXPECT(t, page_debug.is_on == (page_debug.has_poison || page_debug.has_owners));
    EXPECT(t, page_debug.has_owners == (page_owner_bytes() > 0));
}

TEST(page_debug, nothing_goes_by_windows)
{
    if (!needs(t, page_debug_is_on(), "needs page_poison=1 or page_owner=1"))
        return;

    void *run = page_alloc(3, 0);

    EXPECT(t, run != NULL && page_stats().window_pages == 0);
    page_free(run, 3);
    EXPECT(t, page_stats().window_pages == 0);
}

TEST(page_debug, free_pages_hold_the_pattern)
{
    if (!needs(t, page_debug.has_poison, "needs page_poison=1"))
        return;

    static const size_t lengths[] = {1, 2, 16, 600};

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        uint64_t *run = page_alloc(lengths[i], PAGE_ZERO);

        REQUIRE(t, run != NULL);
        EXPECT(t, run[0] == 0 && run[lengths[i] * PAGE_BYTES / sizeof(*run) - 1] == 0);
        page_free(run, lengths[i]);
        page_poison_verify(number_of(run), lengths[i]);
    }
}

static void write_after_free(void *arg)
{
    uint8_t *run = page_alloc(4, 0);
    void *next;

    (void)arg;
    page_free(run, 4);
    run[2 * PAGE_BYTES + 801] = 7;
    do {
        next = page_alloc(4, 0);
    } while (next != run && next != NULL);
}

TEST(page_debug, write_after_free_is_found)
{
    if (needs(t, page_debug.has_poison, "needs page_poison=1"))
        EXPECT_PANIC(t, write_after_free, NULL,
                     "offset 800: found 0xf4eef4eef4ee07ee, expected 0xf4eef4eef4eef4ee");
}

static void free_twice(void *arg)
{
    free_here(arg, 3);
    free_here(arg, 3);
}

TEST(page_debug, invalid_free_shows_the_owner)
{
    if (!needs(t, page_debug.has_owners, "needs page_owner=1"))
        return;

    void *run = alloc_here(3);

    REQUIRE(t, run != NULL);
    EXPECT_PANIC(t, free_twice, run, "freed by:");
    free_here(run, 3);
}

static const char *page_command(const void *page)
{
    char line[40];

    format_string(line, sizeof(line), "page %p", page);
    capture_begin();
    command_run_line(line);
    return capture_end();
}

TEST(page_debug, page_command_shows_the_owner)
{
    if (!needs(t, page_debug.has_owners, "needs page_owner=1"))
        return;

    char *run = alloc_here(3);

    REQUIRE(t, run != NULL);

    const char *said = page_command(run + PAGE_BYTES);

    EXPECT(t,
           strstr(said, "page 1 of a run of 3") != NULL && strstr(said, "allocated by:") != NULL);
    EXPECT(t, strstr(said, "alloc_here") != NULL && strstr(said, "freed by:") == NULL);
    free_here(run, 3);
    said = page_command(run + PAGE_BYTES);
    EXPECT(t, strstr(said, "free") != NULL && strstr(said, "freed by:") != NULL);
    EXPECT(t, strstr(said, "free_here") != NULL);
}

/* ---- `page` and `map`, whatever the settings ---- */

TEST(page_view, says_what_a_page_is)
{
    char *run = page_alloc(20, 0);

    REQUIRE(t, run != NULL);
    for (size_t i = 0; i < 20; i++) {
        struct page_view view = page_view(number_of(run) + i);

        EXPECT(t, view.state == PAGE_TAKEN && view.first == number_of(run) && view.pages == 20);
    }
    page_free(run, 20);
    page_drain_all();
    EXPECT(t, page_view(number_of(run)).state == PAGE_FREE);
    EXPECT(t, page_view(page_chunk_limit() * CHUNK_PAGES).state == PAGE_ABSENT);
    EXPECT(t, page_view(0).state == PAGE_ABSENT); /* the first MiB is nobody's */
}

TEST(page_view, knows_windows)
{
    if (page_debug_is_on()) {
        test_skip(t, "no windows");
        return;
    }

    unsigned long irq_state = port_irq_save();
    void *page = page_alloc(1, 0);

    page_free(page, 1);

    struct page_view view = page_view(number_of(page));

    EXPECT(t, view.state == PAGE_IN_WINDOW && view.cpu == port_cpu_id());
    port_irq_restore(irq_state);
}

/* What went out on the fast path a moment ago, and came back so. */
TEST(page_view, sees_the_fast_paths)
{
    unsigned long irq_state = port_irq_save();
    size_t lengths[] = {1, 3, 1, 3, 15}, taken = 0;
    char *runs[ARRAY_COUNT(lengths)];
    struct page_counts before, after;

    before = page_count_chunks(0, page_chunk_limit());
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        runs[i] = page_alloc(lengths[i], 0);
        taken += lengths[i];
    }
    after = page_count_chunks(0, page_chunk_limit());
    EXPECT(t, after.free == before.free - taken);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        for (size_t j = 0; j < lengths[i]; j++) {
            struct page_view view = page_view(number_of(runs[i]) + j);

            EXPECT(t, view.state == PAGE_TAKEN);
            EXPECT(t, view.first == number_of(runs[i]) && view.pages == lengths[i]);
        }
    page_free(runs[1], 3);
    EXPECT(t, page_view(number_of(runs[1]) + 2).state != PAGE_TAKEN);
    EXPECT(t, page_view(number_of(runs[2])).pages == 1);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        if (i != 1)
            page_free(runs[i], lengths[i]);
    after = page_count_chunks(0, page_chunk_limit());
    EXPECT(t, after.free == before.free);
    port_irq_restore(irq_state);
}

/* A run over several blocks, next to one that the window holds. */
TEST(page_view, knows_long_runs)
{
    char *run = page_alloc_aligned(200, 64, 0, 0);

    REQUIRE(t, run != NULL);
    for (size_t i = 0; i < 200; i += 199 / 3) {
        struct page_view view = page_view(number_of(run) + i);

        EXPECT(t, view.first == number_of(run) && view.pages == 200);
    }
    page_free(run, 200);
}

TEST(page_view, counts_chunks)
{
    char *run = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    REQUIRE(t, run != NULL);

    size_t chunk = number_of(run) / CHUNK_PAGES;
    struct page_counts counts = page_count_chunks(chunk, 1);

    EXPECT(t, counts.present == CHUNK_PAGES && counts.free == 0 && counts.zero == 0);
    page_free(run, CHUNK_PAGES);
    counts = page_count_chunks(chunk, 1);
    EXPECT(t, counts.present == CHUNK_PAGES && counts.free == CHUNK_PAGES);
    counts = page_count_chunks(0, page_chunk_limit());
    EXPECT(t, counts.present == page_stats().ram_pages && counts.free == page_free_count());
}

/* What `map` has drawn for a chunk on a machine of one chunk per letter; 0: not found. */
static char map_letter_of(const char *said, size_t chunk)
{
    char address[24];

    format_string(address, sizeof(address), "  %012lx  ", chunk / 64 * 64 * CHUNK_BYTES);

    const char *row = strstr(said, address);

    return row == NULL ? 0 : row[strlen(address) + chunk % 64];
}

static const char *map_command(void)
{
    static char line[8];

    memcpy(line, "map", 4);
    capture_begin();
    command_run_line(line);
    return capture_end();
}

TEST(page_view, map_draws_chunks)
{
    char *run = page_alloc_aligned(CHUNK_PAGES, CHUNK_PAGES, 0, 0);

    REQUIRE(t, run != NULL);
    if (page_chunk_limit() > 4096) {
        test_skip(t, "a letter is several chunks");
        page_free(run, CHUNK_PAGES);
        return;
    }

    size_t chunk = number_of(run) / CHUNK_PAGES;

    EXPECT(t, map_letter_of(map_command(), chunk) == '#');
    page_free(run, CHUNK_PAGES);
    EXPECT(t, map_letter_of(map_command(), chunk) == '.');
    run = page_alloc_aligned(CHUNK_PAGES * 7 / 10, CHUNK_PAGES, 0, 0);
    REQUIRE(t, run != NULL);
    chunk = number_of(run) / CHUNK_PAGES;
    EXPECT(t, map_letter_of(map_command(), chunk) >= '6');
    page_free(run, CHUNK_PAGES * 7 / 10);
}
