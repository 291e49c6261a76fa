/* lists: GC_TYPE(node, ...): field `left` of struct node is listed twice */
#include "tests/mm/gc/refused/barrier.h"

GC_TYPE(node, struct node, left, right, left);
