/* lists: GC_TYPE(owner, ...): struct owner is, or has without a name, a union with a GC_PTR: GC_TYPE_CONSERVATIVE */
#include "tests/mm/gc/refused/barrier.h"

struct owner {
    GC_PTR(struct node) first;
    union {
        GC_PTR(struct node) node;
        long number;
    };
};
GC_TYPE(owner, struct owner, first);
