/* The slow half of pattern.h: naming the damage. */
#include "tests/replay/pattern.h"

#include "kernel/base/string.h"

bool pattern_find_damage(const void *object, size_t bytes, uint64_t seed,
                         struct pattern_damage *damage)
{
    uint64_t value = seed;

    for (size_t offset = 0; offset < bytes; offset += sizeof(value), value += PATTERN_STEP) {
        size_t piece = MIN(bytes - offset, sizeof(value));
        uint64_t expected = 0;
        uint64_t found = 0;

        memcpy(&expected, &value, piece);
        memcpy(&found, (const char *)object + offset, piece);
        if (expected != found) {
            unsigned first_bit = (unsigned)__builtin_ctzll(expected ^ found);

            *damage = (struct pattern_damage){offset + first_bit / 8, expected, found};
            return true;
        }
    }
    return false;
}
