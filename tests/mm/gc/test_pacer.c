/* The pacer's arithmetic, figure by figure.  Whole cycles: test_pacer_cycles.c. */
#include "mm/gc/pacer.h"
#include "tests/test.h"

#define CPUS 4u

static const struct gc_pacer_settings usual = {
    .cpus = CPUS,
    .gogc = GC_PACER_GOGC,
    .min_heap_bytes = GC_PACER_MIN_HEAP,
    .limit_bytes = GC_PACER_NONE,
};

static struct gc_pacer pacer_with(unsigned gogc, uint64_t limit_bytes)
{
    struct gc_pacer_settings settings = usual;
    struct gc_pacer pacer;

    settings.gogc = gogc;
    settings.limit_bytes = limit_bytes;
    gc_pacer_init(&pacer, &settings);
    return pacer;
}

/*
 * A cycle over `marked` bytes, all with pointers, in which mutators allocate `allocated`: 1 ms, and
 * the workers had their quarter.
 */
static void cycle(struct gc_pacer *pacer, uint64_t marked, uint64_t allocated)
{
    struct gc_pacer_start start = {.live_bytes = marked, .scannable_bytes = marked};
    struct gc_pacer_mark mark = {
        .marked_bytes = marked,
        .live_bytes = marked + allocated,
        .heap_work_bytes = marked,
        .wall_ns = 1000000,
        .worker_ns = 1000000,
    };

    gc_pacer_start_mark(pacer, &start);
    gc_pacer_end_mark(pacer, &mark);
}

/* The same, without a sample of speeds, with stacks and globals. */
static void forced_cycle(struct gc_pacer *pacer, uint64_t marked, uint64_t stacks, uint64_t globals)
{
    struct gc_pacer_start start = {
        .live_bytes = marked,
        .scannable_bytes = marked,
        .stack_bytes = stacks,
        .global_bytes = globals,
    };
    struct gc_pacer_mark mark = {
        .marked_bytes = marked,
        .live_bytes = marked,
        .heap_work_bytes = marked,
        .stack_work_bytes = stacks,
        .global_work_bytes = globals,
        .is_forced = true,
    };

    gc_pacer_start_mark(pacer, &start);
    gc_pacer_end_mark(pacer, &mark);
}

static bool is_about(uint64_t value, uint64_t expected, uint64_t error)
{
    return value + error >= expected && value <= expected + error;
}

/* Whether ratio is `work` over `bytes`, rounded up or one more. */
static bool is_ratio(uint64_t ratio, uint64_t work, uint64_t bytes)
{
    unsigned __int128 whole = (unsigned __int128)work * GC_PACER_ONE;

    return (unsigned __int128)ratio * bytes >= whole &&
           (unsigned __int128)(ratio - 1) * bytes <= whole;
}

TEST(gc_pacer, the_goal_is_what_lives_and_gogc_percent)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);

    EXPECT(t, pacer.goal_bytes == 4 * MIB);
    forced_cycle(&pacer, 1 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 4 * MIB);
    forced_cycle(&pacer, 100 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 200 * MIB);
    forced_cycle(&pacer, 100 * MIB, 30 * MIB, 20 * MIB);
    EXPECT(t, pacer.goal_bytes == 250 * MIB);

    pacer = pacer_with(50, GC_PACER_NONE);
    EXPECT(t, pacer.goal_bytes == 2 * MIB);
    forced_cycle(&pacer, 100 * MIB, 30 * MIB, 20 * MIB);
    EXPECT(t, pacer.goal_bytes == 175 * MIB);

    pacer = pacer_with(1000, GC_PACER_NONE);
    EXPECT(t, pacer.goal_bytes == 40 * MIB);
    forced_cycle(&pacer, 100 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 1100 * MIB);
}

TEST(gc_pacer, a_goal_leaves_room_to_allocate)
{
    struct gc_pacer pacer = pacer_with(0, GC_PACER_NONE);

    forced_cycle(&pacer, 100 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 101 * MIB);
    pacer = pacer_with(100, 50 * MIB);
    forced_cycle(&pacer, 100 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 101 * MIB);
    EXPECT(t, pacer.trigger_bytes > 100 * MIB && pacer.trigger_bytes < 101 * MIB);
}

TEST(gc_pacer, off_has_no_goal_and_nobody_owes)
{
    struct gc_pacer pacer = pacer_with(GC_PACER_OFF, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 100 * MIB, .scannable_bytes = 100 * MIB};
    struct gc_debt debt = {0};

    cycle(&pacer, 100 * MIB, 10 * MIB);
    EXPECT(t, pacer.goal_bytes == GC_PACER_NONE);
    EXPECT(t, pacer.trigger_bytes == GC_PACER_NONE);
    EXPECT(t, gc_pacer_start_mark(&pacer, &start) == 0);
    EXPECT(t, gc_debt_charge(&debt, 1 * GIB));
    EXPECT(t, gc_debt_work(&debt, pacer.assist_ratio) == 0);
    gc_debt_pay(&debt, pacer.assist_ratio, 1 * MIB);
    EXPECT(t, debt.bytes == (int64_t)(1 * GIB));

    /* A sweep without an end to reach is left to the background: a page for 4 GiB. */
    gc_pacer_sweep_start(&pacer, 100 * MIB, 1000);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 3 * GIB) == 0);
}

TEST(gc_pacer, the_limit_leaves_what_others_do_not_use)
{
    struct gc_pacer pacer = pacer_with(GC_PACER_OFF, 1000 * MIB);

    EXPECT(t, pacer.goal_bytes == 1000 * MIB - 1000 * MIB / 100 * 3);
    gc_pacer_set_other(&pacer, 900 * MIB);
    EXPECT(t, pacer.goal_bytes == 100 * MIB - 100 * MIB / 100 * 3);
    gc_pacer_set_other(&pacer, 990 * MIB);
    EXPECT(t, pacer.goal_bytes == 9 * MIB); /* headroom of 1 MiB at least */
    gc_pacer_set_other(&pacer, 2000 * MIB);
    EXPECT(t, pacer.goal_bytes == 1 * MIB);

    /* The lower of the two goals. */
    pacer = pacer_with(100, 1000 * MIB);
    EXPECT(t, pacer.goal_bytes == 4 * MIB);
    forced_cycle(&pacer, 600 * MIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == 1000 * MIB - 1000 * MIB / 100 * 3);
}

TEST(gc_pacer, the_trigger_keeps_to_its_part_of_the_way)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);

    EXPECT(t, pacer.trigger_bytes == 4 * MIB / 64 * 45); /* nothing known: as early as may be */
    cycle(&pacer, 64 * MIB, 0);
    EXPECT(t, pacer.trigger_bytes == 64 * MIB + 61 * MIB);
    cycle(&pacer, 64 * MIB, 64 * MIB);
    EXPECT(t, pacer.trigger_bytes == 64 * MIB + 45 * MIB);

    /* Of a large heap, 4 MiB ahead of the goal is late enough. */
    pacer = pacer_with(100, GC_PACER_NONE);
    cycle(&pacer, 6400 * MIB, 0);
    EXPECT(t, pacer.trigger_bytes == 12796 * MIB);
}

/* What mutators allocate while a mark is on, they do in the next one too; and an eighth more. */
TEST(gc_pacer, the_runway_is_the_last_marks_and_an_eighth)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);

    cycle(&pacer, 256 * MIB, 32 * MIB);
    EXPECT(t, is_about(pacer.runway_bytes, 36 * MIB, 1024));
    EXPECT(t, pacer.trigger_bytes == 512 * MIB - pacer.runway_bytes);
    EXPECT(t, pacer.last.util_permille == 250);
    EXPECT(t, is_about(pacer.last.cons_mark, GC_PACER_CONS_ONE / 24, 64)); /* 1/8 by 3 CPUs to 1 */

    /* Half of the work takes half of the runway, at the same speeds. */
    cycle(&pacer, 128 * MIB, 16 * MIB);
    EXPECT(t, is_about(pacer.runway_bytes, 18 * MIB, 1024));
}

TEST(gc_pacer, the_fastest_of_five_cycles_counts)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);

    cycle(&pacer, 256 * MIB, 32 * MIB);
    cycle(&pacer, 256 * MIB, 48 * MIB);
    for (unsigned i = 1; i < GC_PACER_SAMPLES; i++) {
        cycle(&pacer, 256 * MIB, 16 * MIB);
        EXPECT(t, is_about(pacer.runway_bytes, 54 * MIB, 1024));
    }
    cycle(&pacer, 256 * MIB, 16 * MIB);
    EXPECT(t, is_about(pacer.runway_bytes, 18 * MIB, 1024));

    /* Who asked for a cycle waited meanwhile: says nothing. */
    for (unsigned i = 0; i < GC_PACER_SAMPLES; i++)
        forced_cycle(&pacer, 256 * MIB, 0, 0);
    EXPECT(t, is_about(pacer.runway_bytes, 18 * MIB, 1024));
}

TEST(gc_pacer, idle_cpus_are_not_counted_on)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 256 * MIB, .scannable_bytes = 256 * MIB};
    struct gc_pacer_mark mark = {
        .marked_bytes = 256 * MIB,
        .live_bytes = 272 * MIB,
        .heap_work_bytes = 256 * MIB,
        .wall_ns = 1000000,
        .worker_ns = 1000000,
        .idle_ns = 1000000,
    };

    /* Two CPUs marked for 1 ms; one alone needs two, in which mutators take 32 MiB. */
    gc_pacer_start_mark(&pacer, &start);
    gc_pacer_end_mark(&pacer, &mark);
    EXPECT(t, is_about(pacer.runway_bytes, 36 * MIB, 1024));
    EXPECT(t, pacer.last.util_permille == 250);

    /* Assists mark as well, and take it from mutators: 2 CPUs each, so 16 MiB are 48 at 3 to 1. */
    pacer = pacer_with(100, GC_PACER_NONE);
    mark.assist_ns = mark.idle_ns;
    mark.idle_ns = 0;
    gc_pacer_start_mark(&pacer, &start);
    gc_pacer_end_mark(&pacer, &mark);
    EXPECT(t, is_about(pacer.runway_bytes, 54 * MIB, 1024));
    EXPECT(t, pacer.last.util_permille == 500);
}

TEST(gc_pacer, workers_are_a_quarter_of_the_cpus)
{
    static const struct {
        unsigned cpus, dedicated, fractional_permille;
    } table[] = {
        {1, 0, 250}, {2, 0, 250}, {3, 0, 250}, {4, 1, 0},  {5, 1, 0},  {6, 1, 83},
        {7, 2, 0},   {8, 2, 0},   {9, 2, 0},   {10, 3, 0}, {12, 3, 0}, {64, 16, 0},
    };

    for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
        struct gc_pacer_workers workers = gc_pacer_workers(table[i].cpus);

        EXPECT(t, workers.dedicated == table[i].dedicated);
        EXPECT(t, workers.fractional * 1000 / GC_PACER_ONE == table[i].fractional_permille);
    }
}

TEST(gc_pacer, a_byte_owes_its_share_of_the_work_left)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 180 * MIB, .scannable_bytes = 180 * MIB};

    cycle(&pacer, 100 * MIB, 10 * MIB);
    EXPECT(t, is_ratio(gc_pacer_start_mark(&pacer, &start), 100 * MIB, 20 * MIB));
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 190 * MIB, 80 * MIB), 20 * MIB, 10 * MIB));
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 190 * MIB, 100 * MIB), 1000, 10 * MIB));
}

/* The work of the last cycle is done and there is more: the goal moves, bytes owe what they did. */
TEST(gc_pacer, more_work_than_expected_moves_the_goal)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 180 * MIB, .scannable_bytes = 180 * MIB};
    const uint64_t goal = 180 * MIB + 20 * MIB * 180 / 100;

    cycle(&pacer, 100 * MIB, 10 * MIB);
    gc_pacer_start_mark(&pacer, &start);
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 200 * MIB, 100 * MIB + 1), 80 * MIB - 1,
                       goal - 200 * MIB));
    /* Past that too: a tenth more, and then no further. */
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, goal + 1, 150 * MIB), 30 * MIB, goal / 10 - 1));
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 300 * MIB, 150 * MIB), 30 * MIB, 1));

    /* gogc percent more, at most. */
    pacer = pacer_with(10, GC_PACER_NONE);
    cycle(&pacer, 10 * MIB, 1 * MIB);
    start.live_bytes = 10 * MIB + 512 * KIB;
    gc_pacer_start_mark(&pacer, &start);
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 11 * MIB, 11 * MIB), 169 * MIB, 11 * MIB / 10));
}

TEST(gc_pacer, no_work_moves_the_goal_past_the_limit)
{
    struct gc_pacer pacer = pacer_with(GC_PACER_OFF, 200 * MIB);
    struct gc_pacer_start start = {.live_bytes = 180 * MIB, .scannable_bytes = 180 * MIB};

    cycle(&pacer, 100 * MIB, 10 * MIB);
    gc_pacer_start_mark(&pacer, &start);
    EXPECT(t, pacer.mark_goal_bytes == 194 * MIB);
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 195 * MIB, 110 * MIB), 70 * MIB, 5 * MIB));
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 201 * MIB, 110 * MIB), 70 * MIB, 1));
}

TEST(gc_pacer, a_start_that_comes_late_has_some_way_left)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 300 * MIB, .scannable_bytes = 300 * MIB};

    cycle(&pacer, 100 * MIB, 10 * MIB);
    EXPECT(t, is_ratio(gc_pacer_start_mark(&pacer, &start), 100 * MIB, 64 * KIB));
}

TEST(gc_pacer, settings_count_for_a_mark_under_way)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_settings settings = usual;
    struct gc_pacer_start start = {.live_bytes = 180 * MIB, .scannable_bytes = 180 * MIB};

    cycle(&pacer, 100 * MIB, 10 * MIB);
    gc_pacer_start_mark(&pacer, &start);
    settings.gogc = 200;
    gc_pacer_set(&pacer, &settings);
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 180 * MIB, 0), 100 * MIB, 120 * MIB));
    settings.limit_bytes = 1000 * MIB;
    gc_pacer_set(&pacer, &settings);
    gc_pacer_set_other(&pacer, 800 * MIB);
    EXPECT(t, is_ratio(gc_pacer_revise(&pacer, 180 * MIB, 0), 100 * MIB, 14 * MIB));
}

TEST(gc_pacer, a_debt_is_paid_at_64_KiB_and_what_is_left_is_kept)
{
    const uint64_t ratio = 4 * GC_PACER_ONE;
    struct gc_debt debt = {0};

    EXPECT(t, gc_debt_charge(&debt, 16 * KIB - 1));
    EXPECT(t, gc_debt_work(&debt, ratio) == 0);
    gc_debt_charge(&debt, 1);
    EXPECT(t, gc_debt_work(&debt, ratio) == 64 * KIB);
    gc_debt_charge(&debt, 1 * MIB);
    EXPECT(t, gc_debt_work(&debt, ratio) == 4 * MIB + 64 * KIB);
    gc_debt_pay(&debt, ratio, 64 * KIB); /* all that its time allowed */
    EXPECT(t, gc_debt_work(&debt, ratio) == 4 * MIB);
    gc_debt_pay(&debt, ratio, 6 * MIB);
    EXPECT(t, gc_debt_work(&debt, ratio) == 0);
    EXPECT(t, !gc_debt_charge(&debt, 512 * KIB));
    EXPECT(t, gc_debt_charge(&debt, 1));
}

TEST(gc_pacer, sweeping_is_through_ahead_of_the_trigger)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);

    forced_cycle(&pacer, 64 * MIB, 0, 0); /* trigger: 109 MiB */
    gc_pacer_sweep_start(&pacer, 64 * MIB, 4400);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 60 * MIB) == 0);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 64 * MIB) == 0);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 86 * MIB) == 2200);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 108 * MIB - 64 * KIB) < 4400);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 108 * MIB) == 4400);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 64 * TIB) == 4400);

    /* Near the trigger: a quarter of the way is left. */
    gc_pacer_sweep_start(&pacer, 109 * MIB - 512 * KIB, 1000);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 109 * MIB - 129 * KIB) < 1000);
    EXPECT(t, gc_pacer_sweep_due(&pacer, 109 * MIB - 128 * KIB) == 1000);
    gc_pacer_sweep_start(&pacer, 110 * MIB, 1000); /* past it */
    EXPECT(t, gc_pacer_sweep_due(&pacer, 110 * MIB + PAGE_BYTES) == 1000);
}

/* 64 TiB of everything, to the last bit of a ratio. */
TEST(gc_pacer, all_of_memory_fits)
{
    struct gc_pacer pacer = pacer_with(100, GC_PACER_NONE);
    struct gc_pacer_start start = {.live_bytes = 64 * TIB, .scannable_bytes = 64 * TIB};
    struct gc_debt debt = {0};

    cycle(&pacer, 32 * TIB, 4 * TIB);
    EXPECT(t, pacer.goal_bytes == 64 * TIB);
    EXPECT(t, is_about(pacer.runway_bytes, 4 * TIB + 512 * GIB, 64 * MIB));
    gc_pacer_start_mark(&pacer, &start);
    EXPECT(t, gc_pacer_revise(&pacer, 64 * TIB, 0) == 32 * TIB / (64 * KIB) * GC_PACER_ONE + 1);
    pacer.mark_goal_bytes = pacer.hard_bytes = 64 * TIB - 1;
    EXPECT(t, gc_pacer_revise(&pacer, 64 * TIB, 0) == 64 * TIB * GC_PACER_ONE + 1);
    gc_debt_charge(&debt, 64 * TIB);
    EXPECT(t, gc_debt_work(&debt, pacer.assist_ratio) == 64 * TIB);
    gc_debt_pay(&debt, pacer.assist_ratio, 64 * TIB);
    EXPECT(t, debt.bytes >= (int64_t)(64 * TIB - 1)); /* that paid one byte */
}

/* What fits nowhere is the highest: no goal at all, and a runway as long as the way. */
TEST(gc_pacer, more_than_all_is_the_highest)
{
    struct gc_pacer pacer = pacer_with(GC_PACER_OFF - 1, GC_PACER_NONE);

    forced_cycle(&pacer, 64 * TIB, 0, 0);
    EXPECT(t, pacer.goal_bytes == GC_PACER_NONE);
    EXPECT(t, pacer.trigger_bytes == GC_PACER_NONE);
    pacer = pacer_with(100, GC_PACER_NONE);
    cycle(&pacer, 64, 64 * TIB);
    EXPECT(t, pacer.trigger_bytes == 64 + (4 * MIB - 64) / 64 * 45);
}
