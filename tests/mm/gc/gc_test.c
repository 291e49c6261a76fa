#include "tests/mm/gc/gc_test.h"
#include "kernel/thread/thread.h"

GC_TYPE(test_node, struct test_node, left, right);

GC_ROOT(struct test_node, gc_test_roots[8]);

struct gc_test_body {
    struct test *t;
    void (*body)(struct test *t);
};

static void body_entry(void *arg)
{
    const struct gc_test_body *body = arg;

    body->body(body->t);
}

void gc_test_run(struct test *t, void (*body)(struct test *t))
{
    struct gc_test_body arg = {t, body};
    struct thread *thread = thread_create("gc test", body_entry, &arg, NULL);

    REQUIRE(t, thread != NULL);
    thread_join(thread);
    for (unsigned i = 0; i < ARRAY_COUNT(gc_test_roots); i++)
        gc_store(&gc_test_roots[i], NULL);
}

struct test_node *gc_test_node(struct test_node *left, struct test_node *right, uint64_t key)
{
    struct test_node *node = gc_new(test_node);

    if (node == NULL)
        return NULL;
    gc_store(&node->left, left);
    gc_store(&node->right, right);
    node->key = key;
    return node;
}

struct test_node *gc_test_tree(unsigned depth, uint64_t key)
{
    if (depth == 0)
        return gc_test_node(NULL, NULL, key);

    struct test_node *left = gc_test_tree(depth - 1, 2 * key);
    struct test_node *right = gc_test_tree(depth - 1, 2 * key + 1);

    return gc_test_node(left, right, key);
}

uint64_t gc_test_count(struct test_node *tree, uint64_t key)
{
    if (tree == NULL)
        return 0;
    return (tree->key == key) + gc_test_count(gc_load(&tree->left), 2 * key) +
           gc_test_count(gc_load(&tree->right), 2 * key + 1);
}
