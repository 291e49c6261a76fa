/* The pacer: goal, trigger, assist ratio, sweep ratio.  pacer.h has the whole idea. */
#include "mm/gc/pacer.h"
#include "kernel/base/check.h"

#define TRIGGER_LOW_64THS  45u          /* of the way from marked to goal: no earlier, 0.70 */
#define TRIGGER_HIGH_64THS 61u          /* no later, 0.95 .. */
#define TRIGGER_LAST_BYTES (4 * MIB)    /* .. or so much ahead of the goal, where that is later */
#define RUNWAY_EXTRA_PART  8u           /* of what is expected, on top */
#define LATE_GOAL_BYTES    (64 * KIB)   /* at least, from a start to its goal */
#define ROUNDING_PERCENT   30u          /* of the CPUs wanted; more is left to fractional workers */
#define OVERSHOOT_PART     10u          /* of the goal, allowed once that is passed */
#define MIN_WORK_BYTES     1000u        /* always left, as far as assists are concerned */
#define HEADROOM_PERCENT   3u           /* of the room below the limit, kept free .. */
#define HEADROOM_MIN_BYTES (1 * MIB)    /* .. and at least */
#define SWEEP_AHEAD_BYTES  (1 * MIB)    /* of the trigger, when sweeping is to be through */
#define WALL_MAX_NS        (1ull << 48) /* three days: times CPUs fits in 64 bits */

/* a x b / c; UINT64_MAX where that does not fit.  (A 128-bit `/` would call the compiler's library.) */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;

    if (high >= c)
        return UINT64_MAX;
    if (high == 0)
        return low / c;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool carry = high >> 63;

        high = high << 1 | low >> 63;
        low <<= 1;
        if (carry || high >= c) {
            high -= c;
            low |= 1;
        }
    }
    return low;
}

static uint64_t add_up_to_none(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t subtract_to_zero(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t clip(uint64_t bytes)
{
    return MIN(bytes, MM_PHYS_BYTES);
}

struct gc_pacer_workers gc_pacer_workers(unsigned cpus)
{
    unsigned wanted = cpus * GC_PACER_UTIL_PERCENT; /* hundredths of a CPU */
    unsigned dedicated = (wanted + 50) / 100;
    unsigned error = dedicated * 100 > wanted ? dedicated * 100 - wanted : wanted - dedicated * 100;
    struct gc_pacer_workers workers = {dedicated, 0};

    if (error * 100 > wanted * ROUNDING_PERCENT) {
        workers.dedicated = wanted / 100;
        workers.fractional = wanted % 100 * GC_PACER_ONE / (100 * cpus);
    }
    return workers;
}

/* Of all CPUs' time, in 1/GC_PACER_ONE: what the workers take.  1 .. GC_PACER_ONE - 1. */
static uint64_t worker_share(const struct gc_pacer *pacer)
{
    return (uint64_t)pacer->workers.dedicated * GC_PACER_ONE / pacer->settings.cpus +
           pacer->workers.fractional;
}

/* What the limit leaves to the heap. */
static uint64_t limit_room(const struct gc_pacer *pacer)
{
    if (pacer->settings.limit_bytes == GC_PACER_NONE)
        return GC_PACER_NONE;
    return subtract_to_zero(pacer->settings.limit_bytes, pacer->other_bytes);
}

static uint64_t goal_by_limit(const struct gc_pacer *pacer)
{
    uint64_t room = limit_room(pacer);
    uint64_t headroom = MAX(room / 100 * HEADROOM_PERCENT, HEADROOM_MIN_BYTES);

    return room == GC_PACER_NONE ? GC_PACER_NONE : subtract_to_zero(room, headroom);
}

static uint64_t goal_by_gogc(const struct gc_pacer *pacer)
{
    uint64_t gogc = pacer->settings.gogc;

    if (gogc == GC_PACER_OFF)
        return GC_PACER_NONE;
    return MAX(add_up_to_none(pacer->marked_bytes,
                              mul_div(pacer->marked_bytes + pacer->root_bytes, gogc, 100)),
               mul_div(pacer->settings.min_heap_bytes, gogc, 100));
}

/*
 * How much more than the goal the heap may come to when there is more to mark than expected: as
 * much more as gogc allows garbage.  But never more than the limit, where that allowed the goal.
 */
static uint64_t hard_goal(const struct gc_pacer *pacer)
{
    uint64_t gogc = pacer->settings.gogc, goal = pacer->goal_bytes;
    uint64_t hard =
        gogc == GC_PACER_OFF ? GC_PACER_NONE : add_up_to_none(goal, mul_div(goal, gogc, 100));

    return MIN(hard, MAX(limit_room(pacer), goal));
}

static uint64_t trigger_of(const struct gc_pacer *pacer)
{
    uint64_t marked = pacer->marked_bytes, goal = pacer->goal_bytes;
    uint64_t way = goal - marked;
    uint64_t low = marked + way / 64 * TRIGGER_LOW_64THS;
    uint64_t high =
        MAX(marked + way / 64 * TRIGGER_HIGH_64THS, subtract_to_zero(goal, TRIGGER_LAST_BYTES));

    return MIN(MAX(subtract_to_zero(goal, pacer->runway_bytes), low), high);
}

/* Of a mark under way: not before its start, or there would be nothing to divide work by. */
static uint64_t goal_of_mark(const struct gc_pacer *pacer)
{
    return MAX(pacer->goal_bytes, pacer->start.live_bytes + LATE_GOAL_BYTES);
}

/*
 * What mutators allocate while the workers mark, by the last cycles, and an eighth more: mutators
 * that are a tenth faster than ever lately must not assist, and the heap ends at most that eighth
 * below its goal.  Nothing known: all of the way.
 */
static uint64_t runway_of(const struct gc_pacer *pacer)
{
    uint64_t share = worker_share(pacer);

    if (pacer->sample_count == 0)
        return GC_PACER_NONE;

    uint64_t bytes = mul_div(mul_div(pacer->cons_mark, pacer->work_bytes, GC_PACER_CONS_ONE),
                             GC_PACER_ONE - share, share);

    return add_up_to_none(bytes, bytes / RUNWAY_EXTRA_PART);
}

/* Goal and trigger anew: something that they depend on has changed. */
static void pacer_commit(struct gc_pacer *pacer)
{
    pacer->goal_bytes = MAX(MIN(goal_by_gogc(pacer), goal_by_limit(pacer)),
                            pacer->marked_bytes + GC_PACER_STEP_BYTES);
    pacer->hard_bytes = hard_goal(pacer);
    pacer->runway_bytes = runway_of(pacer);
    pacer->trigger_bytes = pacer->goal_bytes == GC_PACER_NONE ? GC_PACER_NONE : trigger_of(pacer);
    if (pacer->is_marking)
        pacer->mark_goal_bytes = goal_of_mark(pacer);
}

void gc_pacer_init(struct gc_pacer *pacer, const struct gc_pacer_settings *settings)
{
    *pacer = (struct gc_pacer){0};
    gc_pacer_set(pacer, settings);
}

void gc_pacer_set(struct gc_pacer *pacer, const struct gc_pacer_settings *settings)
{
    CHECK(settings->cpus >= 1);
    pacer->settings = *settings;
    pacer->workers = gc_pacer_workers(settings->cpus);
    pacer_commit(pacer);
}

void gc_pacer_set_other(struct gc_pacer *pacer, uint64_t bytes)
{
    pacer->other_bytes = bytes;
    pacer_commit(pacer);
}

uint64_t gc_pacer_start_mark(struct gc_pacer *pacer, const struct gc_pacer_start *start)
{
    CHECK(!pacer->is_marking);
    pacer->is_marking = true;
    pacer->start = (struct gc_pacer_start){
        .live_bytes = clip(start->live_bytes),
        .scannable_bytes = clip(start->scannable_bytes),
        .stack_bytes = clip(start->stack_bytes),
        .global_bytes = clip(start->global_bytes),
    };
    /* What is allocated from now on is black: nothing of it is scanned. */
    pacer->max_work_bytes =
        clip(pacer->start.scannable_bytes + pacer->start.stack_bytes + pacer->start.global_bytes);
    pacer->expected_work_bytes = MIN(pacer->work_bytes, pacer->max_work_bytes);
    if (pacer->work_bytes == 0)
        pacer->expected_work_bytes = pacer->max_work_bytes;
    pacer->mark_goal_bytes = goal_of_mark(pacer);
    return gc_pacer_revise(pacer, start->live_bytes, 0);
}

uint64_t gc_pacer_revise(struct gc_pacer *pacer, uint64_t live_bytes, uint64_t work_bytes)
{
    uint64_t first = pacer->start.live_bytes, live = clip(live_bytes), work = clip(work_bytes);
    uint64_t goal = pacer->mark_goal_bytes, expected = pacer->expected_work_bytes;
    uint64_t hard = MAX(pacer->hard_bytes, goal);

    pacer->assist_ratio = 0;
    if (goal == GC_PACER_NONE)
        return 0;
    if (work > expected) {
        /*
         * More is alive than last time.  Now all may be; the goal moves away in the same measure,
         * so that a byte owes what it did and mutators are not slowed for what nobody could know.
         */
        uint64_t runway = mul_div(goal - first, pacer->max_work_bytes, MAX(expected, 1u));

        goal = MAX(MIN(add_up_to_none(first, runway), hard), goal);
        expected = pacer->max_work_bytes;
    }
    if (live > goal) {
        goal = MIN(add_up_to_none(goal, goal / OVERSHOOT_PART), hard);
        expected = pacer->max_work_bytes;
    }

    uint64_t left_work = MAX(subtract_to_zero(expected, work), MIN_WORK_BYTES);
    uint64_t left_bytes = MAX(subtract_to_zero(goal, live), 1u);

    pacer->assist_ratio = mul_div(left_work, GC_PACER_ONE, left_bytes) + 1;
    return pacer->assist_ratio;
}

/*
 * Bytes allocated by a CPU that only allocates, over bytes marked by one that only marks.  For the
 * workers' time stands what they were to have, not what they had: where that is always less, the
 * estimate comes out higher, and the runway, by the same share, right.  CPUs that idled count as
 * markers though they may be busy next time: what they did must not be counted on.
 */
static uint64_t cons_mark_of(const struct gc_pacer *pacer, const struct gc_pacer_mark *mark)
{
    uint64_t all_ns = MIN(mark->wall_ns, WALL_MAX_NS) * pacer->settings.cpus;
    uint64_t worker_ns = mul_div(all_ns, worker_share(pacer), GC_PACER_ONE);
    uint64_t busy_ns = add_up_to_none(worker_ns, mark->assist_ns);
    uint64_t mutator_ns = subtract_to_zero(all_ns, busy_ns);
    uint64_t allocated = subtract_to_zero(clip(mark->live_bytes), pacer->start.live_bytes);

    return mul_div(mul_div(allocated, GC_PACER_CONS_ONE, MAX(pacer->work_bytes, 1u)),
                   add_up_to_none(busy_ns, mark->idle_ns), MAX(mutator_ns, 1u));
}

static void take_sample(struct gc_pacer *pacer, uint64_t cons_mark)
{
    pacer->samples[pacer->sample_count++ % GC_PACER_SAMPLES] = cons_mark;
    pacer->cons_mark = 0;
    for (unsigned i = 0; i < GC_PACER_SAMPLES; i++)
        pacer->cons_mark = MAX(pacer->cons_mark, pacer->samples[i]);
}

void gc_pacer_end_mark(struct gc_pacer *pacer, const struct gc_pacer_mark *mark)
{
    uint64_t all_ns = MIN(mark->wall_ns, WALL_MAX_NS) * pacer->settings.cpus;

    CHECK(pacer->is_marking);
    pacer->is_marking = false;
    pacer->assist_ratio = 0;
    pacer->marked_bytes = clip(mark->marked_bytes);
    pacer->root_bytes = clip(clip(mark->stack_work_bytes) + clip(mark->global_work_bytes));
    pacer->work_bytes = clip(clip(mark->heap_work_bytes) + pacer->root_bytes);
    pacer->last = (struct gc_pacer_report){
        .start = pacer->start,
        .mark = *mark,
        .goal_bytes = pacer->mark_goal_bytes,
        .expected_work_bytes = pacer->expected_work_bytes,
        .cons_mark = cons_mark_of(pacer, mark),
        .util_permille = (unsigned)MIN(
            mul_div(add_up_to_none(mark->worker_ns, mark->assist_ns), 1000, MAX(all_ns, 1u)),
            1000u),
    };
    if (!mark->is_forced && mark->wall_ns > 0 && pacer->work_bytes > 0)
        take_sample(pacer, pacer->last.cons_mark);
    pacer_commit(pacer);
}

void gc_pacer_sweep_start(struct gc_pacer *pacer, uint64_t live_bytes, uint64_t pages)
{
    uint64_t live = clip(live_bytes);
    uint64_t way = subtract_to_zero(pacer->trigger_bytes, live);
    uint64_t distance = MAX(way - MIN(way / 4, SWEEP_AHEAD_BYTES), PAGE_BYTES);

    pacer->sweep_base_bytes = live;
    pacer->sweep_pages = pages;
    pacer->sweep_ratio = mul_div(pages, GC_PACER_CONS_ONE, distance) + 1;
}

uint64_t gc_debt_work(const struct gc_debt *debt, uint64_t assist_ratio)
{
    if (debt->bytes <= 0)
        return 0;

    unsigned __int128 product = (unsigned __int128)(uint64_t)debt->bytes * assist_ratio;
    unsigned __int128 work = (product + GC_PACER_ONE - 1) >> 16;

    if (work < GC_PACER_ASSIST_BYTES)
        return 0;
    return work > MM_PHYS_BYTES ? MM_PHYS_BYTES : (uint64_t)work;
}

void gc_debt_pay(struct gc_debt *debt, uint64_t assist_ratio, uint64_t work_bytes)
{
    if (assist_ratio != 0)
        debt->bytes -= (int64_t)(clip(work_bytes) * GC_PACER_ONE / assist_ratio);
}
