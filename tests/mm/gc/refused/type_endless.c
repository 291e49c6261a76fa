/* refused: incomplete type */
#include "tests/mm/gc/refused/barrier.h"

struct list {
    long count;
    GC_PTR(struct node) nodes[];
};
GC_TYPE(list, struct list, nodes);
