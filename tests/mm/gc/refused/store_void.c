/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, void *any);
void refused(struct node *n, void *any)
{
    gc_store(&n->left, any);
}
