/* lists: GC_TYPE(owner, ...): field `in.node.right` of struct owner is a GC_PTR and is not listed */
#include "tests/mm/gc/refused/barrier.h"

struct owner {
    struct {
        long count;
        struct node node;
    } in;
    char text[4000];
};
GC_TYPE(owner, struct owner, in.node.left);
