/* The collected heap: what can be reached stays as it was, what cannot goes. */
#include "kernel/cmdline.h"
#include "kernel/thread/channel.h"
#include "kernel/thread/thread.h"
#include "mm/page/page.h"
#include "tests/mm/gc/gc_test.h"

/* ---- One thread ---- */

#define LIST_NODES 100000u

static NOINLINE void make_list(uint64_t nodes)
{
    gc_store(&gc_test_roots[0], NULL);
    for (uint64_t i = 0; i < nodes; i++)
        gc_store(&gc_test_roots[0], gc_test_node(gc_load(&gc_test_roots[0]), NULL, i));
}

static NOINLINE uint64_t sum_list(void)
{
    uint64_t sum = 0;

    for (struct test_node *at = gc_load(&gc_test_roots[0]); at != NULL; at = gc_load(&at->left))
        sum += at->key;
    return sum;
}

static void list_body(struct test *t)
{
    make_list(LIST_NODES);
    gc_collect();
    EXPECT(t, sum_list() == LIST_NODES * (LIST_NODES - 1ull) / 2);
    EXPECT(t, gc_stats().live_bytes >= LIST_NODES * sizeof(struct test_node));
    gc_store(&gc_test_roots[0], NULL);
    gc_collect_idle(); /* a word that sum_list has left on the stack may keep all of it */
    EXPECT(t, gc_stats().live_bytes < LIST_NODES / 2 * sizeof(struct test_node));
}

TEST(gc, a_list_stays_and_goes)
{
    gc_test_run(t, list_body);
}

/* Debug builds, sanitizers among them, are slow. */
#define LONG_LIST_NODES (CONFIG_DEBUG ? 300000ul : 10000000ul)

/* A list is the worst there is for a marker that recurses. */
static void long_list_body(struct test *t)
{
    uint64_t nodes = MIN(LONG_LIST_NODES, page_free_count() * PAGE_BYTES / 128);

    make_list(nodes);
    gc_collect();
    EXPECT(t, sum_list() == nodes * (nodes - 1) / 2);
}

TEST(gc, list_of_ten_million_nodes)
{
    gc_test_run(t, long_list_body);
}

/* At least so many, and so many more at most until a cycle has ended, which others run. */
#define TREES     300u
#define TREES_MAX 30000u

static void trees_body(struct test *t)
{
    uint64_t cycles = gc_stats().cycles;

    gc_store(&gc_test_roots[0], gc_test_tree(12, 1));
    for (unsigned i = 0; i < TREES || (i < TREES_MAX && gc_stats().cycles == cycles); i++) {
        if (!EXPECT(t, gc_test_count(gc_test_tree(10, 1), 1) == 2047))
            break;
    }
    EXPECT(t, gc_test_count(gc_load(&gc_test_roots[0]), 1) == 8191);
    /* One that begins may take a while where there are more CPUs than there really are. */
    for (unsigned i = 0; i < 3000 && gc_stats().cycles == cycles; i++)
        gc_test_tree(10, 1);
    EXPECT(t, settings.gogc == 0 || gc_stats().cycles > cycles);
}

TEST(gc, trees_come_and_go)
{
    gc_test_run(t, trees_body);
}

static void cycles_body(struct test *t)
{
    struct test_node *ring = gc_test_node(NULL, NULL, 0), *last = ring;

    for (uint64_t i = 1; i < 1000; i++) {
        struct test_node *node = gc_test_node(last, NULL, i);

        gc_store(&last->right, node);
        last = node;
    }
    gc_store(&last->right, ring);
    gc_store(&ring->left, last);
    gc_store(&gc_test_roots[0], ring);
    gc_collect();

    unsigned wrong = 0;
    struct test_node *at = ring;

    for (uint64_t i = 0; i < 1000; i++, at = gc_load(&at->right))
        wrong += at->key != i || gc_load(&gc_load(&at->right)->left) != at;
    EXPECT(t, wrong == 0 && at == ring);
}

TEST(gc, rings_end)
{
    gc_test_run(t, cycles_body);
}

/* ---- Sizes ---- */

static bool is_zero(const void *object, size_t bytes)
{
    const uint8_t *at = object;

    while (bytes-- != 0) {
        if (*at++ != 0)
            return false;
    }
    return true;
}

static void sizes_body(struct test *t)
{
    for (unsigned round = 0; round < 2; round++) {
        for (size_t bytes = 1; bytes <= 300000; bytes += 1 + bytes / 7) {
            uint8_t *a = gc_alloc_noscan(bytes), *b = gc_alloc_noscan(bytes);

            REQUIRE(t, a != NULL && b != NULL);
            EXPECT(t, is_zero(a, bytes) && is_zero(b, bytes));
            EXPECT(t, bytes < 8 || (uintptr_t)a % (bytes % 8 == 0 ? 8 : 1) == 0);
            EXPECT(t, bytes < 16 || (uintptr_t)a % 16 == 0);
            for (size_t i = 0; i < bytes; i++)
                a[i] = 0xaa;
            EXPECT(t, is_zero(b, bytes));
            for (size_t i = 0; i < bytes; i++)
                b[i] = 0xbb;
            EXPECT(t, a[0] == 0xaa && a[bytes - 1] == 0xaa);
        }
        gc_collect();
    }
}

TEST(gc, objects_of_all_sizes_are_zero_and_apart)
{
    gc_test_run(t, sizes_body);
}

static void tiny_body(struct test *t)
{
    uint64_t before = gc_stats().allocs;
    uint32_t *numbers[1000];

    for (unsigned i = 0; i < ARRAY_COUNT(numbers); i++) {
        REQUIRE(t, (numbers[i] = gc_alloc_noscan(sizeof(uint32_t))) != NULL);
        *numbers[i] = i;
    }
    EXPECT(t, gc_stats().allocs - before < ARRAY_COUNT(numbers) / 2);
    gc_collect();
    for (unsigned i = 0; i < ARRAY_COUNT(numbers); i++)
        EXPECT(t, *numbers[i] == i);
}

TEST(gc, small_objects_share_blocks)
{
    gc_test_run(t, tiny_body);
}

/* ---- Pointers of all kinds ---- */

/* The address of something inside, and no other. */
static void interior_body(struct test *t)
{
    uint64_t *volatile inside[3];

    inside[0] = (uint64_t *)gc_alloc_noscan(1000) + 100;
    inside[1] = (uint64_t *)gc_alloc_noscan(100000) + 10000;
    inside[2] = &gc_test_node(NULL, NULL, 0)->key;
    for (unsigned i = 0; i < 3; i++)
        *inside[i] = i + 1;
    gc_collect();
    for (unsigned i = 0; i < 20000; i++) /* what was freed is handed out again */
        gc_test_node(NULL, NULL, 77);
    gc_alloc_noscan(100000);
    for (unsigned i = 0; i < 3; i++)
        EXPECT(t, *inside[i] == i + 1);
}

TEST(gc, interior_pointers_keep_objects)
{
    gc_test_run(t, interior_body);
}

static void array_body(struct test *t)
{
    static const size_t lengths[] = {1, 2, 3, 20, 40, 1000, 20000};

    for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct test_node *array = gc_new_array(test_node, lengths[i]);

        REQUIRE(t, array != NULL);
        for (size_t j = 0; j < lengths[i]; j++) {
            array[j].key = j;
            gc_store(&array[j].right, gc_test_node(NULL, NULL, j));
        }
        gc_store(&gc_test_roots[1], array);
        gc_collect();
        for (unsigned j = 0; j < 1000; j++)
            gc_test_node(NULL, NULL, 99999);
        for (size_t j = 0; j < lengths[i]; j++)
            EXPECT(t, array[j].key == j && gc_load(&array[j].right)->key == j);
    }
    EXPECT(t, gc_new_array(test_node, 0) == NULL);
    EXPECT(t, gc_new_array(test_node, SIZE_MAX / 8) == NULL);
}

TEST(gc, arrays_of_all_lengths)
{
    gc_test_run(t, array_body);
}

static void conservative_body(struct test *t)
{
    static const size_t sizes[] = {16, 24, 1000, 100000};
    struct test_node **volatile holders[ARRAY_COUNT(sizes)];

    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        holders[i] = gc_alloc_conservative(sizes[i]);
        REQUIRE(t, holders[i] != NULL);
        holders[i][sizes[i] / 8 - 1] = gc_test_node(NULL, NULL, i);
    }
    gc_collect();
    for (unsigned j = 0; j < 1000; j++)
        gc_test_node(NULL, NULL, 99999);
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++)
        EXPECT(t, holders[i][sizes[i] / 8 - 1]->key == i);
}

TEST(gc, conservative_objects_hold_others)
{
    gc_test_run(t, conservative_body);
}

/* ---- Roots ---- */

static NOINLINE void hide(struct test_node **where, uint64_t key)
{
    *where = gc_test_node(NULL, NULL, key);
}

static bool is_still(struct test_node *volatile *where, uint64_t key)
{
    gc_collect();
    for (unsigned i = 0; i < 1000; i++)
        gc_test_node(NULL, NULL, 99999);
    return (*where)->key == key;
}

static void roots_body(struct test *t)
{
    static struct test_node *hidden[4096];

    REQUIRE(t, gc_root_add(hidden, sizeof(hidden)));
    for (unsigned i = 0; i < ARRAY_COUNT(hidden); i += 500) {
        hide(&hidden[i], i);
        EXPECT(t, is_still(&hidden[i], i));
    }
    EXPECT(t, gc_root_remove(hidden) && !gc_root_remove(hidden));
    hide(&hidden[1], 5);
    REQUIRE(t, gc_pin(hidden[1]) && gc_pin(hidden[1]));
    EXPECT(t, gc_unpin(hidden[1]));
    EXPECT(t, is_still(&hidden[1], 5));
    EXPECT(t, gc_unpin(hidden[1]) && !gc_unpin(hidden[1]));
}

TEST(gc, ranges_and_pins_keep_objects)
{
    gc_test_run(t, roots_body);
}

/* On the flow that runs the tests, which is in no table of threads. */
TEST(gc, main_has_a_stack_too)
{
    struct test_node *volatile node;

    hide((struct test_node **)&node, 9);
    EXPECT(t, is_still(&node, 9));
    node = NULL;
}

static void channel_body(struct test *t)
{
    struct channel *channel = channel_create(3);
    uintptr_t word = 0;

    REQUIRE(t, channel != NULL);
    channel_send(channel, (uintptr_t)gc_test_tree(3, 1));
    for (unsigned i = 0; i < 3; i++) {
        gc_collect();
        for (unsigned j = 0; j < 1000; j++)
            gc_test_node(NULL, NULL, 99999);
    }
    EXPECT(t, channel_receive(channel, &word));
    EXPECT(t, gc_test_count((struct test_node *)word, 1) == 15);
    channel_destroy(channel);
}

TEST(gc, what_a_channel_holds_stays)
{
    gc_test_run(t, channel_body);
}

static void given(void *tree)
{
    struct test_node *given_tree = tree;

    if (gc_test_count(given_tree, 1) == 15)
        gc_store(&gc_test_roots[2], given_tree);
}

static NOINLINE struct thread *give(void)
{
    struct thread_options options = {.priority = THREAD_BACKGROUND, .cpus = 1};

    return thread_create("heir", given, gc_test_tree(3, 1), &options);
}

static void argument_body(struct test *t)
{
    struct thread *heir = give(); /* on CPU 0, which runs more urgent ones */

    REQUIRE(t, heir != NULL);
    gc_collect();
    for (unsigned j = 0; j < 1000; j++)
        gc_test_node(NULL, NULL, 99999);
    thread_join(heir);
    EXPECT(t, gc_load(&gc_test_roots[2]) != NULL);
}

TEST(gc, what_a_new_thread_is_given_stays)
{
    gc_test_run(t, argument_body);
}

/* ---- The memory limit: memlimit=, gogc=off ---- */

static size_t in_use(void)
{
    struct mm_stats stats = mm_stats();

    return stats.ram_bytes - stats.free_bytes;
}

/* Garbage of four times the limit: only the limit makes cycles, and it is kept within a tenth. */
static void limit_body(struct test *t)
{
    size_t limit = settings.memlimit_bytes, most = 0;
    uint64_t cycles = gc_stats().cycles;

    for (size_t made = 0; made < 4 * limit; made += MIB) {
        for (size_t bytes = 0; bytes < MIB; bytes += sizeof(struct test_node))
            gc_store(&gc_test_roots[0], gc_test_node(NULL, NULL, bytes));
        most = MAX(most, in_use());
    }
    EXPECT(t, gc_stats().cycles > cycles);
    EXPECT(t, most <= limit + limit / 10);
}

TEST(gc, keeps_to_the_memory_limit)
{
    if (settings.memlimit_bytes == 0 || settings.gogc != 0) {
        test_skip(t, "for gogc=off memlimit=");
        return;
    }
    gc_test_run(t, limit_body);
}

/* ---- Freed by hand ---- */

static void free_body(struct test *t)
{
    size_t before = gc_stats().heap_bytes;

    for (unsigned i = 0; i < 1000; i++)
        gc_free(gc_test_node(NULL, NULL, i));
    for (unsigned i = 0; i < 100; i++)
        gc_free(gc_alloc_noscan(100000));
    gc_free(NULL);
    gc_free(gc_alloc_noscan(3));
    EXPECT(t, gc_stats().heap_bytes <= before + 4 * GRANULE_BYTES); /* what CPUs own may be free */
}

TEST(gc, what_is_freed_by_hand_is_free)
{
    gc_test_run(t, free_body);
}
