/* Counting bits, without an instruction for it: the oldest x86-64 CPUs have none. */
#pragma once

#include "kernel/base/base.h"

static inline unsigned bit_count(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555ull;
    word = (word & 0x3333333333333333ull) + (word >> 2 & 0x3333333333333333ull);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return (unsigned)(word * 0x0101010101010101ull >> 56);
}
