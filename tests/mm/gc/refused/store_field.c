/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, struct node *m);
void refused(struct node *n, struct node *m)
{
    gc_store(&n->left, m->left);
}
