/* lists: GC_TYPE(owner, ...): field `kids` of struct owner is a GC_PTR and is not listed */
#include "tests/mm/gc/refused/barrier.h"

struct owner {
    GC_PTR(struct node) first;
    GC_PTR(struct node) kids[4];
};
GC_TYPE(owner, struct owner, first);
