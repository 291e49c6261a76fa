/* A name under a parent, as a hash table finds it (kernel/name_cache.h). */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/string.h"

#define NAME_BYTES 47u /* of a name, at most */

struct name_key {
    uint64_t parent;
    uint32_t hash;             /* name_hash */
    uint32_t bytes;            /* of the text */
    char text[NAME_BYTES + 1]; /* a NUL behind it */
};

/* Both halves, as the lower one's low bits know nothing of the upper bits of a word: the end of its text. */
static ALWAYS_INLINE uint64_t name_mix(uint64_t hash, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0x9e3779b97f4a7c15ull;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static ALWAYS_INLINE uint64_t name_word(const char *text)
{
    uint64_t word;

    __builtin_memcpy(&word, text, sizeof(word));
    return word;
}

/*
 * Eight bytes at a time, of which the last eight may have been in those before.  Names that somebody chooses
 * so that they collide are not foreseen.
 */
static inline uint32_t name_hash(uint64_t parent, const char *text, size_t bytes)
{
    uint64_t hash = name_mix(parent, bytes), last = 0;

    if (bytes < sizeof(last)) {
        for (size_t i = 0; i < bytes; i++)
            last = last << 8 | (unsigned char)text[i];
    } else {
        for (size_t i = 0; i + sizeof(last) < bytes; i += sizeof(last))
            hash = name_mix(hash, name_word(text + i));
        last = name_word(text + bytes - sizeof(last));
    }
    return (uint32_t)name_mix(hash, last);
}

static inline bool name_text_is(const char *a, const char *b, size_t bytes)
{
    if (bytes < sizeof(uint64_t))
        return memcmp(a, b, bytes) == 0;
    for (size_t i = 0; i + sizeof(uint64_t) < bytes; i += sizeof(uint64_t)) {
        if (name_word(a + i) != name_word(b + i))
            return false;
    }
    return name_word(a + bytes - sizeof(uint64_t)) == name_word(b + bytes - sizeof(uint64_t));
}

/* Is it this one?  hash: of the others. */
static inline bool name_key_is(const struct name_key *key, uint32_t hash, uint64_t parent,
                               const char *text, size_t bytes)
{
    return key->hash == hash && key->bytes == bytes && key->parent == parent &&
           name_text_is(key->text, text, bytes);
}
