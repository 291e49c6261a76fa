/* What must compile without a warning, and whose lists are right: the control of all others here. */
#include "mm/gc/gc_types.h"

void gc_store_word(void *_Atomic *slot, void *value);
bool gc_cas_word(void *_Atomic *slot, void *expected, void *value);

/* As in DESIGN, section 8. */
struct node {
    GC_PTR(struct node) left;
    GC_PTR(struct node) right;
    long key;
};
GC_TYPE(node, struct node, left, right);
GC_ROOT(struct node, tree);

void example(void);
void example(void)
{
    struct node *n = gc_new(node);

    gc_store(&n->left, gc_load(&tree));
    gc_store(&tree, n);
}

/* Embedded structs, arrays, text and other pointers to what has no fields; any order. */
struct pair {
    GC_PTR(struct node) key;
    GC_PTR(const char) text;
};

struct table {
    long count;
    struct pair first;
    GC_PTR(void) any;
    GC_PTR(struct node) kids[4], grid[2][3];
    struct pair pairs[2];
    struct {
        GC_PTR(struct table) next;
    };
    struct node *plain;
    struct node *_Atomic plain_pair[2];
    const struct node *plain_one[1], *plain_grid[1][2], *plain_column[2][1];
    char name[4000];
};
GC_TYPE_EXTERN(table, struct table);
GC_TYPE(table, struct table, next, first.key, first.text, any, kids, grid, pairs[0].key,
        pairs[0].text, pairs[1].key, pairs[1].text);

typedef struct {
    long numbers[2];
} numbers;
GC_TYPE_NOSCAN(numbers, numbers);

union either {
    GC_PTR(struct node) node;
    long number;
};
GC_TYPE_CONSERVATIVE(either, union either);

struct with_union {
    union either either;
    GC_PTR(struct node) node;
};
GC_TYPE_CONSERVATIVE(with_union, struct with_union);

extern GC_ROOT(struct table, tables[2]);
static GC_ROOT(struct node, head);
GC_ROOT(struct table, tables[2]);

/* A slot is the same type wherever it lies. */
struct node *find(GC_PTR(struct node) *slot, long key);
struct node *find(GC_PTR(struct node) *slot, long key)
{
    struct node *n;

    while ((n = gc_load(slot)) != NULL && n->key != key)
        slot = key < n->key ? &n->left : &n->right;
    return n;
}

long use(struct table *t, const char *text);
long use(struct table *t, const char *text)
{
    struct node local = {0}, *n = find(&head, 1), *many = gc_new_array(node, 3);
    __typeof__(local.left) *slot = &many[2].left;
    numbers *n2 = gc_new(numbers);
    union either *e = gc_new(either);

    gc_store(slot, NULL);
    gc_store(&e->node, n);
    gc_store(&t->first.text, text);
    gc_store(&t->first.text, "constant");
    gc_store(&t->any, n);
    gc_store(&t->any, t);
    gc_store(&t->kids[2], gc_load(&gc_load(&n->left)->right));
    gc_store(&t->grid[1][2], find(&t->kids[1], 2));
    gc_cas(&n->left, n, NULL);
    gc_cas(&tables[0], NULL, t);
    gc_store(&tables[1], gc_load(&gc_load(&tables[0])->next));
    void *any = gc_load(&t->any);
    const char *back = gc_load(&t->first.text);
    return any != NULL ? back[0] : n2->numbers[1];
}
