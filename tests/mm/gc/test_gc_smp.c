/* The collected heap with many mutators: what they have is theirs, wherever they keep it. */
#include "kernel/cpus.h"
#include "kernel/thread/channel.h"
#include "kernel/thread/thread.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/mm/gc/gc_test.h"

#define MUTATORS 8u

static _Atomic unsigned smp_wrong, smp_over;

/* Until all bodies are through, one cycle after another. */
static void collect_on(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(&smp_over, memory_order_acquire) != MUTATORS)
        gc_collect();
}

static void over(bool is_wrong)
{
    atomic_fetch_add_explicit(&smp_wrong, is_wrong, memory_order_relaxed);
    atomic_fetch_add_explicit(&smp_over, 1, memory_order_release);
}

static void (*smp_body)(void *number);
static _Atomic bool smp_goes;

/* All begin when all are there: a body may leave no memory for another thread. */
static void begin(void *number)
{
    while (!atomic_load_explicit(&smp_goes, memory_order_acquire))
        thread_yield();
    smp_body(number);
}

/* MUTATORS threads, each with its number, and one that collects. */
static void smp_run(struct test *t, void (*body)(void *number))
{
    struct thread *threads[MUTATORS], *collects;

    atomic_store(&smp_wrong, 0);
    atomic_store(&smp_over, 0);
    atomic_store(&smp_goes, false);
    smp_body = body;
    for (uintptr_t i = 0; i < MUTATORS; i++) {
        if (!EXPECT(t, (threads[i] = thread_create("mutator", begin, (void *)i, NULL)) != NULL))
            over(true);
    }
    EXPECT(t, (collects = thread_create("collects", collect_on, NULL, NULL)) != NULL);
    atomic_store_explicit(&smp_goes, true, memory_order_release);
    for (unsigned i = 0; i < MUTATORS; i++) {
        if (threads[i] != NULL)
            thread_join(threads[i]);
    }
    if (collects != NULL)
        thread_join(collects);
    EXPECT(t, atomic_load(&smp_wrong) == 0);
    for (unsigned i = 0; i < ARRAY_COUNT(gc_test_roots); i++)
        gc_store(&gc_test_roots[i], NULL);
}

/* ---- On stacks ---- */

static void stack_body(void *number)
{
    bool is_wrong = false;

    for (unsigned i = 0; i < 60 && !is_wrong; i++)
        is_wrong = gc_test_count(gc_test_tree(9, 1), 1) != 1023;
    over(is_wrong);
    (void)number;
}

TEST(gc_smp, trees_on_stacks)
{
    smp_run(t, stack_body);
}

/* ---- A graph that is rewritten while it is marked ---- */

#define GRAPH_NODES  512u
#define GRAPH_ROUNDS 40000u

/*
 * An array of nodes, each with a list of its own behind `left`; pieces of lists move from node to node, so
 * that what one had another has: the sum of keys stays.
 */
static uint64_t graph_sum(struct test_node *nodes)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < GRAPH_NODES; i++) {
        for (struct test_node *at = gc_load(&nodes[i].left); at != NULL; at = gc_load(&at->left))
            sum += at->key;
    }
    return sum;
}

static void graph_body(void *number)
{
    uint64_t random = (uintptr_t)number + 1, sum = 0;
    struct test_node *nodes = gc_new_array(test_node, GRAPH_NODES);

    gc_store(&gc_test_roots[(uintptr_t)number], nodes);
    for (unsigned i = 0; i < GRAPH_NODES; i++) {
        gc_store(&nodes[i].left, gc_test_node(NULL, NULL, i));
        sum += i;
    }
    for (unsigned round = 0; round < GRAPH_ROUNDS; round++) {
        struct test_node *from = &nodes[random_next(&random) % GRAPH_NODES];
        struct test_node *to = &nodes[random_next(&random) % GRAPH_NODES];
        struct test_node *moved = gc_load(&from->left);

        if (moved == NULL)
            continue;
        /* Out of one list, and only then into another, as a copy every second time. */
        gc_store(&from->left, gc_load(&moved->left));
        gc_store(&moved->left, NULL);
        if (round % 2 == 0)
            moved = gc_test_node(NULL, NULL, moved->key);
        gc_store(&moved->left, gc_load(&to->left));
        gc_store(&to->left, moved);
    }
    over(graph_sum(nodes) != sum);
}

TEST(gc_smp, lists_rewritten_while_marked)
{
    smp_run(t, graph_body);
}

/* ---- Handed on by channels only ---- */

#define RING_TURNS 2000u

static struct channel *ring[MUTATORS];

/* Who has number 0 makes a tree for each turn; nobody keeps one. */
static void ring_body(void *number)
{
    uintptr_t me = (uintptr_t)number, word;
    unsigned turns = 0;
    bool is_wrong = false;

    if (me == 0)
        channel_send(ring[1], (uintptr_t)gc_test_tree(5, 1));
    while (channel_receive(ring[me], &word)) {
        is_wrong |= gc_test_count((struct test_node *)word, 1) != 63;
        if (me == 0 && ++turns == RING_TURNS)
            break;
        if (me == 0)
            word = (uintptr_t)gc_test_tree(5, 1);
        if (!channel_send(ring[(me + 1) % MUTATORS], word))
            break;
    }
    channel_close(ring[(me + 1) % MUTATORS]); /* one after another */
    over(is_wrong || (me == 0 && turns != RING_TURNS));
}

static void ring_run(struct test *t, size_t room)
{
    for (unsigned i = 0; i < MUTATORS; i++)
        REQUIRE(t, (ring[i] = channel_create(room)) != NULL);
    smp_run(t, ring_body);
    for (unsigned i = 0; i < MUTATORS; i++)
        channel_destroy(ring[i]);
}

TEST(gc_smp, handed_on_by_channels)
{
    ring_run(t, 0);
}

TEST(gc_smp, left_in_channels)
{
    ring_run(t, 3);
}

/* ---- Handed to a thread that is made ---- */

static void heir_body(void *tree)
{
    if (gc_test_count(tree, 1) != 63)
        atomic_fetch_add_explicit(&smp_wrong, 1, memory_order_relaxed);
}

static void testator_body(void *number)
{
    bool is_wrong = false;

    for (unsigned i = 0; i < 200 && !is_wrong; i++) {
        struct thread *heir = thread_create("heir", heir_body, gc_test_tree(5, 1), NULL);

        is_wrong = heir == NULL;
        if (heir != NULL)
            thread_join(heir);
    }
    over(is_wrong);
    (void)number;
}

TEST(gc_smp, handed_to_new_threads)
{
    smp_run(t, testator_body);
}

/* ---- Many stacks ---- */

#define SLEEPERS (CONFIG_DEBUG ? 2000u : 10000u)

static struct channel *sleepers;

static NOINLINE uint64_t sleep_deep(unsigned depth, uint64_t key)
{
    struct test_node *volatile node = gc_test_node(NULL, NULL, key);
    uintptr_t word;

    if (depth != 0)
        return sleep_deep(depth - 1, key + 1) + (node->key != key);
    channel_receive(sleepers, &word); /* closed */
    return node->key != key;
}

static void sleeper_body(void *key)
{
    if (sleep_deep(20, (uintptr_t)key) != 0)
        atomic_fetch_add_explicit(&smp_wrong, 1, memory_order_relaxed);
}

TEST(gc_smp, many_deep_stacks)
{
    size_t count = MIN(SLEEPERS, page_free_count() / 8), made = 0;
    struct thread **threads = kmalloc(count * sizeof(*threads));

    REQUIRE(t, threads != NULL && (sleepers = channel_create(0)) != NULL);
    atomic_store(&smp_wrong, 0);
    while (made < count && (threads[made] = thread_create("sleeper", sleeper_body,
                                                          (void *)(made * 100), NULL)) != NULL)
        made++;
    for (unsigned i = 0; i < 3; i++)
        gc_collect();
    channel_close(sleepers);
    for (size_t i = 0; i < made; i++)
        thread_join(threads[i]);
    EXPECT(t, made == count && atomic_load(&smp_wrong) == 0);
    channel_destroy(sleepers);
    kfree(threads);
}

/* ---- Memory that is full ---- */

#define FULL_BYTES (8 * MIB)

static void full_body(void *number)
{
    struct test_node *list = NULL, *node;
    uint64_t nodes = 0, found = 0;

    while ((node = gc_test_node(list, NULL, nodes)) != NULL) {
        list = node;
        nodes++;
    }
    for (node = list; node != NULL; node = gc_load(&node->left))
        found++;
    over(found != nodes);
    (void)number;
}

/* Each thread keeps what it gets until there is no more: all of them end, none waits for ever. */
TEST(gc_smp, full_memory_ends_in_null)
{
    size_t left = FULL_BYTES / PAGE_BYTES, count = page_free_count();
    void *taken = NULL;

    if (count > GIB / PAGE_BYTES) {
        test_skip(t, "takes long where memory is large");
        return;
    }
    /* All but a little is somebody else's. */
    while (page_free_count() > left + 512) {
        void **page = page_alloc(512, 0);

        if (page == NULL)
            break;
        *page = taken;
        taken = page;
    }
    EXPECT(t, page_free_count() < count);
    smp_run(t, full_body);
    while (taken != NULL) {
        void *next = *(void **)taken;

        page_free(taken, 512);
        taken = next;
    }
}
