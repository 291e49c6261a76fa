/*
 * What the replay writes into an object and expects to find there at its free.
 *
 * Word i of an object is seed + i * PATTERN_STEP: no two words of an object and, as the seed mixes
 * the id with how often it was used, practically no two objects share a value.  So overlapping
 * objects, lost writes, stale contents and shifted copies all show.  Every byte asked for is
 * written and compared, a word at a time: about two instructions a word each way.
 */
#pragma once

#include "kernel/base/base.h"

#define PATTERN_STEP 0x9e3779b97f4a7c15ull /* 2^64 / golden ratio, odd */

static inline uint64_t pattern_seed(uint32_t id, uint32_t turn)
{
    uint64_t mixed = (((uint64_t)id << 32 | turn) + 1) * PATTERN_STEP;

    return (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ull;
}

static inline void pattern_fill(void *object, size_t bytes, uint64_t seed)
{
    uint64_t *word = object;
    uint64_t value = seed;

    for (; bytes >= 4 * sizeof(*word); bytes -= 4 * sizeof(*word), word += 4) {
        word[0] = value;
        word[1] = value + PATTERN_STEP;
        word[2] = value + 2 * PATTERN_STEP;
        word[3] = value + 3 * PATTERN_STEP;
        value += 4 * PATTERN_STEP;
    }
    for (; bytes >= sizeof(*word); bytes -= sizeof(*word), value += PATTERN_STEP)
        *word++ = value;
    for (uint8_t *byte = (uint8_t *)word; bytes > 0; bytes--, value >>= 8)
        *byte++ = (uint8_t)value;
}

/* True when all of it is as pattern_fill left it.  Always looks at every byte. */
static inline bool pattern_is_whole(const void *object, size_t bytes, uint64_t seed)
{
    const uint64_t *word = object;
    uint64_t value = seed;
    uint64_t difference = 0;

    for (; bytes >= 4 * sizeof(*word); bytes -= 4 * sizeof(*word), word += 4) {
        difference |= word[0] ^ value;
        difference |= word[1] ^ (value + PATTERN_STEP);
        difference |= word[2] ^ (value + 2 * PATTERN_STEP);
        difference |= word[3] ^ (value + 3 * PATTERN_STEP);
        value += 4 * PATTERN_STEP;
    }
    for (; bytes >= sizeof(*word); bytes -= sizeof(*word), value += PATTERN_STEP)
        difference |= *word++ ^ value;
    for (const uint8_t *byte = (const uint8_t *)word; bytes > 0; bytes--, value >>= 8)
        difference |= *byte++ ^ (uint8_t)value;
    return difference == 0;
}

struct pattern_damage {
    size_t offset;     /* of the first byte that differs */
    uint64_t expected; /* the word that holds it; a tail's missing bytes are 0 */
    uint64_t found;
};

/* pattern_find_damage -- where an object that is not whole differs first; false: it is whole. */
bool pattern_find_damage(const void *object, size_t bytes, uint64_t seed,
                         struct pattern_damage *damage);
