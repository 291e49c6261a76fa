/*
 * gc_check's invariants, broken one by one: it says which.  In forked children, of which one CPU lives: so
 * what all CPUs stand still for is called as it is.
 */
#include "mm/gc/gc_impl.h"
#include "tests/mm/gc/gc_test.h"

/* A node of a span that has free slots, and nodes in a magazine. */
static struct test_node *check_node;

static struct gc_span *check_span(void)
{
    return gc_span_of(span_of(check_node));
}

static struct gc_kind *check_kind(void)
{
    return gc_kind_of(&check_span()->span);
}

static _Atomic uint64_t *bits_of(_Atomic uint64_t *map, const void *slot)
{
    return &map[span_slot_index(span_of(slot), slot) / 64];
}

static uint64_t bit_of(const void *slot)
{
    return 1ull << span_slot_index(span_of(slot), slot) % 64;
}

/* Owning is held, so a span that has free slots is a partial one. */
static struct test_node *node_in_partial(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        struct test_node *node = gc_test_node(NULL, NULL, 1);

        if (node == NULL || span_of(node)->list == GC_PARTIAL)
            return node;
    }
    return NULL;
}

/* The slot that is handed out next of those nodes. */
static uint64_t *prepared(void)
{
    for (;;) {
        struct gc_cpu *cpu = port_this_cpu(gc_cpu);
        uint64_t *slot = *seq_top_word(cpu->tops[check_kind()->owner.index]);

        if (slot != &seq_nothing)
            return slot;
        gc_test_node(NULL, NULL, 1);
    }
}

static void wrong_list(void)
{
    struct gc_kind *kind = check_kind();

    gc_list_remove(&kind->lists[GC_PARTIAL], &check_span()->span);
    gc_list_add(&kind->lists[GC_FULL], &check_span()->span);
}

static void wrong_list_name(void)
{
    check_span()->span.list = GC_FULL;
}

static void owned_by_nobody(void)
{
    wrong_list();
    gc_list_remove(&check_kind()->lists[GC_FULL], &check_span()->span);
    gc_list_add(&check_kind()->lists[GC_OWNED], &check_span()->span);
    check_span()->span.list = GC_OWNED;
}

static void wrong_link(void)
{
    check_kind()->lists[GC_PARTIAL].last = NULL;
}

static void wrong_free_count(void)
{
    check_span()->span.free_count++;
}

static void free_and_marked(void)
{
    struct gc_span *gc = check_span();

    check_kind()->is_black = true;
    for (unsigned word = 0; word < gc_map_words(&gc->span); word++)
        atomic_fetch_or(&gc->marked[word], span_free_map(&gc->span)[word]);
}

static void marked_outside_of_a_mark(void)
{
    atomic_fetch_or(bits_of(check_span()->marked, check_node), bit_of(check_node));
}

static void scanned_and_not_marked(void)
{
    check_kind()->is_black = true;
    atomic_fetch_or(bits_of(check_span()->scanned, check_node), bit_of(check_node));
}

/* As the mark leaves it, but for one that has not been scanned. */
static void grey_behind_a_mark(void)
{
    gc_kinds_blacken();
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        gc_mark_prepared_of(port_cpu(gc_cpu, cpu));
    marked_outside_of_a_mark();
    gc_kinds_flip();
}

static void queued_outside_of_a_mark(void)
{
    atomic_store(&check_span()->is_queued, 1);
}

static void wrong_span_count(void)
{
    check_kind()->span_count++;
}

static void prepared_without_token(void)
{
    *prepared() = 0;
}

static void prepared_not_zero(void)
{
    prepared()[2] = 1;
}

static void prepared_and_free(void)
{
    uint64_t *slot = prepared();
    struct span *span = span_of(slot);

    if (span->free_count == 0) {
        gc_list_remove(&check_kind()->lists[GC_FULL], span);
        gc_list_add(&check_kind()->lists[GC_PARTIAL], span);
        span->list = GC_PARTIAL;
    }
    span_give_slot(span, span_slot_index(span, slot));
}

static void prepared_of_another_kind(void)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    uint64_t *other = gc_alloc_noscan(24);

    *other = seq_token(other);
    prepared();
    *seq_top_word(cpu->tops[check_kind()->owner.index]) = other;
}

static void prepared_white(void)
{
    prepared();
    gc_kinds_blacken();
    gc_kinds_flip();
}

static void words_in_a_buffer(void)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);

    cpu->log.next = cpu->barrier + 2;
}

static void *large_object(void)
{
    return gc_alloc_noscan(100000);
}

static void large_marked(void)
{
    atomic_store(&gc_span_of(span_of(large_object()))->words[0], 1);
}

static void large_on_the_wrong_list(void)
{
    large_object();
    gc_heap.large.epoch++;
}

static void large_scanned_and_not_marked(void)
{
    gc_heap.large.is_black = true;
    atomic_store(&gc_span_of(span_of(large_object()))->words[0], 0);
}

static void large_scanned_in_part(void)
{
    struct gc_span *gc = gc_span_of(span_of(gc_new_array(test_node, 50000)));

    gc_kinds_blacken();
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        gc_mark_prepared_of(port_cpu(gc_cpu, cpu));
    atomic_store(&gc->words[0], 1);
    atomic_store(&gc->words[1], GC_PIECE_BYTES);
    gc_kinds_flip();
}

static void wrong_pages(void)
{
    gc_heap.large.pages++;
}

static void wrong_span_bytes(void)
{
    gc_heap.span_bytes += PAGE_BYTES;
}

static void wrong_objects(void)
{
    gc_heap.freed++;
}

static void break_and_check(void *fn)
{
    unsigned long irq = port_irq_save();

    (*(void (**)(void))fn)();
    gc_check_stopped(NULL);
    port_irq_restore(irq);
}

TEST(gc_check, says_which_invariant_is_broken)
{
    static const struct {
        void (*fn)(void);
        const char *text;
    } cases[] = {
        {wrong_list, "gc_check: G1 broken"},
        {wrong_list_name, "gc_check: G1 broken"},
        {owned_by_nobody, "gc_check: G1 broken"},
        {wrong_link, "gc_check: G1 broken"},
        {wrong_free_count, "gc_check: G2 broken"},
        {free_and_marked, "gc_check: G3 broken"},
        {marked_outside_of_a_mark, "gc_check: G3 broken"},
        {scanned_and_not_marked, "gc_check: G3 broken"},
        {grey_behind_a_mark, "gc_check: G3 broken"},
        {queued_outside_of_a_mark, "gc_check: G3 broken"},
        {wrong_span_count, "gc_check: G4 broken"},
        {prepared_without_token, "gc_check: G5 broken"},
        {prepared_not_zero, "gc_check: G5 broken"},
        {prepared_and_free, "gc_check: G5 broken"},
        {prepared_of_another_kind, "gc_check: G5 broken"},
        {prepared_white, "gc_check: G5 broken"},
        {words_in_a_buffer, "gc_check: G5 broken"},
        {large_marked, "gc_check: G6 broken"},
        {large_on_the_wrong_list, "gc_check: G6 broken"},
        {large_scanned_and_not_marked, "gc_check: G6 broken"},
        {large_scanned_in_part, "gc_check: G6 broken"},
        {wrong_pages, "gc_check: G6 broken"},
        {wrong_span_bytes, "gc_check: G7 broken"},
        {wrong_objects, "gc_check: G7 broken"},
    };

    gc_owning_hold(gc_spans_disown);
    EXPECT(t, (check_node = node_in_partial()) != NULL);
    gc_check();
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        if (t->failures == 0)
            EXPECT_PANIC(t, break_and_check, (void *)&cases[i].fn, cases[i].text);
    }
    check_node = NULL;
    gc_owning_release();
}

/* ---- A check, whatever goes on ---- */

static void check_during(void *unused)
{
    struct test_node *list = NULL;

    (void)unused;
    for (unsigned i = 0; i < 1000; i++) {
        list = gc_test_node(list, NULL, i);
        gc_store(&gc_test_roots[1], list);
        if (i % 100 == 0)
            gc_check();
    }
    gc_alloc_noscan(100000);
    gc_store(&gc_test_roots[2], gc_new_array(test_node, 50000));
    gc_check();
}

static void during_body(struct test *t)
{
    gc_store(&gc_test_roots[0], gc_test_tree(8, 1));
    gc_alloc_noscan(100000);
    gc_check();
    gc_collect_during(check_during, NULL);
    gc_check();
    gc_drain();
    gc_check();
    EXPECT(t, gc_test_count(gc_load(&gc_test_roots[0]), 1) == 511);
}

TEST(gc_check, holds_before_during_and_behind_a_mark)
{
    gc_test_run(t, during_body);
}

/* Slots that wait in the magazines of CPUs on which nothing runs. */
static void allocate_one(void *unused)
{
    (void)unused;
    gc_alloc_noscan(200);
}

TEST(gc_check, slots_in_all_magazines_are_marked)
{
    uint64_t cycles = gc_stats().cycles;

    port_call_all(allocate_one, NULL);
    gc_collect();
    gc_check(); /* G5: all is swept, and none of them is free */
    EXPECT(t, gc_stats().cycles > cycles);
}
