/*
 * Objects at the edges of spans and of memory, found by the address of any byte of theirs; and large
 * arrays of pointers that change while they are marked piece by piece.
 */
#include "kernel/thread/thread.h"
#include "mm/gc/gc_impl.h"
#include "mm/page/page.h"
#include "tests/mm/gc/gc_test.h"

/* ---- Edges ---- */

#define EDGE_OBJECTS 600u

static uintptr_t edges[EDGE_OBJECTS]; /* a range that is a root */

/* As many as fit: of that size, each known by its first or by its last byte, all written to. */
static unsigned fill_edges(size_t bytes, unsigned wanted, size_t offset)
{
    unsigned count = 0;

    for (; count < wanted; count++) {
        uint8_t *object = gc_alloc_noscan(bytes);

        if (object == NULL)
            break;
        object[0] = (uint8_t)count;
        object[bytes - 1] = (uint8_t)count;
        edges[count] = (uintptr_t)object + offset;
    }
    return count;
}

static NOINLINE void clear_edges(void)
{
    for (unsigned i = 0; i < EDGE_OBJECTS; i++)
        edges[i] = 0;
}

static void check_edges(struct test *t, size_t bytes, unsigned wanted, size_t offset)
{
    unsigned count = fill_edges(bytes, wanted, offset), wrong = 0;

    gc_collect_idle();
    for (unsigned i = 0; i < 2000; i++) /* what was freed is handed out again */
        *(uint8_t *)gc_alloc_noscan(MIN(bytes, 1024u)) = 0xee;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *object = (const uint8_t *)(edges[i] - offset);

        wrong += object[0] != (uint8_t)i || object[bytes - 1] != (uint8_t)i;
    }
    EXPECT(t, count >= MIN(wanted, 32u) && wrong == 0);
    clear_edges();
    gc_collect_idle();
}

/* Whole spans of small ones, so the first and the last slot are among them. */
TEST(gc_edges, every_object_of_a_span_by_its_first_and_last_byte)
{
    static const size_t sizes[] = {16, 24, 48, 112, 1000, 8192, 32768, 32769, 100000};

    REQUIRE(t, gc_root_add(edges, sizeof(edges)));
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        unsigned wanted = (unsigned)MIN(EDGE_OBJECTS, 16 * MIB / sizes[i]);

        check_edges(t, sizes[i], wanted, 0);
        check_edges(t, sizes[i], wanted, sizes[i] - 1);
    }
    EXPECT(t, gc_root_remove(edges));
}

/* All of memory but a little, so that some stand at the edges of arenas. */
TEST(gc_edges, objects_that_fill_all_arenas)
{
    size_t left = 8 * MIB, room = page_free_count() * PAGE_BYTES;
    size_t bytes = ALIGN_UP(MAX((room - left) / EDGE_OBJECTS, 256 * KIB), PAGE_BYTES);
    unsigned wanted = (unsigned)MIN((room - left) / bytes, EDGE_OBJECTS);

    REQUIRE(t, gc_root_add(edges, sizeof(edges)));
    check_edges(t, bytes, wanted - wanted / 8, bytes - 1);
    EXPECT(t, gc_root_remove(edges));
}

/* One byte behind its span, and one before it. */
TEST(gc_edges, addresses_beside_an_object_do_not_keep_it)
{
    uint8_t *object = gc_alloc_noscan(100000);
    struct span *span = span_of(object);

    REQUIRE(t, object != NULL && gc_root_add(edges, sizeof(edges)));
    edges[0] = span->base + span_bytes(span);
    edges[1] = span->base - 1;
    edges[2] = ~(uintptr_t)object;
    gc_collect_idle();
    EXPECT(t, span_of((void *)~edges[2]) == NULL);
    clear_edges();
    EXPECT(t, gc_root_remove(edges));
}

/* ---- Large arrays of pointers ---- */

#define KIDS   1024u
#define BLOCKS 512u /* 4 MiB of pointers, 32 pieces */

struct test_block {
    GC_PTR(struct test_node) kids[KIDS];
};
GC_TYPE(test_block, struct test_block, kids);

GC_ROOT(struct test_block, block_root);

/* A node for every 16th pointer; keys 1 .. */
static uint64_t fill_blocks(struct test_block *blocks)
{
    uint64_t key = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        for (unsigned j = 0; j < KIDS; j += 16)
            gc_store(&blocks[i].kids[j], gc_test_node(NULL, NULL, ++key));
    }
    return key;
}

/* How many of the keys there are, each counted but once. */
static uint64_t sum_blocks(struct test_block *blocks)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        for (unsigned j = 0; j < KIDS; j++) {
            struct test_node *node = gc_load(&blocks[i].kids[j]);

            sum += node != NULL ? node->key : 0;
        }
    }
    return sum;
}

static void swap_blocks(struct test_block *blocks, uint64_t random)
{
    GC_PTR(struct test_node) *a = &blocks[random % BLOCKS].kids[random >> 10 & (KIDS - 1)];
    GC_PTR(struct test_node) *b = &blocks[(random >> 20) % BLOCKS].kids[random >> 30 & (KIDS - 1)];
    struct test_node *moved = gc_load(a);

    gc_store(a, gc_load(b));
    gc_store(b, moved);
}

static void move_all_back_to_front(void *unused)
{
    struct test_block *blocks = gc_load(&block_root);

    (void)unused;
    for (unsigned i = 0; i < BLOCKS / 2; i++) {
        for (unsigned j = 0; j < KIDS; j += 16) {
            gc_store(&blocks[i].kids[j + 1], gc_load(&blocks[BLOCKS - 1 - i].kids[j]));
            gc_store(&blocks[BLOCKS - 1 - i].kids[j], NULL);
        }
    }
}

/* Found all at once, in more spans than a queue has room for: few are in one. */
#define TABLE_BLOCKS 3000u

struct test_table {
    GC_PTR(struct test_block) blocks[TABLE_BLOCKS];
};
GC_TYPE(test_table, struct test_table, blocks);

GC_ROOT(struct test_table, table_root);

static void churn(void)
{
    for (unsigned i = 0; i < 50000; i++)
        gc_test_node(NULL, NULL, 0xbad);
}

static void moved_body(struct test *t)
{
    struct test_block *blocks = gc_new_array(test_block, BLOCKS);

    REQUIRE(t, blocks != NULL);
    gc_store(&block_root, blocks);

    uint64_t keys = fill_blocks(blocks);

    gc_collect_during(move_all_back_to_front, NULL);
    churn();
    EXPECT(t, sum_blocks(blocks) == keys * (keys + 1) / 2);
    gc_store(&block_root, NULL);
}

TEST(gc_edges, pieces_that_move_to_pieces_that_are_scanned)
{
    gc_test_run(t, moved_body);
}

static void many_spans_body(struct test *t)
{
    struct test_table *table = gc_new(test_table);
    unsigned wrong = 0;

    REQUIRE(t, table != NULL);
    gc_store(&table_root, table);
    for (unsigned i = 0; i < TABLE_BLOCKS; i++) {
        struct test_block *block = gc_new(test_block);

        REQUIRE(t, block != NULL);
        gc_store(&table->blocks[i], block);
        gc_store(&block->kids[i % KIDS], gc_test_node(NULL, NULL, i));
    }
    gc_collect();
    churn();
    for (unsigned i = 0; i < TABLE_BLOCKS; i++)
        wrong += gc_load(&gc_load(&table->blocks[i])->kids[i % KIDS])->key != i;
    EXPECT(t, wrong == 0);
    gc_store(&table_root, NULL);
}

TEST(gc_edges, more_spans_at_once_than_a_queue_has_room_for)
{
    gc_test_run(t, many_spans_body);
}

static _Atomic bool swaps_are_over;

static void collect_on(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&swaps_are_over, memory_order_acquire))
        gc_collect();
}

static void swapped_body(struct test *t)
{
    struct test_block *blocks = gc_new_array(test_block, BLOCKS);
    struct thread *collects = thread_create("collects", collect_on, NULL, NULL);
    uint64_t random = test_seed(t);

    REQUIRE(t, blocks != NULL && collects != NULL);
    gc_store(&block_root, blocks);

    uint64_t keys = fill_blocks(blocks), cycles = gc_stats().cycles;

    for (unsigned round = 0; round < 200 && gc_stats().cycles < cycles + 3; round++) {
        for (unsigned i = 0; i < 20000; i++)
            swap_blocks(blocks, random_next(&random));
        churn();
    }
    atomic_store_explicit(&swaps_are_over, true, memory_order_release);
    thread_join(collects);
    EXPECT(t, sum_blocks(blocks) == keys * (keys + 1) / 2);
    gc_store(&block_root, NULL);
}

TEST(gc_edges, an_array_that_is_shuffled_while_it_is_marked)
{
    atomic_store(&swaps_are_over, false);
    gc_test_run(t, swapped_body);
}
