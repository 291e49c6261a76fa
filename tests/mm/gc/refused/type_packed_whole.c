/* refused: not aligned */
#include "tests/mm/gc/refused/barrier.h"

struct packed {
    GC_PTR(struct node) node;
    char flag;
} __attribute__((packed));
GC_TYPE(packed, struct packed, node);
