/* refused: indirection|unary */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node *n, struct node *m);
void refused(struct node *n, struct node *m)
{
    (void)n;
    struct node *plain;
    gc_store(&plain, m);
}
