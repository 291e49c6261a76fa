/* refused: [gG]eneric */
#include "tests/mm/gc/refused/barrier.h"

void refused(struct node ****slot, struct node *n);
void refused(struct node ****slot, struct node *n)
{
    gc_store(slot, n);
}
