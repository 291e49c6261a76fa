/*
 * Races of the collected heap, each by doing by hand what the other side does at the worst moment.
 */
#include "kernel/cmdline.h"
#include "kernel/preempt.h"
#include "mm/gc/gc_impl.h"
#include "tests/mm/gc/gc_test.h"

static bool is_free(const void *object)
{
    const struct span *span = span_of(object);

    return span == NULL || span_slot_is_free(span, (unsigned)span_slot_index(span, object));
}

/* ---- A thread that was interrupted between taking a slot and clearing its token ---- */

static void handed_out_body(struct test *t)
{
    struct test_node *node = gc_test_node(NULL, NULL, 0);

    *(volatile uint64_t *)node = seq_token(node);
    gc_collect();
    EXPECT(t, !is_free(node));
    *(volatile uint64_t *)node = 0;
}

TEST(gc_race, slot_that_has_its_token_still)
{
    gc_test_run(t, handed_out_body);
}

/* ---- Spans that move from one queue to another are not passed by ---- */

static struct gc_span moved[GC_RING_SPANS + 2];

TEST(gc_race, spans_that_change_queues_are_counted)
{
    preempt_disable();
    for (unsigned i = 0; i < ARRAY_COUNT(moved); i++)
        gc_queue_put(&moved[i]);

    uint64_t puts = gc_queue_puts();

    for (unsigned i = 0; i < GC_RING_SPANS; i++)
        EXPECT(t, gc_queue_take() != NULL);
    EXPECT(t, gc_queue_puts() == puts);
    EXPECT(t, gc_queue_take() != NULL); /* the rest's first; the other moves to the ring */
    EXPECT(t, gc_queue_puts() != puts);
    EXPECT(t, gc_queue_take() != NULL && gc_queue_take() == NULL);
    preempt_enable();
}

/* ---- Freed twice, the second time from a magazine ---- */

static void free_in_magazine(void *unused)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    struct test_node *node = gc_test_node(NULL, NULL, 1);
    unsigned index = span_of(node)->index;

    (void)unused;
    gc_free(*seq_top_word(cpu->tops[index]));
}

TEST(gc_race, freed_while_it_waits_in_a_magazine)
{
    EXPECT_PANIC(t, free_in_magazine, NULL, "it waits in a magazine");
}

/* ---- Ranges ---- */

static uintptr_t range_words[4096 + 1], hidden;

static NOINLINE void hide(void)
{
    hidden = ~(uintptr_t)gc_test_node(NULL, NULL, 6);
}

/* Filled first, then made a root, by who has the pointer; the stacks have been looked at. */
static void add_filled(void *unused)
{
    (void)unused;
    range_words[0] = ~hidden;
    gc_root_add(range_words, sizeof(range_words));
}

static void add_filled_body(struct test *t)
{
    hide();
    for (unsigned i = 0; i < 64; i++) /* this frame's words are others */
        (void)gc_test_count(NULL, i);
    gc_collect_during(add_filled, NULL);
    EXPECT(t, !is_free((void *)~hidden));
    EXPECT(t, gc_root_remove(range_words));
    range_words[0] = 0;
}

TEST(gc_race, range_that_is_added_with_its_pointers)
{
    if (settings.gcstoptheworld != 0)
        test_skip(t, "the world is stopped while it marks");
    else
        gc_test_run(t, add_filled_body);
}

/* Ranges are looked at in pieces of 16 KiB, this one's end in the middle of a word. */
static void unaligned_body(struct test *t)
{
    unsigned at = 16 * KIB / sizeof(uintptr_t);
    const char *start = (const char *)range_words + 4;

    hide();
    range_words[at] = ~hidden;
    REQUIRE(t, gc_root_add(start, sizeof(range_words) - 4));
    gc_collect_idle();
    EXPECT(t, !is_free((void *)~hidden));
    EXPECT(t, gc_root_remove(start));
    range_words[at] = 0;
}

TEST(gc_race, range_that_is_not_aligned)
{
    gc_test_run(t, unaligned_body);
}

/* ---- Counts ---- */

static void drain_body(struct test *t)
{
    gc_test_node(NULL, NULL, 1);
    gc_collect_idle();
    gc_drain(); /* slots that the mark did not count */
    EXPECT(t, gc_stats().heap_bytes < TIB);
}

TEST(gc_race, bytes_do_not_go_below_none)
{
    gc_test_run(t, drain_body);
}

static void free_large_body(struct test *t)
{
    void *object = gc_alloc_noscan(MIB);
    size_t pages = gc_heap.large.pages;
    uint64_t freed = gc_stats().frees;

    REQUIRE(t, object != NULL);
    gc_free(object);
    EXPECT(t, gc_heap.large.pages == pages - MIB / PAGE_BYTES && gc_stats().frees > freed);
}

TEST(gc_race, large_object_that_is_freed_is_counted)
{
    gc_test_run(t, free_large_body);
}

/* ---- The barrier is off already, and other CPUs that saw it on may mark still ---- */

static void free_late_body(struct test *t)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1);

    preempt_disable();
    atomic_store(&gc_is_black, true);
    gc_free(node);
    EXPECT(t, !is_free(node));
    atomic_store(&gc_is_black, false);
    preempt_enable();
    gc_free(node);
    EXPECT(t, is_free(node));
}

TEST(gc_race, freed_between_the_barrier_and_the_flip)
{
    gc_test_run(t, free_late_body);
}
