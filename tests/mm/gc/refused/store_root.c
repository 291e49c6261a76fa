/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

struct other {
    long key;
};
GC_ROOT(struct node, tree);

void refused(struct other *other);
void refused(struct other *other)
{
    gc_store(&tree, other);
}
