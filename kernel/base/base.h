/* Helpers that every layer shares: sizes, alignment, attributes.  No state, nothing to link. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

#define ARRAY_COUNT(array)   (sizeof(array) / sizeof((array)[0]))
#define ALIGN_DOWN(value, a) ((value) & ~((__typeof__(value))(a)-1))
#define ALIGN_UP(value, a)   ALIGN_DOWN((value) + ((__typeof__(value))(a)-1), a)
#define IS_ALIGNED(value, a) (((value) & ((__typeof__(value))(a)-1)) == 0)

#define MIN(a, b)                          \
    ({                                     \
        __typeof__(a) min_a_ = (a);        \
        __typeof__(b) min_b_ = (b);        \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })
#define MAX(a, b)                          \
    ({                                     \
        __typeof__(a) max_a_ = (a);        \
        __typeof__(b) max_b_ = (b);        \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })
#define CONTAINER_OF(pointer, type, member) \
    ((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

#define LIKELY(condition)        __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition)      __builtin_expect(!!(condition), 0)
#define NORETURN                 __attribute__((noreturn))
#define NOINLINE                 __attribute__((noinline))
#define ALWAYS_INLINE            inline __attribute__((always_inline))
#define COLD                     __attribute__((cold, noinline))
#define USED                     __attribute__((used))
#define UNUSED                   __attribute__((unused))
#define NAKED                    __attribute__((naked))
#define SECTION(name)            __attribute__((section(name)))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

static inline bool is_pow2(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}
