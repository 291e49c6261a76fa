/* lists: GC_TYPE(node, ...): field `right` of struct node is a GC_PTR and is not listed */
#include "tests/mm/gc/refused/barrier.h"

GC_TYPE(node, struct node, left);
