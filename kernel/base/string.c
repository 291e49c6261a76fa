/*
 * The memory and string functions of the C library, for the freestanding image.
 *
 * Idea: whole 8-byte words, unaligned ones included (every machine of arch/ reads those at full
 * speed), eight to a turn; the last, partial word is done by one word that overlaps what is done
 * already, so that only lengths under 8 go byte by byte.
 *
 * Contract: any context; no state.
 *
 * A compiler may recognise such a loop as memset or memcpy and replace it by a call, which here is
 * a call of itself: loop_opaque() in each loop hides the pattern.
 */
#include "kernel/base/string.h"
#include <stdint.h>

#define WORD_BYTES sizeof(uint64_t)
#define TURN_BYTES (8 * WORD_BYTES)

typedef uint64_t __attribute__((may_alias, aligned(1))) word_t;

static inline __attribute__((always_inline)) void loop_opaque(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline word_t *word_at(void *base, size_t offset)
{
    return (word_t *)((unsigned char *)base + offset);
}

static inline uint64_t word_read(const void *base, size_t offset)
{
    return *(const word_t *)((const unsigned char *)base + offset);
}

static inline __attribute__((always_inline)) void turn_copy(void *to, const void *from, size_t at)
{
    uint64_t a = word_read(from, at), b = word_read(from, at + 8);
    uint64_t c = word_read(from, at + 16), d = word_read(from, at + 24);
    uint64_t e = word_read(from, at + 32), f = word_read(from, at + 40);
    uint64_t g = word_read(from, at + 48), h = word_read(from, at + 56);

    *word_at(to, at) = a;
    *word_at(to, at + 8) = b;
    *word_at(to, at + 16) = c;
    *word_at(to, at + 24) = d;
    *word_at(to, at + 32) = e;
    *word_at(to, at + 40) = f;
    *word_at(to, at + 48) = g;
    *word_at(to, at + 56) = h;
    loop_opaque();
}

static void bytes_copy_up(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
        loop_opaque();
    }
}

static void copy_up(void *to, const void *from, size_t bytes)
{
    size_t at = 0;

    if (bytes < WORD_BYTES) {
        bytes_copy_up(to, from, bytes);
        return;
    }
    /* Read before the first store: where the areas overlap it may be written over below. */
    uint64_t last = word_read(from, bytes - WORD_BYTES);
    for (; at + TURN_BYTES <= bytes; at += TURN_BYTES)
        turn_copy(to, from, at);
    for (; at + WORD_BYTES <= bytes; at += WORD_BYTES) {
        *word_at(to, at) = word_read(from, at);
        loop_opaque();
    }
    *word_at(to, bytes - WORD_BYTES) = last;
}

static void copy_down(void *to, const void *from, size_t bytes)
{
    size_t left = bytes;

    if (bytes < WORD_BYTES) {
        while (left-- > 0) {
            ((unsigned char *)to)[left] = ((const unsigned char *)from)[left];
            loop_opaque();
        }
        return;
    }
    uint64_t first = word_read(from, 0);
    for (; left >= TURN_BYTES; left -= TURN_BYTES)
        turn_copy(to, from, left - TURN_BYTES);
    for (; left >= WORD_BYTES; left -= WORD_BYTES) {
        *word_at(to, left - WORD_BYTES) = word_read(from, left - WORD_BYTES);
        loop_opaque();
    }
    *word_at(to, 0) = first;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copy_up(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    if ((uintptr_t)to <= (uintptr_t)from || (uintptr_t)to - (uintptr_t)from >= bytes)
        copy_up(to, from, bytes);
    else
        copy_down(to, from, bytes);
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    uint64_t word = (unsigned char)value * 0x0101010101010101ull;
    size_t at = 0;

    if (bytes < WORD_BYTES) {
        for (; at < bytes; at++) {
            ((unsigned char *)to)[at] = (unsigned char)value;
            loop_opaque();
        }
        return to;
    }
    for (; at + TURN_BYTES <= bytes; at += TURN_BYTES) {
        for (size_t i = 0; i < TURN_BYTES; i += WORD_BYTES)
            *word_at(to, at + i) = word;
        loop_opaque();
    }
    for (; at + WORD_BYTES <= bytes; at += WORD_BYTES) {
        *word_at(to, at) = word;
        loop_opaque();
    }
    *word_at(to, bytes - WORD_BYTES) = word;
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;
    size_t i = 0;

    while (i + WORD_BYTES <= bytes && word_read(x, i) == word_read(y, i))
        i += WORD_BYTES;
    for (; i < bytes; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0') {
        n++;
        loop_opaque();
    }
    return n;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n] != '\0')
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (size_t i = 0; i < max; i++) {
        if (a[i] != b[i] || a[i] == '\0')
            return (unsigned char)a[i] - (unsigned char)b[i];
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(uintptr_t)s;
        if (*s == '\0')
            return NULL;
    }
}

char *strrchr(const char *s, int c)
{
    const char *found = NULL;

    for (;; s++) {
        if (*s == (char)c)
            found = s;
        if (*s == '\0')
            return (char *)(uintptr_t)found;
    }
}

char *strstr(const char *s, const char *part)
{
    size_t n = strlen(part);

    for (;; s++) {
        if (strncmp(s, part, n) == 0)
            return (char *)(uintptr_t)s;
        if (*s == '\0')
            return NULL;
    }
}
