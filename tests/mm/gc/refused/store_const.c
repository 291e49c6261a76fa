/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, const struct node *value);
void refused(struct node *n, const struct node *value)
{
    gc_store(&n->left, value);
}
