/* refused: indirection|unary */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, struct node *m);
void refused(struct node *n, struct node *m)
{
    (void)m;
    gc_store(&n->left, n->key);
}
