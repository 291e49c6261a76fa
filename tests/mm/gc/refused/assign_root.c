/* refused: array type|const-qualified */
#include "tests/mm/gc/refused/barrier.h"

GC_ROOT(struct node, tree);

void refused(struct node *n);
void refused(struct node *n)
{
    tree = n;
}
