/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

struct other {
    long key;
};

void refused(struct node *n, struct other *other);
void refused(struct node *n, struct other *other)
{
    gc_cas(&n->left, NULL, other);
}
