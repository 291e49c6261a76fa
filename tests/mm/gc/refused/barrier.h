/* In place of the collector's, for files that are only compiled. */
#pragma once

#include "mm/gc/gc_types.h"

void gc_store_word(void *_Atomic *slot, void *value);
bool gc_cas_word(void *_Atomic *slot, void *expected, void *value);

struct node {
    GC_PTR(struct node) left;
    GC_PTR(struct node) right;
    long key;
};
