/* What the tests of the name cache share: names by number, whose entries say whose they are. */
#pragma once

#include "kernel/name_cache.h"
#include "tests/test.h"

/* The key of the i-th name: of several lengths, under several parents. */
void name_test_key(struct name_key *key, uint64_t i);

const struct name *name_test_find(struct name_cache *cache, uint64_t i);
const struct name *name_test_enter(struct name_cache *cache, uint64_t i); /* with its number */
bool name_test_remove(struct name_cache *cache, uint64_t i);

/* Is this the i-th, whole? */
bool name_test_is(const struct name *name, uint64_t i);
