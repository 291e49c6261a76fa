/* refused: array type|const-qualified */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, struct node *m);
void refused(struct node *n, struct node *m)
{
    n->left = m;
}
