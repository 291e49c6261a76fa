/* lists: GC_TYPE(owner, ...): field `name` of struct owner is listed and is no GC_PTR */
#include "tests/mm/gc/refused/barrier.h"

struct owner {
    GC_PTR(struct node) first;
    const char *name;
};
GC_TYPE(owner, struct owner, first, name);
