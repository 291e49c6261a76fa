/*
 * The marker by itself: roots are what a test says they are, so what is found is exact.
 */
#include "kernel/base/config.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "tests/mm/mark/nodes.h"
#include "tests/test.h"

unsigned nodes_no_slot;

/* What was not marked. */
struct nodes_found {
    size_t count;
    uint64_t sum;    /* of their numbers */
    uintptr_t last;  /* address */
    bool is_ordered; /* by address, so none came twice */
};

static void nodes_found_one(const struct span *span, unsigned slot, void *arg)
{
    struct nodes_found *found = arg;
    const struct node *node = nodes_at(span, slot);

    found->count++;
    found->sum += node->number;
    found->is_ordered &= (uintptr_t)node > found->last;
    found->last = (uintptr_t)node;
}

/* Mark from `count` words; what is left of all nodes. */
static struct nodes_found mark_from(struct test *t, const void *words, size_t count,
                                    size_t *marked_count)
{
    struct nodes_found found = {.is_ordered = true};
    struct mark mark;

    *marked_count = 0;
    if (!EXPECT(t, mark_open(&mark, &nodes_heap)))
        return found;

    size_t free_pages = page_free_count();

    mark_range(&mark, (uintptr_t)words, (uintptr_t)words + count * sizeof(uintptr_t));
    mark_drain(&mark);
    mark_each_unmarked(&mark, nodes_found_one, &found);
    *marked_count = mark.marked_count;
    EXPECT(t, page_free_count() == free_pages); /* nothing was taken while marking */
    EXPECT(t, found.is_ordered);
    mark_close(&mark);
    return found;
}

static void expect_marked(struct test *t, const void *words, size_t count, size_t marked,
                          size_t unmarked)
{
    size_t marked_count;

    EXPECT(t, mark_from(t, words, count, &marked_count).count == unmarked);
    EXPECT(t, marked_count == marked);
}

/* ---- Shapes ---- */

#define SIZES 8u
static const size_t node_sizes[SIZES] = {32, 48, 96, 480, 1400, 6528, 32768, 70000};

/* All that belongs to a node: its slot, or its span. */
static uintptr_t nodes_slot(const struct span *span, const struct node *node)
{
    return span->owner == NULL ? span->base : (uintptr_t)node - central_of(span)->object_shift;
}

static size_t nodes_slot_bytes(const struct span *span)
{
    return span->owner == NULL ? span_bytes(span) : span_slot_bytes(span);
}

TEST(mark, start_and_interior_refer_and_the_end_does_not)
{
    for (unsigned i = 0; i < SIZES; i++) {
        size_t bytes = node_sizes[i];
        struct node *node = node_new(bytes, NULL, NULL);

        REQUIRE(t, node != NULL);

        const struct span *span = span_of(node);
        char *at = (char *)node, *slot = (char *)nodes_slot(span, node);
        char *refers[] = {at, at + 1, at + 8, at + bytes / 2, at + bytes - 1};
        char *does_not[] = {slot - 1, slot + nodes_slot_bytes(span), NULL, (char *)~(uintptr_t)at};

        for (unsigned k = 0; k < ARRAY_COUNT(refers); k++)
            expect_marked(t, &refers[k], 1, 1, 0);
        expect_marked(t, does_not, ARRAY_COUNT(does_not), 0, 1);

        const char *tail =
            (const char *)(span->base + span_slot_count(span) * span_slot_bytes(span));

        nodes_no_slot = 0;
        expect_marked(t, &tail, 1, span_slot_count(span) == 0, span_slot_count(span) != 0);
        EXPECT(t, nodes_no_slot == 0);
        node_free(node);
    }
}

TEST(mark, words_count_only_where_aligned_and_inside)
{
    struct node *node = node_new(64, NULL, NULL);
    uintptr_t words[4] = {0, (uintptr_t)node, 0, 0};
    char *bytes = (char *)words;
    size_t marked_count;
    struct mark mark;

    REQUIRE(t, node != NULL);
    expect_marked(t, words, 1, 0, 1);
    expect_marked(t, words, 2, 1, 0);
    expect_marked(t, words + 2, 2, 0, 1);
    words[1] = 0;
    memcpy(bytes + 12, &node, sizeof(node)); /* across two words */
    (void)mark_from(t, words, 4, &marked_count);
    EXPECT(t, marked_count == 0);

    words[1] = (uintptr_t)node; /* ends of a range that are not aligned: whole words inside only */
    REQUIRE(t, mark_open(&mark, &nodes_heap));
    mark_range(&mark, (uintptr_t)bytes + 9, (uintptr_t)bytes + 32);
    mark_range(&mark, (uintptr_t)bytes, (uintptr_t)bytes + 15);
    EXPECT(t, mark.marked_count == 0);
    mark_range(&mark, (uintptr_t)bytes + 1, (uintptr_t)bytes + 16);
    EXPECT(t, mark.marked_count == 1);
    mark_close(&mark);
    node_free(node);
}

TEST(mark, chain_over_all_sizes)
{
    struct node *chain[4 * SIZES], *root = NULL;

    for (unsigned i = 0; i < ARRAY_COUNT(chain); i++)
        REQUIRE(t, (chain[i] = root = node_new(node_sizes[i % SIZES], root, NULL)) != NULL);
    expect_marked(t, &root, 1, ARRAY_COUNT(chain), 0);
    expect_marked(t, &chain[10], 1, 11, ARRAY_COUNT(chain) - 11);
    chain[20]->links[0] = NULL;
    expect_marked(t, &root, 1, ARRAY_COUNT(chain) - 20, 20);
    for (unsigned i = 0; i < ARRAY_COUNT(chain); i++)
        node_free(chain[i]);
}

TEST(mark, cycles_end_and_count_once)
{
    struct node *a = node_new(64, NULL, NULL), *b = node_new(1000, a, a);
    struct node *self = node_new(64, NULL, NULL);

    REQUIRE(t, a != NULL && b != NULL && self != NULL);
    a->links[1] = b;
    self->links[0] = self;
    expect_marked(t, &a, 1, 2, 1);
    expect_marked(t, &b, 1, 2, 1);
    expect_marked(t, &self, 1, 1, 2);
    expect_marked(t, NULL, 0, 0, 3);
    node_free(a);
    node_free(b);
    node_free(self);
}

static struct node *tree_new(unsigned depth)
{
    return depth == 0 ? NULL
                      : node_new(sizeof(struct node), tree_new(depth - 1), tree_new(depth - 1));
}

static size_t tree_free(struct node *node)
{
    if (node == NULL)
        return 0;

    size_t count = 1 + tree_free(node->links[0]) + tree_free(node->links[1]);

    node_free(node);
    return count;
}

TEST(mark, tree)
{
    size_t count = (1u << 12) - 1;
    struct node *tree = tree_new(12);

    expect_marked(t, &tree, 1, count, 0);
    expect_marked(t, &tree->links[1], 1, count / 2, count - count / 2);
    EXPECT(t, tree_free(tree) == count);
}

/* A reference in the last word of each piece of a large object. */
TEST(mark, large_objects_are_scanned_whole)
{
    size_t bytes = 9 * MARK_PIECE_BYTES + 4096, pieces = bytes / MARK_PIECE_BYTES + 1;
    struct node *large = node_new(bytes, NULL, NULL);
    uintptr_t *words = (uintptr_t *)large;
    size_t count = bytes / sizeof(*words);

    REQUIRE(t, large != NULL);
    for (size_t piece = 0; piece < pieces; piece++) {
        size_t at = MIN((piece + 1) * MARK_PIECE_BYTES / sizeof(*words), count) - 1;

        words[at] = (uintptr_t)node_new(64, NULL, NULL);
    }
    expect_marked(t, &large, 1, pieces + 1, 0);
    words[count - 1] = ~words[count - 1];
    expect_marked(t, &large, 1, pieces, 1);
    words[count - 1] = ~words[count - 1];
    for (size_t piece = 0; piece < pieces; piece++)
        node_free((void *)words[MIN((piece + 1) * MARK_PIECE_BYTES / sizeof(*words), count) - 1]);
    node_free(large);
}

TEST(mark, large_object_refers_to_itself)
{
    struct node *large = node_new(3 * MARK_PIECE_BYTES, NULL, NULL);
    uintptr_t *words = (uintptr_t *)large;

    REQUIRE(t, large != NULL);
    for (size_t i = sizeof(struct node) / sizeof(*words); i < 3 * MARK_PIECE_BYTES / 8; i += 512)
        words[i] = (uintptr_t)large + i;
    expect_marked(t, &large, 1, 1, 0);
    node_free(large);
}

/* ---- A long list ---- */

/* Debug builds, sanitizers among them, are slow. */
#define LIST_MAX (CONFIG_DEBUG ? 1000000ul : 10000000ul)

/* All of it from its head, half of it from its middle. */
static void list_expect(struct test *t, struct node *list, size_t count)
{
    size_t marked_count;
    struct node *middle = list;

    expect_marked(t, &list, 1, count, 0);
    for (size_t i = 0; i < count / 2; i++)
        middle = middle->links[0];
    EXPECT(t, mark_from(t, &middle->links[0], 1, &marked_count).count == count - marked_count);
    EXPECT(t, marked_count == count - count / 2 - 1);
}

/* Nodes stand in memory the other way round than in the list, so it runs down through all spans. */
TEST(mark, list_of_ten_million_nodes)
{
    struct node *list = NULL, *spare = node_new(sizeof(*list), NULL, NULL);
    size_t count, made = 0;

    REQUIRE(t, spare != NULL);
    count = page_free_count() * PAGE_BYTES / 4 * 3 / nodes_slot_bytes(span_of(spare));
    count = MIN(LIST_MAX, count);
    node_free(spare);
    spare = NULL;

    for (; made + 2 <= count; made += 2) {
        struct node *node = node_new(sizeof(*node), list, NULL);

        if (node == NULL)
            break;
        list = node;
        node = node_new(sizeof(*node), spare, NULL);
        if (node == NULL)
            break;
        spare = node;
    }
    EXPECT(t, made + 2 > count);
    for (struct node *node = list; spare != NULL; node = node->links[0]->links[0]) {
        struct node *next = spare->links[0];

        spare->links[0] = node->links[0];
        node->links[0] = spare;
        spare = next;
    }
    list_expect(t, list, made);
    list_free(list);
    mm_check();
}

/* ---- A random graph against a plain search ---- */

#define GRAPH_NODES 3000u

static struct node *graph[GRAPH_NODES];
static bool graph_seen[GRAPH_NODES];
static unsigned graph_stack[GRAPH_NODES];

static size_t graph_reach(unsigned from)
{
    size_t reached = 0;
    unsigned depth = 0;

    memset(graph_seen, 0, sizeof(graph_seen));
    graph_seen[from] = true;
    graph_stack[depth++] = from;
    while (depth > 0) {
        const struct node *node = graph[graph_stack[--depth]];

        reached++;
        for (unsigned i = 0; i < NODE_LINKS; i++) {
            const struct node *to = node->links[i];

            if (to != NULL && !graph_seen[to->number]) {
                graph_seen[to->number] = true;
                graph_stack[depth++] = (unsigned)to->number;
            }
        }
    }
    return reached;
}

TEST(mark, random_graphs_as_a_plain_search)
{
    uint64_t state = test_seed(t);

    for (unsigned i = 0; i < GRAPH_NODES; i++) {
        graph[i] = node_new(32 + random_next(&state) % 600, NULL, NULL);
        REQUIRE(t, graph[i] != NULL);
        graph[i]->number = i;
    }
    for (unsigned round = 0; round < 20; round++) {
        unsigned from = random_next(&state) % GRAPH_NODES;

        for (unsigned i = 0; i < GRAPH_NODES; i++) { /* 1.1 links a node, about */
            for (unsigned k = 0; k < NODE_LINKS; k++) {
                uint64_t to = random_next(&state) % GRAPH_NODES;

                graph[i]->links[k] = random_next(&state) % 100 < 55 ? graph[to] : NULL;
            }
        }

        size_t reached = graph_reach(from), marked_count;
        struct nodes_found found = mark_from(t, &graph[from], 1, &marked_count);
        uint64_t sum = 0;

        for (unsigned i = 0; i < GRAPH_NODES; i++)
            sum += graph_seen[i] ? 0 : i;
        EXPECT(t, marked_count == reached && found.count == GRAPH_NODES - reached);
        EXPECT(t, found.sum == sum);
    }
    for (unsigned i = 0; i < GRAPH_NODES; i++)
        node_free(graph[i]);
    memset(graph, 0, sizeof(graph));
}
