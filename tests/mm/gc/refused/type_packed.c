/* refused: not aligned */
#include "tests/mm/gc/refused/barrier.h"

struct packed {
    char flag;
    GC_PTR(struct node) node;
} __attribute__((packed, aligned(8)));
GC_TYPE(packed, struct packed, node);
