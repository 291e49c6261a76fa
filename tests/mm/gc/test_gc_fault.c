/*
 * Each acquisition of the collected heap fails once.  Where a cycle cannot help, as preemption is off,
 * that is NULL or false; where it can, who asks does not notice.
 */
#include "kernel/fault.h"
#include "kernel/preempt.h"
#include "mm/gc/gc_impl.h"
#include "tests/mm/gc/gc_test.h"

static bool freed(void *object)
{
    gc_free(object);
    return object != NULL;
}

static bool run_new(void)
{
    return freed(gc_new(test_node));
}

static bool run_array(void)
{
    return freed(gc_new_array(test_node, 20));
}

static bool run_large_array(void)
{
    return freed(gc_new_array(test_node, 50000));
}

static bool run_noscan(void)
{
    return freed(gc_alloc_noscan(100));
}

static bool run_small(void)
{
    return gc_alloc_noscan(3) != NULL;
}

static bool run_large_conservative(void)
{
    return freed(gc_alloc_conservative(100000));
}

static bool run_root(void)
{
    static void *range[2];

    return gc_root_add(range, sizeof(range)) && gc_root_remove(range);
}

static bool run_pin(void)
{
    return gc_pin(&gc_heap) && gc_unpin(&gc_heap);
}

static bool (*const runs[])(void) = {
    run_new,  run_array, run_large_array, run_noscan, run_small, run_large_conservative,
    run_root, run_pin,
};

static void fail_each(struct test *t, bool (*run)(void), bool can_collect)
{
    unsigned failed = 0;

    for (unsigned nth = 1;; nth++) {
        mm_drain();
        if (!can_collect)
            preempt_disable();
        fault_fail_nth(nth);

        bool has_succeeded = run(), has_fired = fault_disarm();

        if (!can_collect)
            preempt_enable();
        EXPECT(t, has_succeeded || has_fired);
        failed += !has_succeeded;
        gc_check();
        gc_collect_idle(); /* what cannot be freed by hand */
        if (!has_fired)
            break;
        REQUIRE(t, nth < 100);
    }
    /* Roots need memory that no cycle makes. */
    EXPECT(t, can_collect ? failed == 0 || run == run_root || run == run_pin : failed != 0);
}

TEST(gc_fault, every_acquisition_without_a_cycle)
{
    for (unsigned i = 0; i < ARRAY_COUNT(runs); i++)
        fail_each(t, runs[i], false);
}

TEST(gc_fault, every_acquisition_with_one)
{
    for (unsigned i = 0; i < ARRAY_COUNT(runs); i++)
        fail_each(t, runs[i], true);
}

/* A pin that is there already needs no memory of its own that stays; that it fails changes nothing. */
TEST(gc_fault, a_pin_that_fails_leaves_those_that_are)
{
    REQUIRE(t, gc_pin(t));
    for (unsigned nth = 1, failed = 0;; nth++) {
        mm_drain();
        preempt_disable();
        fault_fail_nth(nth);

        bool is_pinned = gc_pin(t), has_fired = fault_disarm();

        preempt_enable();
        failed += !is_pinned;
        if (is_pinned)
            EXPECT(t, gc_unpin(t));
        if (!has_fired) {
            EXPECT(t, failed != 0);
            break;
        }
    }
    EXPECT(t, gc_unpin(t) && !gc_unpin(t));
}
