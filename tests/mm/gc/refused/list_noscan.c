/* lists: GC_TYPE_NOSCAN(leaf, ...): field `left` of struct leaf is a GC_PTR and is not listed */
#include "tests/mm/gc/refused/barrier.h"

struct leaf {
    GC_PTR(struct node) left;
    char text[24];
};
GC_TYPE_NOSCAN(leaf, struct leaf);
