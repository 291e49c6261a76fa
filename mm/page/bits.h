/*
 * Runs of 1 bits in a 64-bit word, lowest bit first; and eight small numbers in one.  A few
 * instructions each, no state.
 */
#pragma once

#include "kernel/base/base.h"

#define BITS_PER_WORD 64u

/* n bits (1 .. 64) from bit `first` on; first + n <= 64. */
static inline uint64_t bits_mask(unsigned first, size_t n)
{
    return (~0ull >> (BITS_PER_WORD - n)) << first;
}

/* 1 bits at the low and at the high end: 0 .. 64. */
static inline unsigned bits_low_run(uint64_t word)
{
    return ~word == 0 ? BITS_PER_WORD : (unsigned)__builtin_ctzll(~word);
}

static inline unsigned bits_high_run(uint64_t word)
{
    return ~word == 0 ? BITS_PER_WORD : (unsigned)__builtin_clzll(~word);
}

/* 1 bits just below bit `bit`, and just above it; itself does not count. */
static inline unsigned bits_run_below(uint64_t word, unsigned bit)
{
    return (unsigned)__builtin_clzll(~(word << 1 << (BITS_PER_WORD - 1 - bit)));
}

static inline unsigned bits_run_above(uint64_t word, unsigned bit)
{
    return (unsigned)__builtin_ctzll(~(word >> 1 >> bit));
}

/* Bit i of the result: bits i .. i + n - 1 of the word are all 1; n is 1 .. 64. */
static inline uint64_t bits_run_starts(uint64_t word, size_t n)
{
    /* A run of a + b is a run of a with a run of b at distance a; halving n costs log n steps. */
    while (n > 1) {
        size_t half = n / 2;

        word &= word >> half;
        n -= half;
    }
    return word;
}

/* The word whose 1 bits are the multiples of `align`, a power of two up to 64. */
static inline uint64_t bits_aligned(size_t align)
{
    static const uint64_t multiples[] = {
        ~0ull,
        0x5555555555555555,
        0x1111111111111111,
        0x0101010101010101,
        0x0001000100010001,
        0x0000000100000001,
        1,
    };

    return multiples[__builtin_ctzll(align)];
}

/* Length of the longest run: 0 .. 64. */
static inline unsigned bits_longest_run(uint64_t word)
{
    uint64_t runs[6]; /* runs[k]: starts of runs of 2^k */
    unsigned k = 0;

    if (word == 0)
        return 0;
    word >>= __builtin_ctzll(word);
    if ((word & (word + 1)) == 0)
        return bits_low_run(word); /* one run, most often */
    runs[0] = word;
    while (k < 5 && (runs[k] & runs[k] >> (1u << k)) != 0) {
        runs[k + 1] = runs[k] & runs[k] >> (1u << k);
        k++;
    }

    /* Longest is 2^k .. 2^(k+1) - 1: add the lower powers of two, largest first. */
    unsigned longest = 1u << k;
    uint64_t starts = runs[k];

    while (k-- > 0) {
        uint64_t longer = starts & runs[k] >> longest;

        if (longer != 0) {
            starts = longer;
            longest += 1u << k;
        }
    }
    return longest;
}

/* Number of 1 bits. */
static inline unsigned bits_count(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555ull;
    word = (word & 0x3333333333333333ull) + (word >> 2 & 0x3333333333333333ull);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return (unsigned)(word * 0x0101010101010101ull >> 56);
}

/* Whether there are more than so many runs of bits. */
static inline bool bits_has_more_runs(uint64_t word, unsigned runs)
{
    for (word &= ~(word << 1); runs > 0; runs--) /* the lowest bit of each */
        word &= word - 1;
    return word != 0;
}

/* ---- Eight numbers in a word, a byte each ---- */

union bytes {
    uint64_t word;
    uint8_t at[8];
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "byte i is bits 8 * i and up of the word");

#define BYTES_ONE  0x0101010101010101ull
#define BYTES_HIGH 0x8080808080808080ull

/* The high bit of each byte that is n or more; bytes and n are 1 .. 127, or a byte is 0. */
static inline uint64_t bytes_at_least(uint64_t word, size_t n)
{
    return ((word | BYTES_HIGH) - n * BYTES_ONE) & BYTES_HIGH;
}

/* The larger of each two bytes, 0 .. 127. */
static inline uint64_t bytes_max(uint64_t a, uint64_t b)
{
    uint64_t is_more = ((a | BYTES_HIGH) - b) & BYTES_HIGH;
    uint64_t mask = is_more - (is_more >> 7); /* 0x7f where a is the larger, or as large */

    return b ^ ((a ^ b) & mask);
}

/* The largest byte, 0 .. 127. */
static inline unsigned bytes_largest(uint64_t word)
{
    word = bytes_max(word, word >> 32);
    word = bytes_max(word, word >> 16);
    return MAX((unsigned)(word & 0xff), (unsigned)(word >> 8 & 0xff));
}
