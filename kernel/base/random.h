/* Random numbers by a seed: for choices that nobody shall foresee by accident, not for secrets. */
#pragma once

#include "kernel/base/base.h"

/* The next one; the state is never 0.  xorshift64* (Vigna, 2016). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* A state to begin with, another for each stream of a seed. */
static inline uint64_t random_start(uint64_t seed, uint64_t stream)
{
    uint64_t x = seed + (stream + 1) * 0x9e3779b97f4a7c15ull;

    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    return x != 0 ? x : 1;
}
