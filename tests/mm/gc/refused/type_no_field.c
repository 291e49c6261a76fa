/* refused: has no member|no member named */
#include "tests/mm/gc/refused/barrier.h"

GC_TYPE(node, struct node, left, middle);
