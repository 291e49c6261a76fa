/*
 * The collected heap while a mark is on: the collector's thread stops between roots and marking
 * (gc_collect_during), and the test does there what a mutator might do at that moment.
 */
#include "kernel/cmdline.h"
#include "mm/gc/gc_impl.h"
#include "tests/mm/gc/gc_test.h"

/* What was freed is handed out again, so who has been freed by mistake is overwritten. */
static void churn(void)
{
    for (unsigned i = 0; i < 3000; i++)
        gc_test_node(NULL, NULL, 0xbad);
}

static void phase_run(struct test *t, void (*body)(struct test *t))
{
    if (settings.gcstoptheworld != 0)
        test_skip(t, "the world is stopped while it marks");
    else
        gc_test_run(t, body);
}

/* ---- The barrier ---- */

/* The only pointer moves to an object that is black already, by way of nothing that is scanned. */
static void move_to_black(void *arg)
{
    struct test_node *from = gc_load(&gc_test_roots[0]), *black = gc_test_node(NULL, NULL, 1);

    gc_store(&gc_test_roots[1], black);
    gc_store(&black->left, gc_load(&from->left));
    gc_store(&from->left, NULL);
    (void)arg;
}

static NOINLINE void make_pair(void)
{
    gc_store(&gc_test_roots[0], gc_test_node(gc_test_node(NULL, NULL, 5), NULL, 4));
}

static void deletion_body(struct test *t)
{
    make_pair();
    gc_collect_during(move_to_black, t);
    churn();
    EXPECT(t, gc_load(&gc_load(&gc_test_roots[1])->left)->key == 5);
}

TEST(gc_phase, moved_into_a_black_object)
{
    phase_run(t, deletion_body);
}

/* A word that no root and no heap has, as a thread that is not scanned yet has on its stack. */
static uintptr_t hidden;

static void put_hidden(void *arg)
{
    struct test_node *black = gc_test_node(NULL, NULL, 1);

    gc_store(&gc_test_roots[1], black);
    gc_store(&black->left, (struct test_node *)~hidden);
    (void)arg;
}

static NOINLINE void hide(void)
{
    hidden = ~(uintptr_t)gc_test_node(NULL, NULL, 6);
}

static void insertion_body(struct test *t)
{
    hide();
    for (unsigned i = 0; i < 64; i++) /* this frame's words are others */
        (void)gc_test_count(NULL, i);
    gc_collect_during(put_hidden, t);
    churn();
    EXPECT(t, gc_load(&gc_load(&gc_test_roots[1])->left)->key == 6);
}

TEST(gc_phase, what_only_an_unscanned_stack_had)
{
    phase_run(t, insertion_body);
}

/* The end of a list that is so long that it is not marked yet; and what only it refers to. */
static uintptr_t hidden_end;

static NOINLINE void make_long_list(void)
{
    struct test_node *list = gc_test_node(gc_test_node(NULL, NULL, 5), NULL, 4);

    hidden_end = ~(uintptr_t)list;
    for (unsigned i = 0; i < 200000; i++)
        list = gc_test_node(list, NULL, i);
    gc_store(&gc_test_roots[0], list);
}

static void take_out(void *arg)
{
    struct test_node *end = (struct test_node *)~hidden_end;

    hidden = ~(uintptr_t)gc_load(&end->left);
    gc_store(&end->left, NULL);
    (void)arg;
}

/* As take_out does; a swap of what is not there does nothing. */
static void swap_out(void *arg)
{
    struct test *t = arg;
    struct test_node *end = (struct test_node *)~hidden_end, *taken = gc_load(&end->left);

    hidden = ~(uintptr_t)taken;
    EXPECT(t, !gc_cas(&end->left, end, NULL) && gc_load(&end->left) == taken);
    EXPECT(t, gc_cas(&end->left, taken, NULL) && gc_load(&end->left) == NULL);
}

static void out_of_list(struct test *t, void (*fn)(void *arg))
{
    make_long_list();
    gc_collect(); /* so that none is on, in which fn would be called too */
    gc_collect_during(fn, t);
    gc_store(&gc_test_roots[0], NULL);
    churn();
    EXPECT(t, ((struct test_node *)~hidden)->key == 5);
}

static void take_out_body(struct test *t)
{
    out_of_list(t, take_out);
}

TEST(gc_phase, taken_out_while_marked)
{
    phase_run(t, take_out_body);
}

static void swap_out_body(struct test *t)
{
    out_of_list(t, swap_out);
}

TEST(gc_phase, swapped_out_while_marked)
{
    phase_run(t, swap_out_body);
}

static void cas_hidden(void *arg)
{
    struct test_node *black = gc_test_node(NULL, NULL, 1);

    gc_store(&gc_test_roots[1], black);
    gc_cas(&black->left, NULL, (struct test_node *)~hidden);
    (void)arg;
}

static void cas_insertion_body(struct test *t)
{
    hide();
    for (unsigned i = 0; i < 64; i++) /* this frame's words are others */
        (void)gc_test_count(NULL, i);
    gc_collect_during(cas_hidden, t);
    churn();
    EXPECT(t, gc_load(&gc_load(&gc_test_roots[1])->left)->key == 6);
}

TEST(gc_phase, swapped_in_while_marked)
{
    phase_run(t, cas_insertion_body);
}

/*
 * A thread that has been scanned takes the only pointer to an object out of one that has not.  On one CPU the
 * collector's thread keeps workers from scanning it first.
 */
static void take_hidden(void *unused)
{
    struct test_node *from = gc_load(&gc_test_roots[0]);

    (void)unused;
    hidden = ~(uintptr_t)gc_load(&from->left);
    gc_store(&from->left, NULL);
}

static bool is_hidden_whole(uint64_t key)
{
    const struct span *span = span_of((void *)~hidden);

    return span != NULL && gc_slot_is_object(span, span_slot_index(span, (void *)~hidden)) &&
           ((struct test_node *)~hidden)->key == key;
}

static void taken_body(struct test *t)
{
    make_pair();
    gc_collect_during(take_hidden, NULL);
    churn();
    EXPECT(t, is_hidden_whole(5));
}

TEST(gc_phase, taken_by_a_thread_that_has_been_scanned)
{
    phase_run(t, taken_body);
}

/* What is put is marked, and what that refers to: the mark goes on behind the last of the buffers. */
static NOINLINE void hide_pair(void)
{
    hidden = ~(uintptr_t)gc_test_node(gc_test_node(NULL, NULL, 8), NULL, 7);
}

static void insertion_goes_on_body(struct test *t)
{
    hide_pair();
    for (unsigned i = 0; i < 64; i++)
        (void)gc_test_count(NULL, i);
    gc_collect_during(put_hidden, t);
    churn();
    EXPECT(t, gc_load(&((struct test_node *)~hidden)->left)->key == 8);
}

TEST(gc_phase, what_buffers_hold_is_scanned_too)
{
    phase_run(t, insertion_goes_on_body);
}

/* Many of these, each stored where the next one takes its place. */
static uintptr_t many_hidden[3 * GC_BARRIER_WORDS]; /* inverted */

static void put_many(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ARRAY_COUNT(many_hidden); i++)
        gc_store(&gc_test_roots[1], (struct test_node *)~many_hidden[i]);
}

static NOINLINE void hide_many(void)
{
    for (unsigned i = 0; i < ARRAY_COUNT(many_hidden); i++)
        many_hidden[i] = ~(uintptr_t)gc_test_node(NULL, NULL, i);
}

static void full_buffers_body(struct test *t)
{
    unsigned wrong = 0;

    hide_many();
    gc_collect_during(put_many, NULL);
    churn();
    for (unsigned i = 0; i < ARRAY_COUNT(many_hidden); i++)
        wrong += ((struct test_node *)~many_hidden[i])->key != i;
    EXPECT(t, wrong == 0);
}

TEST(gc_phase, full_buffers_are_marked)
{
    phase_run(t, full_buffers_body);
}

/* More stores than a buffer has room for. */
static void many_stores(void *arg)
{
    struct test_node *list = NULL;

    for (unsigned i = 0; i < 4 * GC_BARRIER_WORDS; i++) {
        struct test_node *node = gc_test_node(list, NULL, i);

        list = node;
        gc_store(&gc_test_roots[1], list);
    }
    (void)arg;
}

static void many_body(struct test *t)
{
    gc_collect_during(many_stores, t);
    churn();

    unsigned count = 0;

    for (struct test_node *at = gc_load(&gc_test_roots[1]); at != NULL; at = gc_load(&at->left))
        count += at->key == 4 * GC_BARRIER_WORDS - 1 - count;
    EXPECT(t, count == 4 * GC_BARRIER_WORDS);
}

TEST(gc_phase, barrier_buffers_fill_and_are_emptied)
{
    phase_run(t, many_body);
}

/* ---- What is no object ---- */

static uintptr_t words[4096];

/* Addresses of every slot of a span: free ones, those in a magazine, objects. */
static void no_object_body(struct test *t)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1);
    const struct span *span = span_of(node);

    gc_store(&gc_test_roots[0], node);
    for (unsigned slot = 0; slot < span_slot_count(span); slot++)
        words[slot] = (uintptr_t)span_slot(span, slot) + slot % 8;
    words[4000] = UINTPTR_MAX;
    words[4001] = (uintptr_t)words;
    words[4002] = 0xdeadbeefdeadbeeful;
    REQUIRE(t, gc_root_add(words, sizeof(words)));
    for (unsigned i = 0; i < 3; i++) {
        gc_collect();
        churn();
        gc_check();
    }
    EXPECT(t, node->key == 1);
    EXPECT(t, gc_root_remove(words));
}

TEST(gc_phase, addresses_of_what_is_no_object)
{
    phase_run(t, no_object_body);
}

/* ---- Allocation ---- */

static void make_during(void *t)
{
    struct test_node *list = NULL;

    for (unsigned i = 0; i < 1000; i++)
        list = gc_test_node(list, NULL, i);
    gc_store(&gc_test_roots[2], list);
    gc_store(&gc_test_roots[3], gc_new_array(test_node, 5000));
    gc_store(&gc_load(&gc_test_roots[3])[4999].left, list);
    (void)t;
}

static void black_body(struct test *t)
{
    gc_collect_during(make_during, t);
    churn();

    unsigned count = 0;

    for (struct test_node *at = gc_load(&gc_test_roots[2]); at != NULL; at = gc_load(&at->left))
        count += at->key == 999 - count;
    EXPECT(t, count == 1000);
    EXPECT(t, gc_load(&gc_load(&gc_test_roots[3])[4999].left) == gc_load(&gc_test_roots[2]));
    gc_collect();
    churn();
    EXPECT(t, gc_load(&gc_test_roots[2])->key == 999);
}

TEST(gc_phase, made_during_a_mark)
{
    phase_run(t, black_body);
}

/* Made during a mark, and referred to by no more than a thread that has been scanned. */
static uintptr_t kept[5]; /* inverted */

static void keep_aside(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 1000; i++) /* more than magazines hold */
        kept[0] = ~(uintptr_t)gc_test_node(NULL, NULL, i);
    kept[1] = ~(uintptr_t)gc_alloc_noscan(100000);
    kept[2] = ~(uintptr_t)gc_new_array(test_node, 5000);
    kept[3] = ~(uintptr_t)gc_alloc_conservative(20000); /* a kind that nobody else has made */
    kept[4] = ~(uintptr_t)gc_alloc_noscan(3);
}

static void kept_body(struct test *t)
{
    uint8_t *volatile small = gc_alloc_noscan(3); /* whose block has room for another */

    EXPECT(t, small != NULL && gc_test_node(NULL, NULL, 1) != NULL); /* of a kind that there is */
    small = NULL;
    gc_collect_during(keep_aside, NULL);
    gc_sweep_all();
    for (unsigned i = 0; i < ARRAY_COUNT(kept); i++) {
        const struct span *span = span_of((void *)~kept[i]);

        EXPECT(t, span != NULL && gc_slot_is_object(span, span_slot_index(span, (void *)~kept[i])));
    }
}

TEST(gc_phase, made_during_a_mark_and_kept_aside)
{
    phase_run(t, kept_body);
}

static void free_during(void *node)
{
    gc_free(node);
    gc_drain();
}

static void free_body(struct test *t)
{
    gc_collect_during(free_during, gc_test_node(NULL, NULL, 1));
    gc_check();
    EXPECT(t, gc_stats().cycles > 0);
}

TEST(gc_phase, freed_during_a_mark)
{
    phase_run(t, free_body);
}
