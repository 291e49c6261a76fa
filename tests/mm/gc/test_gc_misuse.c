/*
 * The collected heap misused, and pointers that lead to no object: each is found and named.
 *
 * Of a forked child only one CPU lives, which is enough for a cycle if the machine has no other.  Else
 * collect_here does alone what the reference collector does, but for stacks.
 */
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "mm/gc/gc_impl.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/mm/gc/gc_test.h"

static void mark_here(void)
{
    gc_sweep_all();
    gc_kinds_blacken();
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        gc_mark_prepared_of(port_cpu(gc_cpu, cpu));
        gc_spans_disown_of(port_cpu(gc_cpu, cpu));
    }
    gc_mark_roots();
    while (gc_mark_some(SIZE_MAX) != 0)
        continue;
}

static void collect_here(void *unused)
{
    (void)unused;
    if (port_cpu_count() == 1) {
        gc_collect();
        return;
    }
    mark_here();
    gc_kinds_flip();
    gc_sweep_all();
}

/* A panic of fn(arg) says all of these, up to a NULL. */
static void expect_says(struct test *t, void (*fn)(void *), void *arg, const char texts[][160])
{
    const char *report = PANIC_REPORT(t, fn, arg);

    for (unsigned i = 0; report != NULL && texts[i][0] != '\0'; i++) {
        if (!EXPECT(t, strstr(report, texts[i]) != NULL))
            test_failed(t, texts[i], __FILE__, __LINE__);
    }
}

/* What is not typed: a word to where the compiler would have a pointer of the right type. */
static void store_word(void *field, uintptr_t word)
{
    gc_store_word(field, (void *)word);
}

/* ---- Pointers that are found while marking ---- */

/* `holder`, which a root refers to, has `stray` in the field at `offset`: all that is said, by `what` it is. */
static void expect_stray(struct test *t, void *holder, size_t offset, uintptr_t stray,
                         const char *what)
{
    const struct span *span = span_of(holder);
    size_t bytes = span->owner != NULL ? span_slot_bytes(span) : span_bytes(span);
    uintptr_t field = (uintptr_t)holder + offset;
    char texts[4][160] = {{0}};

    format_string(texts[0], 160, "gc: pointer %p, found at %p, is %s", (void *)stray, (void *)field,
                  what);
    format_string(texts[1], 160,
                  "gc: that is offset %zu of the object %p, %zu bytes, as of type test_node",
                  offset, holder, bytes);
    format_string(texts[2], 160, "panic: gc: ");
    store_word((void *)field, stray);
    expect_says(t, collect_here, NULL, texts);
    store_word((void *)field, 0);
}

static void not_collected_body(struct test *t)
{
    static uint64_t somewhere;
    struct test_node *node = gc_test_node(NULL, NULL, 1);
    struct test_node *array = gc_new_array(test_node, 50000);
    void *page = page_alloc(1, 0), *small = kmalloc(100), *large = kmalloc(100000);
    const uintptr_t strays[] = {(uintptr_t)&somewhere, (uintptr_t)page, (uintptr_t)small,
                                (uintptr_t)large,      0x1000,          1ul << 62 | 8};

    REQUIRE(t, node != NULL && array != NULL && page != NULL && small != NULL && large != NULL);
    gc_store(&gc_test_roots[0], node);
    gc_store(&gc_test_roots[1], array);
    for (unsigned i = 0; i < ARRAY_COUNT(strays); i++) {
        expect_stray(t, node, 8, strays[i], "not of the collected heap");
        expect_stray(t, array, 1199976, strays[i], "not of the collected heap");
    }
    kfree(large);
    kfree(small);
    page_free(page, 1);
}

TEST(gc_misuse, pointers_to_what_is_not_collected)
{
    gc_test_run(t, not_collected_body);
}

/* A node and another one in its span, which is free. */
static struct test_node *free_one_beside(struct test_node *node)
{
    for (;;) {
        struct test_node *other = gc_test_node(NULL, NULL, 2);

        if (other == NULL)
            return NULL;
        if (span_of(other) == span_of(node)) {
            gc_free(other);
            return other;
        }
    }
}

static void freed_body(struct test *t)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1), *dead = free_one_beside(node);
    struct test_node *array = gc_new_array(test_node, 50000), *beside = gc_new_array(test_node, 2);
    const struct span *span = span_of(node);

    REQUIRE(t, dead != NULL && array != NULL && beside != NULL);
    gc_store(&gc_test_roots[0], node);
    gc_store(&gc_test_roots[1], array);
    gc_store(&gc_test_roots[2], beside);
    /* From its own span, from another, from a large object; to its middle. */
    expect_stray(t, node, 0, (uintptr_t)dead, "free");
    expect_stray(t, node, 8, (uintptr_t)dead + 23, "free");
    expect_stray(t, beside, 24, (uintptr_t)dead, "free");
    expect_stray(t, array, 0, (uintptr_t)dead, "free");
    /* Behind the last slot. */
    expect_stray(t, beside, 8, (uintptr_t)span_slot(span, span_slot_count(span)) + 1, "free");
}

TEST(gc_misuse, pointers_to_what_is_free)
{
    gc_test_run(t, freed_body);
}

/* All bytes of a span lead to bits that are its own: a stray pointer changes nothing else. */
TEST(gc_misuse, bits_of_any_address_are_the_spans)
{
    for (unsigned index = 1; index < gc_kind_count(); index++) {
        const struct slot_layout *layout = &gc_kind_at(index)->owner.layout;
        size_t last = (size_t)((unsigned __int128)(layout->granules * GRANULE_BYTES - 1) *
                                   layout->slot_magic >>
                               64);

        EXPECT(t, last / 64 < MAX((layout->slot_count + 63u) / 64, 1u));
    }
}

/* A holder that is no object. */
static void holders_body(struct test *t)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1), *dead = free_one_beside(node);
    void **words = gc_alloc_conservative(64);
    char texts[4][160] = {"gc: that is a root", {0}};

    REQUIRE(t, dead != NULL && words != NULL);
    gc_store(&gc_test_roots[0], node);
    store_word(&gc_test_roots[1], (uintptr_t)t);
    format_string(texts[1], 160, "gc: pointer %p, found at %p, is not of the collected heap",
                  (void *)t, (void *)&gc_test_roots[1]);
    expect_says(t, collect_here, NULL, texts);
    store_word(&gc_test_roots[1], (uintptr_t)dead);
    format_string(texts[1], 160, "gc: pointer %p, found at %p, is free", (void *)dead,
                  (void *)&gc_test_roots[1]);
    expect_says(t, collect_here, NULL, texts);
    words[5] = dead; /* which is not marked from here, but known to be here */
    format_string(texts[0], 160, "gc: pointer %p, found at %p, is free", (void *)dead,
                  (void *)&words[5]);
    expect_says(t, collect_here, NULL, texts);
    store_word(&gc_test_roots[1], 0);
}

TEST(gc_misuse, other_holders)
{
    gc_test_run(t, holders_body);
}

/* By a store, which keeps no field in mind. */
static void shade_stray(void *stray)
{
    struct test_node *node = gc_load(&gc_test_roots[0]);
    unsigned long irq = port_irq_save();

    atomic_store_explicit(&gc_barrier_is_on, true, memory_order_relaxed);
    store_word((void *)&node->left, (uintptr_t)stray);
    gc_barrier_flush();
    port_irq_restore(irq);
}

static void store_body(struct test *t)
{
    gc_store(&gc_test_roots[0], gc_test_node(NULL, NULL, 1));
    EXPECT_PANIC(t, shade_stray, t, "which a store has put or taken away, is not of the collected");
}

TEST(gc_misuse, stores_of_what_is_not_collected)
{
    gc_test_run(t, store_body);
}

/*
 * gccheckmark=1 finds what the mark has missed, and what it should not have marked.  Under clobberfree=1 the
 * mark itself stumbles over what is in there.
 */
static void miss_one(void *object)
{
    struct gc_span *gc = gc_span_of(span_of(object));
    size_t slot = span_slot_index(&gc->span, object);

    mark_here();
    atomic_fetch_and_explicit(&gc->marked[slot / 64], ~(1ull << slot % 64), memory_order_relaxed);
    gc_check_marked(NULL);
}

static void mark_and_check(void *unused)
{
    mark_here();
    gc_check_marked(unused);
}

static void missed_body(struct test *t)
{
    struct test_node *last = gc_test_node(NULL, NULL, 1), *node = gc_test_node(NULL, last, 2);
    struct test_node *dead = free_one_beside(node);
    char texts[2][160] = {{0}};

    REQUIRE(t, dead != NULL);
    gc_store(&gc_test_roots[0], node);
    format_string(texts[0], 160,
                  "gc: pointer %p, found at %p, is an object that the mark has missed",
                  (void *)last, (void *)&node->right);
    expect_says(t, miss_one, last, texts);
    format_string(texts[0], 160,
                  "gc: pointer %p, found at %p, is an object that the mark has missed",
                  (void *)node, (void *)&gc_test_roots[0]);
    expect_says(t, miss_one, node, texts);
    store_word((void *)&node->left, (uintptr_t)dead);
    format_string(texts[0], 160, "gc: pointer %p, found at %p, is %s", (void *)dead,
                  (void *)&node->left, settings.clobberfree ? "free" : "no object");
    expect_says(t, mark_and_check, NULL, texts);
    store_word((void *)&node->left, 0);
}

TEST(gc_misuse, gccheckmark_finds_what_was_missed)
{
    gc_test_run(t, missed_body);
}

/* ---- What is freed ---- */

static void free_it(void *object)
{
    gc_free(object);
}

static void free_twice(void *object)
{
    gc_free(object);
    gc_free(object);
}

static bool is_prepared(const void *slot)
{
    struct span *span = span_of(slot);
    size_t index = span_slot_index(span, slot);

    return !span_slot_is_free(span, (unsigned)index) && !gc_slot_is_object(span, index);
}

/* Its slot is in a magazine already when it is freed again.  Of several: one has just been handed out. */
static void free_prepared(void *unused)
{
    struct test_node *nodes[8];

    (void)unused;
    for (unsigned i = 0; i < ARRAY_COUNT(nodes); i++)
        nodes[i] = gc_test_node(NULL, NULL, 1);
    for (unsigned i = 0; i < ARRAY_COUNT(nodes); i++)
        gc_free(nodes[i]);
    for (unsigned i = 0; i < 100000; i++) {
        gc_test_node(NULL, NULL, 1);
        for (unsigned j = 0; j < ARRAY_COUNT(nodes); j++) {
            if (is_prepared(nodes[j]))
                gc_free(nodes[j]);
        }
    }
}

/* Nothing has referred to it at the last mark, and nobody has swept its span so far. */
static void free_dead(void *object)
{
    mark_here();
    gc_kinds_flip();
    gc_free(object);
}

TEST(gc_misuse, frees)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1), *other = gc_test_node(NULL, NULL, 1);
    void *large = gc_alloc_noscan(100000), *tiny = gc_alloc_noscan(3), *small = kmalloc(24);
    const struct span *span = span_of(node);

    REQUIRE(t, node != NULL && other != NULL && large != NULL && tiny != NULL && small != NULL);
    EXPECT_PANIC(t, free_twice, node, "is free");
    EXPECT_PANIC(t, free_prepared, NULL, "it waits in a magazine");
    EXPECT_PANIC(t, free_twice, large, "is not of the collected heap");
    EXPECT_PANIC(t, free_dead, node, "is free, or nothing refers to it");
    EXPECT_PANIC(t, free_dead, large, "nothing refers to");
    EXPECT_PANIC(t, free_it, (char *)node + 8, "is not the start of an object");
    EXPECT_PANIC(t, free_it, (char *)large + 4096, "is not the start of an object");
    EXPECT_PANIC(t, free_it, span_slot(span, span_slot_count(span)),
                 "is not the start of an object");
    EXPECT_PANIC(t, free_it, small, "is not of the collected heap");
    EXPECT_PANIC(t, free_it, t, "is not of the collected heap");
    EXPECT_PANIC(t, free_it, (void *)(1ul << 62), "is not of the collected heap");
    gc_free(tiny); /* others may be in its block */
    gc_free(tiny);
    gc_free(other);
    gc_free(node);
    gc_free(large);
    kfree(small);
}

static void kfree_it(void *object)
{
    kfree(object);
}

static void kfree_sized_it(void *object)
{
    kfree_sized(object, 24);
}

TEST(gc_misuse, kfree_of_what_is_collected)
{
    struct test_node *node = gc_test_node(NULL, NULL, 1);
    void *large = gc_alloc_noscan(100000), *tiny = gc_alloc_noscan(3);

    REQUIRE(t, node != NULL && large != NULL && tiny != NULL);
    EXPECT_PANIC(t, kfree_it, node, "belongs to the collected heap");
    EXPECT_PANIC(t, kfree_it, large, "belongs to the collected heap");
    EXPECT_PANIC(t, kfree_it, tiny, "belongs to the collected heap");
    EXPECT_PANIC(t, kfree_sized_it, node, "belongs to the collected heap");
    EXPECT_PANIC(t, kfree_sized_it, large, "belongs to the collected heap");
}

/* ---- What is refused ---- */

static void refused_body(struct test *t)
{
    static struct test_node *range[4];
    struct test_node *node = gc_test_node(NULL, NULL, 1);

    EXPECT(t, !gc_unpin(node) && !gc_unpin(NULL) && !gc_unpin(t));
    EXPECT(t, !gc_root_remove(range) && !gc_root_remove(NULL));
    REQUIRE(t, gc_pin(node) && gc_root_add(range, sizeof(range)));
    EXPECT(t, !gc_root_remove(node) && !gc_unpin(range)); /* each is not the other */
    EXPECT(t, !gc_root_remove(&range[1]) && !gc_unpin(&node->key));
    EXPECT(t, gc_unpin(node) && !gc_unpin(node));
    EXPECT(t, gc_root_remove(range) && !gc_root_remove(range));

    /* The product wraps: to 0, to a little, to nearly all. */
    EXPECT(t, gc_new_array(test_node, 1ul << 61) == NULL);
    EXPECT(t, gc_new_array(test_node, SIZE_MAX / 24 + 1) == NULL);
    EXPECT(t, gc_new_array(test_node, SIZE_MAX / 24 + 2) == NULL);
    EXPECT(t, gc_new_array(test_node, SIZE_MAX) == NULL);
    /* It does not, and is more than there is. */
    EXPECT(t, gc_new_array(test_node, SIZE_MAX / 24) == NULL);
    EXPECT(t, gc_new_array(test_node, MM_PHYS_BYTES / 24) == NULL);
    EXPECT(t, gc_alloc_noscan(0) == NULL && gc_alloc_conservative(0) == NULL);
    EXPECT(t, gc_alloc_noscan(SIZE_MAX) == NULL && gc_alloc_conservative(SIZE_MAX) == NULL);
    EXPECT(t, gc_alloc_noscan(SIZE_MAX - PAGE_BYTES) == NULL);
}

TEST(gc_misuse, what_is_refused)
{
    gc_test_run(t, refused_body);
}
