/* lists: GC_TYPE(owner, ...): field `either` of struct owner is a union with a GC_PTR: GC_TYPE_CONSERVATIVE */
#include "tests/mm/gc/refused/barrier.h"

struct owner {
    GC_PTR(struct node) first;
    union {
        GC_PTR(struct node) node;
        long number;
    } either;
};
GC_TYPE(owner, struct owner, first);
