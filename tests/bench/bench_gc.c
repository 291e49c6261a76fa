/* The collected heap. */
#include "kernel/thread/thread.h"
#include "mm/gc/gc_impl.h"
#include "kernel/base/random.h"
#include "tests/bench/bench.h"

struct bench_one {
    GC_PTR(struct bench_one) next;
    uint64_t key;
};
GC_TYPE(bench_one, struct bench_one, next);

struct bench_node {
    GC_PTR(struct bench_node) left, right;
};
GC_TYPE(bench_node, struct bench_node, left, right);

static struct bench_node *volatile bench_gc_root;

/* ---- On a thread: what main has on its stack does not count ---- */

static void on_thread(struct bench *bench, void (*body)(void *bench))
{
    struct thread *thread = thread_create("bench", body, bench, NULL);

    if (thread != NULL)
        thread_join(thread);
}

static void new_body(void *arg)
{
    struct bench *bench = arg;

    gc_new(bench_one);
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        bench_use(gc_new(bench_one));
    bench_stop(bench);
    bench_allocs(bench, bench->n, bench->n * 16);
}

static void new_loop(struct bench *bench)
{
    on_thread(bench, new_body);
}

static void new_empty(struct bench *bench)
{
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--) {
        bench_use(bench_opaque((size_t)&gc_type_bench_one));
        bench_call();
    }
    bench_stop(bench);
}

BENCH(GcNew, .name = "GcNew/type=16B", .loop = new_loop, .empty = new_empty);

/* ---- Stores ---- */

static void store_body(void *arg)
{
    struct bench *bench = arg;
    struct bench_node *node = gc_new(bench_node);

    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--)
        gc_store(&node->left, node);
    bench_stop(bench);
}

static void store_loop(struct bench *bench)
{
    on_thread(bench, store_body);
}

static void store_empty(struct bench *bench)
{
    bench_start(bench);
    for (uint64_t i = bench->n; i > 0; i--) {
        bench_use(bench_opaque(i));
        bench_call();
    }
    bench_stop(bench);
}

BENCH(GcStoreOff, .name = "GcStore/mark=off", .loop = store_loop, .empty = store_empty);

static void store_on_loop(struct bench *bench)
{
    gc_collect_during(store_body, bench);
}

BENCH(GcStoreOn, .name = "GcStore/mark=on", .loop = store_on_loop, .empty = store_empty);

/* ---- Trees ---- */

static struct bench_node *make_tree(unsigned depth)
{
    struct bench_node *node = gc_new(bench_node);

    if (depth != 0) {
        gc_store(&node->left, make_tree(depth - 1));
        gc_store(&node->right, make_tree(depth - 1));
    }
    return node;
}

static uint64_t count_tree(const struct bench_node *node)
{
    struct bench_node *left = gc_load(&node->left);

    return left == NULL ? 1 : 1 + count_tree(left) + count_tree(gc_load(&node->right));
}

#define MARK_DEPTH 15u

static void mark_body(void *arg)
{
    struct bench *bench = arg;

    gc_root_add((void *)&bench_gc_root, 8);
    bench_gc_root = make_tree(MARK_DEPTH);
    gc_collect();
    for (uint64_t done = 0; done < bench->n; done += 1u << (MARK_DEPTH + 1)) {
        bench_start(bench);
        gc_collect_idle(); /* no stacks: a stale word there may keep a tree of before */
        bench_stop(bench);
    }
    bench_gc_root = NULL;
    gc_root_remove((void *)&bench_gc_root);
}

static void mark_loop(struct bench *bench)
{
    on_thread(bench, mark_body);
}

BENCH(GcMark, .name = "GcMark/tree", .loop = mark_loop, .batch = 1u << (MARK_DEPTH + 1));

#define TREES_LEAST   4u
#define TREES_THREADS 2u

struct trees {
    unsigned depth, threads, number; /* this one's, of so many */
    uint64_t nodes;
};

/* A share of all trees of a depth, one after another. */
static void trees_body(void *arg)
{
    struct trees *trees = arg;

    for (unsigned depth = TREES_LEAST; depth <= trees->depth; depth += 2) {
        uint64_t count = 1ull << (trees->depth - depth + TREES_LEAST);

        for (uint64_t i = trees->number; i < count; i += trees->threads)
            trees->nodes += count_tree(make_tree(depth));
    }
}

static void trees_share(unsigned depth, unsigned threads)
{
    struct trees trees[TREES_THREADS];
    struct thread *others[TREES_THREADS];

    for (unsigned i = 0; i < threads; i++) {
        trees[i] = (struct trees){.depth = depth, .threads = threads, .number = i};
        others[i] = i != 0 ? thread_create("trees", trees_body, &trees[i], NULL) : NULL;
    }
    trees_body(&trees[0]);
    for (unsigned i = 1; i < threads; i++) {
        if (others[i] != NULL)
            thread_join(others[i]);
    }
}

static void trees_run(struct bench *bench, unsigned threads)
{
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_start(bench);

        struct bench_node *lasting = make_tree((unsigned)bench->arg);

        trees_share((unsigned)bench->arg, threads);
        bench_use((void *)count_tree(lasting));
        bench_stop(bench);
    }
}

static void trees_main(void *bench)
{
    trees_run(bench, 1);
}

static void trees_main_2(void *bench)
{
    trees_run(bench, TREES_THREADS);
}

static void trees_loop(struct bench *bench)
{
    on_thread(bench, trees_main);
    gc_collect();
}

static void trees_loop_2(struct bench *bench)
{
    on_thread(bench, trees_main_2);
    gc_collect();
}

static const size_t trees_depths[] = {14, 18};

BENCH(GcBinaryTrees, .name = "GcBinaryTrees/depth=", BENCH_ARGS(trees_depths), .loop = trees_loop,
      .n_max = 1);
BENCH(GcBinaryTrees2, .name = "GcBinaryTrees/threads=2/depth=", BENCH_ARGS(trees_depths),
      .loop = trees_loop_2, .cpus = TREES_THREADS, .n_max = 1);

/* ---- A random graph, whose pointers are overwritten ---- */

#define GRAPH_NODES  220000u /* that stay; each points to four that come and go: 140 MB */
#define GRAPH_STORES 4000000u
#define GRAPH_RUN    100u /* operations, of which the slowest in a row counts */

struct graph_node {
    GC_PTR(struct graph_node) next[4];
    uint64_t payload[12];
};
GC_TYPE(graph_node, struct graph_node, next);

static struct {
    uint64_t worst_ticks; /* of GRAPH_RUN operations in a row */
} graph;

struct graph_table {
    GC_PTR(struct graph_node) nodes[1];
};
GC_TYPE(graph_table, struct graph_table, nodes);

static GC_ROOT(struct graph_table, graph_root);

static struct graph_node *graph_at(uint64_t *random)
{
    return gc_load(&gc_load(&graph_root)[random_next(random) % GRAPH_NODES].nodes[0]);
}

/* A new node, which points to four that stay, takes the place of another. */
static void graph_store(uint64_t *random)
{
    struct graph_node *node = gc_new(graph_node);

    for (unsigned i = 0; i < 4; i++)
        gc_store(&node->next[i], graph_at(random));
    gc_store(&graph_at(random)->next[random_next(random) % 4], node);
}

static bool graph_make(void)
{
    struct graph_table *table = gc_new_array(graph_table, GRAPH_NODES);
    uint64_t random = 7;

    gc_store(&graph_root, table);
    for (unsigned i = 0; table != NULL && i < GRAPH_NODES; i++) {
        struct graph_node *node = gc_new(graph_node);

        if (node == NULL)
            return false;
        gc_store(&table[i].nodes[0], node);
    }
    for (unsigned i = 0; table != NULL && i < 16 * GRAPH_NODES; i++)
        graph_store(&random);
    return table != NULL;
}

static void graph_body(void *seed)
{
    uint64_t random = (uintptr_t)seed + 1, worst = 0;

    for (unsigned i = 0; i < GRAPH_STORES / 2; i += GRAPH_RUN) {
        uint64_t start = arch_ticks();

        for (unsigned j = 0; j < GRAPH_RUN; j++)
            graph_store(&random);
        worst = MAX(worst, arch_ticks() - start);
    }
    __atomic_store_n(&graph.worst_ticks, MAX(worst, graph.worst_ticks), __ATOMIC_RELAXED);
}

static void graph_loop(struct bench *bench)
{
    struct thread *threads[2];

    if (!graph_make()) {
        bench->skip = "there is too little memory";
        return;
    }
    for (uint64_t i = 0; i < bench->n; i++) {
        bench_start(bench);
        for (uintptr_t j = 0; j < 2; j++)
            threads[j] = thread_create("graph", graph_body, (void *)j, NULL);
        for (unsigned j = 0; j < 2; j++)
            thread_join(threads[j]);
        bench_stop(bench);
    }
    bench->count = graph.worst_ticks * 1000000u / arch_ticks_per_second();
    gc_store(&graph_root, NULL);
    gc_collect();
}

BENCH(GcGraph, .name = "GcGraph", .loop = graph_loop, .cpus = 2, .n_max = 1,
      .count_unit = "us-worst-100");
