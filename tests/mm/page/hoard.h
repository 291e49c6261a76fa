/*
 * Nearly all of memory, taken in runs as long as there are: of each only the first bytes are
 * touched, so a machine of 8 GiB costs its host no more than a small one.
 */
#pragma once

#include "kernel/base/base.h"

struct hoard; /* a chain of runs, each holding its link and length */

/*
 * Take pages until no more than `leave` are free; NULL when there are not.  Until hoard_free, NULL
 * included, there are no reserves: every page that is left is anybody's.
 */
struct hoard *hoard_all_but(size_t leave);
void hoard_free(struct hoard *hoard);

/* No reserves until reserves_restore; nests.  Ordinary. */
void reserves_lift(void);
void reserves_restore(void);
