/*
 * The pacer over simulated cycles: after 25 of them a mark takes 25 % of the CPUs within 1, and
 * ends with the heap within 5 % of its goal.
 *
 * Where that cannot hold, the tests say what does: in the first cycle of a step up, or while speeds
 * rise by more than an eighth from cycle to cycle, mutators assist; where mutators are so fast that
 * the way from 0.70 to the goal is too short, they assist always.
 */
#include "tests/mm/gc/pacer_sim.h"
#include "tests/test.h"

#define CYCLES 50u
#define WARM   25u /* cycles after which the bounds hold */

static struct sim sim;

static const struct sim_load usual = {
    .alloc_rate = 33 * KIB,
    .scan_rate = 1 * MIB,
    .stack_bytes = 8 * KIB,
    .global_bytes = 32 * KIB,
    .growth_permille = 1000,
    .scan_permille = 1000,
    .worker_permille = 1000,
};

/* What the cycles from WARM on came to. */
struct range {
    unsigned low, high;
};
struct outcome {
    struct range util, peak, way; /* permille, as in struct sim */
    uint64_t assist_bytes;
    bool is_swept; /* always, all cycles */
};

static void widen(struct range *range, unsigned value)
{
    range->low = MIN(range->low, value);
    range->high = MAX(range->high, value);
}

/* `vary` changes the load for a cycle; NULL: they are all alike. */
typedef void vary_fn(struct sim_load *load, unsigned cycle, uint64_t *state);

static struct outcome run(unsigned cpus, unsigned gogc, uint64_t limit_bytes, uint64_t alive_bytes,
                          const struct sim_load *load, vary_fn *vary, uint64_t seed)
{
    struct gc_pacer_settings settings = {cpus, gogc, GC_PACER_MIN_HEAP, limit_bytes};
    struct outcome outcome = {{~0u, 0}, {~0u, 0}, {~0u, 0}, 0, true};
    uint64_t state = random_start(seed, 0);

    sim_init(&sim, &settings, alive_bytes);
    for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
        struct sim_load now = *load;

        if (vary != NULL)
            vary(&now, cycle, &state);
        sim_cycle(&sim, &now);
        outcome.is_swept &= sim.is_swept;
        if (cycle < WARM)
            continue;
        widen(&outcome.util, sim.util_permille);
        widen(&outcome.peak, sim.peak_permille);
        widen(&outcome.way, sim.way_permille);
        outcome.assist_bytes += sim.assist_bytes;
    }
    return outcome;
}

static struct outcome run_usual(unsigned gogc, uint64_t alive_bytes, const struct sim_load *load,
                                vary_fn *vary)
{
    return run(8, gogc, GC_PACER_NONE, alive_bytes, load, vary, 1);
}

static bool is_within(struct range range, unsigned low, unsigned high)
{
    return range.low >= low && range.high <= high;
}

/* A quarter of the CPUs, within 1 %, at the goal, within 5 %. */
static void expect_on_target(struct test *t, const struct outcome *outcome)
{
    EXPECT(t, is_within(outcome->util, 240, 260));
    EXPECT(t, is_within(outcome->peak, 950, 1050));
    EXPECT(t, outcome->is_swept);
}

TEST(gc_pacer_cycles, steady)
{
    struct outcome outcome = run_usual(100, 50 * MIB, &usual, NULL);

    expect_on_target(t, &outcome);
    EXPECT(t, outcome.assist_bytes < 1 * MIB);     /* of 1,250 */
    EXPECT(t, is_within(outcome.peak, 985, 1005)); /* an eighth of the runway below */
}

TEST(gc_pacer_cycles, any_number_of_cpus)
{
    static const unsigned cpus[] = {1, 2, 3, 4, 6, 8, 12, 16, 64};

    for (unsigned i = 0; i < ARRAY_COUNT(cpus); i++) {
        struct outcome outcome = run(cpus[i], 100, GC_PACER_NONE, 50 * MIB, &usual, NULL, 1);

        expect_on_target(t, &outcome);
    }

    /* Whole workers, where 25 % are none: the runway is made for what there is. */
    struct outcome outcome = run(5, 100, GC_PACER_NONE, 50 * MIB, &usual, NULL, 1);

    EXPECT(t, is_within(outcome.util, 190, 210));
    EXPECT(t, is_within(outcome.peak, 985, 1005));
    outcome = run(7, 100, GC_PACER_NONE, 50 * MIB, &usual, NULL, 1);
    EXPECT(t, is_within(outcome.util, 276, 296));
    EXPECT(t, is_within(outcome.peak, 985, 1005));
}

TEST(gc_pacer_cycles, small_and_huge_heaps)
{
    static const uint64_t alive[] = {1 * MIB, 2 * MIB, 4 * MIB, 16 * MIB,
                                     1 * GIB, 1 * TIB, 31 * TIB};

    for (unsigned i = 0; i < ARRAY_COUNT(alive); i++) {
        struct outcome outcome = run_usual(100, alive[i], &usual, NULL);

        expect_on_target(t, &outcome);
    }
}

TEST(gc_pacer_cycles, slow_mutators_and_few_pointers)
{
    struct sim_load load = usual;
    struct outcome outcome;

    load.alloc_rate = 1 * KIB;
    outcome = run_usual(100, 50 * MIB, &load, NULL);
    expect_on_target(t, &outcome);
    EXPECT(t, is_within(outcome.way, 945, 955)); /* as late as may be */

    load.alloc_rate = 660 * KIB;
    load.scan_permille = 100;
    outcome = run_usual(100, 50 * MIB, &load, NULL);
    expect_on_target(t, &outcome);
}

TEST(gc_pacer_cycles, large_stacks_and_large_roots)
{
    struct sim_load load = usual;
    struct outcome outcome;

    load.alloc_rate = 132 * KIB;
    load.stack_bytes = 128 * MIB;
    outcome = run_usual(100, 50 * MIB, &load, NULL);
    expect_on_target(t, &outcome);

    load.stack_bytes = 8 * KIB;
    load.global_bytes = 128 * MIB;
    outcome = run_usual(100, 50 * MIB, &load, NULL);
    expect_on_target(t, &outcome);
}

TEST(gc_pacer_cycles, any_gogc)
{
    static const struct {
        unsigned gogc, alloc_rate;
    } table[] = {
        {10, 10 * KIB}, {50, 33 * KIB}, {200, 100 * KIB}, {1000, 330 * KIB}, {1500, 33 * KIB}};

    for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
        struct sim_load load = usual;

        load.alloc_rate = table[i].alloc_rate;

        struct outcome outcome = run_usual(table[i].gogc, 50 * MIB, &load, NULL);

        expect_on_target(t, &outcome);
    }
}

TEST(gc_pacer_cycles, off_with_a_limit)
{
    struct sim_load load = usual;

    load.alloc_rate = 132 * KIB;

    struct outcome outcome = run(8, GC_PACER_OFF, 512 * MIB, 50 * MIB, &load, NULL, 1);

    expect_on_target(t, &outcome);
    EXPECT(t, sim.peak_bytes <= 512 * MIB);
    EXPECT(t, sim.peak_bytes >= 480 * MIB);
}

static void grow(struct sim_load *load, unsigned cycle, uint64_t *state)
{
    (void)state;
    load->growth_permille = cycle < 12 ? 2000 - cycle * 83 : 1000;
}

TEST(gc_pacer_cycles, a_heap_that_grows_and_stays)
{
    struct outcome outcome = run_usual(100, 1 * MIB, &usual, grow);

    expect_on_target(t, &outcome);
    EXPECT(t, sim.alive_bytes > 100 * MIB);
}

/* The eighth that the runway has to spare. */
static void jitter(struct sim_load *load, unsigned cycle, uint64_t *state)
{
    (void)cycle;
    load->alloc_rate = load->alloc_rate * (900 + random_next(state) % 200) / 1000;
}

TEST(gc_pacer_cycles, jitter_of_a_tenth)
{
    struct outcome outcome = run(8, 100, GC_PACER_NONE, 50 * MIB, &usual, jitter, test_seed(t));

    expect_on_target(t, &outcome);
}

static void step(struct sim_load *load, unsigned cycle, uint64_t *state)
{
    (void)state;
    if (cycle >= 10)
        load->alloc_rate *= 2;
    if (cycle == 40)
        load->alloc_rate *= 2;
}

/* A step is over after one cycle; in that one, mutators assist and hold the heap at the goal. */
TEST(gc_pacer_cycles, a_step_is_followed_at_once)
{
    struct outcome outcome = run_usual(100, 50 * MIB, &usual, step);

    EXPECT(t, is_within(outcome.util, 240, 400));
    EXPECT(t, outcome.util.high > 300);
    EXPECT(t, outcome.peak.high <= 1010);
    EXPECT(t, outcome.is_swept);

    struct gc_pacer_settings settings = {8, 100, GC_PACER_MIN_HEAP, GC_PACER_NONE};

    sim_init(&sim, &settings, 50 * MIB);
    for (unsigned cycle = 0; cycle < 30; cycle++) {
        struct sim_load load = usual;

        step(&load, cycle, NULL);
        sim_cycle(&sim, &load);
        EXPECT(t, cycle == 10 ? sim.util_permille > 300 : sim.util_permille <= 260);
    }
}

/* Up and down by half, over 16 cycles: up to 27 % from one to the next. */
static void oscillate(struct sim_load *load, unsigned cycle, uint64_t *state)
{
    static const unsigned percent[] = {100, 120, 137, 145, 150, 145, 137, 120,
                                       100, 80,  63,  55,  50,  55,  63,  80};

    (void)state;
    load->alloc_rate = load->alloc_rate * percent[cycle % ARRAY_COUNT(percent)] / 100;
}

TEST(gc_pacer_cycles, oscillation)
{
    struct outcome outcome = run_usual(100, 50 * MIB, &usual, oscillate);

    EXPECT(t, is_within(outcome.util, 240, 280));
    EXPECT(t, is_within(outcome.peak, 950, 1050));
    EXPECT(t, outcome.is_swept);
}

/* 30 % of the way is too short for the workers: mutators do the rest, and the heap stays below. */
TEST(gc_pacer_cycles, mutators_that_are_too_fast_assist)
{
    struct sim_load load = usual;

    load.alloc_rate = 300 * KIB;

    struct outcome outcome = run_usual(100, 50 * MIB, &load, NULL);

    EXPECT(t, is_within(outcome.util, 350, 450));
    EXPECT(t, is_within(outcome.peak, 985, 1010));
    EXPECT(t, is_within(outcome.way, 700, 704));
    EXPECT(t, outcome.is_swept);

    /* Cut short, they leave debts, which are paid by the next ones. */
    load.assist_max_ns = 20000;
    outcome = run_usual(100, 50 * MIB, &load, NULL);
    EXPECT(t, is_within(outcome.util, 350, 450));
    EXPECT(t, is_within(outcome.peak, 985, 1010));
}

/* What lives does not fit below the limit: cycle after cycle, a MiB apart. */
TEST(gc_pacer_cycles, a_limit_below_what_lives)
{
    struct outcome outcome = run(8, GC_PACER_OFF, 40 * MIB, 50 * MIB, &usual, NULL, 1);

    EXPECT(t, is_within(outcome.peak, 985, 1010));
    EXPECT(t, sim.peak_bytes <= 53 * MIB);
}

/* Workers that get less than they are to have, always: the runway is longer by as much. */
TEST(gc_pacer_cycles, workers_that_lag)
{
    struct sim_load load = usual;

    load.worker_permille = 800;

    struct outcome outcome = run_usual(100, 50 * MIB, &load, NULL);

    EXPECT(t, is_within(outcome.util, 190, 205));
    EXPECT(t, is_within(outcome.peak, 985, 1005));
}

static void idle_until_30(struct sim_load *load, unsigned cycle, uint64_t *state)
{
    (void)state;
    if (cycle < 30)
        load->idle_permille = 250;
    else
        load->alloc_rate = load->alloc_rate * 2 / 3; /* by three CPUs in place of two */
}

/* CPUs that idle mark; when they get other work, nobody has to assist for that. */
TEST(gc_pacer_cycles, idle_cpus_that_get_busy)
{
    struct outcome outcome = run_usual(100, 50 * MIB, &usual, idle_until_30);

    expect_on_target(t, &outcome);
}
