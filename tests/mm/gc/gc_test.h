/* What tests of the collected heap share. */
#pragma once

#include "mm/gc/gc.h"
#include "tests/test.h"

struct test_node {
    GC_PTR(struct test_node) left, right;
    uint64_t key;
};
GC_TYPE_EXTERN(test_node, struct test_node);

extern GC_ROOT(struct test_node, gc_test_roots[8]);

/*
 * Run body(t) on a thread of its own, and wait: so that what it leaves behind on its stack is gone when its
 * garbage is looked for.
 */
void gc_test_run(struct test *t, void (*body)(struct test *t));

/* A node; NULL: memory is exhausted. */
struct test_node *gc_test_node(struct test_node *left, struct test_node *right, uint64_t key);

/* A complete tree of that depth, keys by `key`; and how many nodes have the key they should. */
struct test_node *gc_test_tree(unsigned depth, uint64_t key);
uint64_t gc_test_count(struct test_node *tree, uint64_t key);
