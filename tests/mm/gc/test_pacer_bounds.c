/* The pacer over any figures at all: what holds of each, and of what is owed. */
#include "mm/gc/pacer.h"
#include "tests/test.h"

/* By any ratio: who does what he owes owes nothing any more. */
TEST(gc_pacer, the_work_owed_pays_the_debt)
{
    uint64_t state = test_seed(t);

    for (unsigned round = 0; round < 20000; round++) {
        uint64_t ratio = (random_next(&state) >> random_next(&state) % 62 >> 2) + 1;
        uint64_t bytes = (random_next(&state) >> random_next(&state) % 46 >> 18) + 1;
        struct gc_debt debt = {0};

        gc_debt_charge(&debt, bytes);

        uint64_t work = gc_debt_work(&debt, ratio);

        REQUIRE(t, work == 0 || work >= 64 * KIB);
        REQUIRE(t, work <= MM_PHYS_BYTES);
        if (work == 0 || work == MM_PHYS_BYTES)
            continue;
        gc_debt_pay(&debt, ratio, work);
        REQUIRE(t, debt.bytes <= 0);
        REQUIRE(t, (uint64_t)-debt.bytes <= GC_PACER_ONE / ratio + 1); /* nor is owed anything */
    }
}

/* Any number, small ones and all sizes of large ones. */
static uint64_t any(uint64_t *state)
{
    return random_next(state) >> random_next(state) % 64;
}

static void expect_sound(struct test *t, const struct gc_pacer *pacer)
{
    if (pacer->trigger_bytes != GC_PACER_NONE || pacer->goal_bytes != GC_PACER_NONE) {
        EXPECT(t, pacer->marked_bytes < pacer->trigger_bytes); /* G1 */
        EXPECT(t, pacer->trigger_bytes < pacer->goal_bytes);   /* G1 */
    }
    EXPECT(t, pacer->goal_bytes >= pacer->marked_bytes + 1 * MIB); /* G2 */
    EXPECT(t, pacer->goal_bytes <= pacer->hard_bytes);
    EXPECT(t, !pacer->is_marking || pacer->mark_goal_bytes > pacer->start.live_bytes); /* G3 */
    EXPECT(t, pacer->last.util_permille <= 1000);
}

/* Figures of CPUs that run on need not agree, and counters may be wrong. */
TEST(gc_pacer, no_figures_upset_it)
{
    uint64_t state = test_seed(t);
    struct gc_pacer pacer;

    for (unsigned round = 0; round < 5000; round++) {
        struct gc_pacer_settings settings = {
            .cpus = 1 + (unsigned)(random_next(&state) % 4096),
            .gogc = (unsigned)any(&state),
            .min_heap_bytes = any(&state),
            .limit_bytes = any(&state),
        };
        struct gc_pacer_start start = {any(&state), any(&state), any(&state), any(&state)};
        struct gc_pacer_mark mark = {
            .marked_bytes = any(&state),
            .live_bytes = any(&state),
            .heap_work_bytes = any(&state),
            .stack_work_bytes = any(&state),
            .global_work_bytes = any(&state),
            .wall_ns = any(&state),
            .worker_ns = any(&state),
            .assist_ns = any(&state),
            .idle_ns = any(&state),
            .is_forced = random_next(&state) % 2 == 0,
        };

        if (round == 0)
            gc_pacer_init(&pacer, &settings);
        else if (random_next(&state) % 4 == 0)
            gc_pacer_set(&pacer, &settings);
        gc_pacer_start_mark(&pacer, &start);
        if (random_next(&state) % 4 == 0)
            gc_pacer_set_other(&pacer, any(&state));
        expect_sound(t, &pacer);
        for (unsigned i = 0; i < 4; i++) {
            uint64_t ratio = gc_pacer_revise(&pacer, any(&state), any(&state));

            REQUIRE(t, (ratio == 0) == (pacer.mark_goal_bytes == GC_PACER_NONE));
            REQUIRE(t, ratio <= MM_PHYS_BYTES * GC_PACER_ONE + 1);
        }
        gc_pacer_end_mark(&pacer, &mark);
        expect_sound(t, &pacer);
        if (t->failures != 0)
            return;

        uint64_t live = any(&state), pages = any(&state) >> 30;

        gc_pacer_sweep_start(&pacer, live, pages);
        REQUIRE(t, gc_pacer_sweep_due(&pacer, any(&state)) <= pages);
    }
}
