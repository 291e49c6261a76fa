/*
 * The collector's settings, each by what it does.  What is read but once is looked at as it stands: tests/suites.sh
 * runs these tests under several command lines.
 */
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "mm/gc/gc_impl.h"
#include "mm/mm.h"
#include "tests/kernel/capture.h"
#include "tests/mm/gc/gc_test.h"

/* ---- gctrace ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * Where `text` goes on behind `pattern`, NULL if it begins otherwise.  In the pattern # is a number; ~ is
 * one as Go prints milliseconds: whole from 10 on, else of at most two digits that count, and three behind
 * the point.
 */
static const char *match(const char *text, const char *pattern)
{
    for (; *pattern != '\0'; pattern++) {
        unsigned whole = 0, behind = 0;

        if (*pattern != '#' && *pattern != '~') {
            if (*text++ != *pattern)
                return NULL;
            continue;
        }
        for (; is_digit(*text); text++)
            whole++;
        if (whole == 0)
            return NULL;
        if (*pattern == '~' && *text == '.') {
            for (text++; is_digit(*text); text++)
                behind++;
            if (whole > 1 || behind == 0 || behind > 3)
                return NULL;
        }
    }
    return text;
}

/* What a cycle says under gctrace=level. */
static const char *trace_of_cycle(unsigned level, void (*collect)(void))
{
    unsigned kept = settings.gctrace;
    const char *said;

    capture_begin();
    settings.gctrace = level;
    collect();
    settings.gctrace = kept;
    said = capture_end();
    return said;
}

static const char trace_line[] =
    "gc # @#.#s #%: ~+~+~ ms clock, ~+~/~/~+~ ms cpu, #->#-># MB, # MB goal, # MB stacks, "
    "# MB globals, # P";

static void trace_body(struct test *t)
{
    const char *said = trace_of_cycle(0, gc_collect), *end;
    char number[40];

    EXPECT(t, said[0] == '\0');
    said = trace_of_cycle(1, gc_collect);
    REQUIRE(t, (end = match(said, trace_line)) != NULL);
    EXPECT(t, strcmp(end, " (forced)\n") == 0);
    format_string(number, sizeof(number), "gc %lu @", gc_stats().cycles);
    EXPECT(t, strncmp(said, number, strlen(number)) == 0);
    format_string(number, sizeof(number), ", %u P (", port_cpu_count());
    EXPECT(t, strstr(said, number) != NULL);
}

TEST(gc_settings, gctrace_is_gos_line)
{
    gc_test_run(t, trace_body);
}

static void allocate_until_it_collects(void)
{
    uint64_t cycles = gc_stats().cycles;

    for (unsigned i = 0; i < 3000 && gc_stats().cycles == cycles; i++)
        gc_test_tree(10, 1);
}

static void unforced_body(struct test *t)
{
    const char *said = trace_of_cycle(1, allocate_until_it_collects), *end;

    if (settings.gogc == 0) {
        EXPECT(t, said[0] == '\0');
        return;
    }
    REQUIRE(t, (end = match(said, trace_line)) != NULL);
    EXPECT(t, *end == '\n'); /* nobody has asked for it */
}

TEST(gc_settings, gctrace_says_what_was_not_forced)
{
    gc_test_run(t, unforced_body);
}

static void held_body(struct test *t)
{
    const char *said = trace_of_cycle(2, gc_collect), *end = match(said, trace_line);

    REQUIRE(t, end != NULL && (end = strchr(end, '\n')) != NULL);
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        char line[60];

        format_string(line, sizeof(line), "\ngc: CPU %u was held for ~ ms at most", cpu);
        for (char *at = line + 9; is_digit(*at); at++)
            *at = '#';
        end = match(end, line);
        REQUIRE(t, end != NULL);
    }
    EXPECT(t, strcmp(end, "\n") == 0);
}

TEST(gc_settings, gctrace_2_says_how_long_each_cpu_was_held)
{
    gc_test_run(t, held_body);
}

/* ---- gogc, gcminheap ---- */

static void goal_body(struct test *t)
{
    uint64_t gogc = settings.gogc, floor = settings.gcminheap_bytes * gogc / 100;
    struct gc_stats stats;

    gc_collect_idle();
    stats = gc_stats();
    if (gogc == 0) {
        EXPECT(t, stats.goal_bytes > GIB * KIB);
        return;
    }
    EXPECT(t, stats.live_bytes < MIB);
    EXPECT(t, stats.goal_bytes >= floor);
    EXPECT(t, stats.goal_bytes <= MAX(floor, 2 * MIB * (100 + gogc) / 100));

    gc_store(&gc_test_roots[0], gc_test_tree(17, 1)); /* 8 MiB */
    gc_collect();
    stats = gc_stats();
    EXPECT(t, stats.live_bytes >= 8 * MIB - 64 * KIB && stats.live_bytes < 10 * MIB);
    EXPECT(t, stats.goal_bytes >= MAX(floor, stats.live_bytes * (100 + gogc) / 100));
    EXPECT(t, stats.goal_bytes <= MAX(floor, (stats.live_bytes + MIB) * (100 + gogc) / 100 + MIB));
}

TEST(gc_settings, gogc_and_gcminheap_are_the_goal)
{
    gc_test_run(t, goal_body);
}

/* ---- gcassist ---- */

static uint64_t assist_ns;

/* On the collector's thread, which is urgent: on a single CPU nobody else marks. */
static void allocate_much(void *unused)
{
    uint64_t before = gc_stats().assist_ns;

    (void)unused;
    for (unsigned i = 0; i < 50000; i++)
        gc_test_node(NULL, NULL, i);
    assist_ns = gc_stats().assist_ns - before;
}

static void assist_body(struct test *t)
{
    unsigned kept = settings.gcassist_us;

    gc_store(&gc_test_roots[0], gc_test_tree(17, 1));
    settings.gcassist_us = 0;
    gc_collect_during(allocate_much, NULL);
    EXPECT(t, assist_ns == 0);
    settings.gcassist_us = 100000;
    gc_collect_during(allocate_much, NULL);
    EXPECT(t, assist_ns > 0 || port_cpu_count() > 1 || settings.gogc == 0);
    settings.gcassist_us = kept;
}

TEST(gc_settings, gcassist_is_what_allocation_marks)
{
    if (settings.gcstoptheworld != 0)
        test_skip(t, "the world is stopped while it marks");
    else
        gc_test_run(t, assist_body);
}

/* ---- clobberfree ---- */

#define CLOBBER_WORDS 8u

static uintptr_t clobbered; /* inverted */

/* Two in one span, one of which stays; the other is full of 5s. */
static NOINLINE void make_two(void)
{
    uint64_t *stays = gc_alloc_conservative(CLOBBER_WORDS * 8), *goes;

    do {
        goes = gc_alloc_conservative(CLOBBER_WORDS * 8);
    } while (span_of(goes) != span_of(stays));
    for (unsigned i = 0; i < CLOBBER_WORDS; i++)
        stays[i] = goes[i] = 5;
    clobbered = ~(uintptr_t)goes;
    gc_store_word((void *_Atomic *)&gc_test_roots[0], stays);
}

static bool holds(uint64_t value)
{
    const uint64_t *words = (const uint64_t *)~clobbered;

    for (unsigned i = 0; i < CLOBBER_WORDS; i++) {
        if (words[i] != value)
            return false;
    }
    return true;
}

static void clobber_body(struct test *t)
{
    make_two();
    EXPECT(t, holds(5));
    gc_collect_idle();
    EXPECT(t, holds(settings.clobberfree ? GC_CLOBBER : 5));
    make_two();
    gc_free((void *)~clobbered);
    EXPECT(t, holds(settings.clobberfree ? GC_CLOBBER : 5));
}

TEST(gc_settings, clobberfree_writes_to_what_is_freed)
{
    gc_test_run(t, clobber_body);
}

/* ---- gcstoptheworld ---- */

static void stops_body(struct test *t)
{
    struct gc_stats stats;

    gc_store(&gc_test_roots[0], gc_test_tree(10, 1));
    gc_collect();
    stats = gc_stats();
    EXPECT(t, stats.cycles > 0);
    EXPECT(t, stats.world_stops == (settings.gcstoptheworld != 0 ? stats.cycles : 0));
    EXPECT(t, stats.hold_max_ns != 0 || settings.gcstoptheworld != 0);
    EXPECT(t, stats.hold_p99_ns <= stats.hold_max_ns);
}

TEST(gc_settings, gcstoptheworld_is_the_only_thing_that_stops_it)
{
    gc_test_run(t, stops_body);
}

/* ---- gccheckmark ---- */

static void collect_what_is_broken(void *unused)
{
    (void)unused;
    atomic_fetch_add(&gc_heap.freed, 1);
    settings.gccheckmark = 1;
    gc_collect();
}

TEST(gc_settings, gccheckmark_checks_the_heap)
{
    if (port_cpu_count() != 1)
        test_skip(t, "of a forked child one CPU lives, which is not enough for a cycle");
    else
        EXPECT_PANIC(t, collect_what_is_broken, NULL, "gc_check: G7 broken");
}
