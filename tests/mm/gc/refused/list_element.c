/* lists: GC_TYPE(owner, ...): field `pairs[1][2].node` of struct owner is a GC_PTR and is not listed */
#include "tests/mm/gc/refused/barrier.h"

struct pair {
    long key;
    GC_PTR(struct node) node;
};
struct owner {
    struct pair pairs[2][3];
};
GC_TYPE(owner, struct owner, pairs[0][0].node, pairs[0][1].node, pairs[0][2].node, pairs[1][0].node,
        pairs[1][1].node);
