/* Numbers, sizes and patterns out of text (kernel/base/parse.h).  Any context; no state. */
#include "kernel/base/parse.h"

/* -1: not a digit in any base up to 16 */
static int parse_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Digits from *text on, at least one; *text then stands behind the last.  false: none, or > 64 bits */
static bool parse_digits(const char **text, unsigned base, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;

    for (;; at++) {
        int digit = parse_digit(*at);

        if (digit < 0 || (unsigned)digit >= base)
            break;
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (at == *text)
        return false;
    *text = at;
    *out = value;
    return true;
}

bool parse_u64(const char *text, uint64_t *out)
{
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    uint64_t value;

    if (hexadecimal)
        text += 2;
    if (!parse_digits(&text, hexadecimal ? 16 : 10, &value) || *text != '\0')
        return false;
    *out = value;
    return true;
}

/* The shift that K, M, G, T, P or E stands for; -1: none of them. */
static int parse_size_shift(char c)
{
    static const char letters[] = "KMGTPE";

    for (int i = 0; letters[i] != '\0'; i++) {
        if (c == letters[i] || c == letters[i] - 'A' + 'a')
            return 10 * (i + 1);
    }
    return -1;
}

bool parse_size(const char *text, uint64_t *out)
{
    uint64_t value;

    if (!parse_digits(&text, 10, &value))
        return false;
    if (*text != '\0' && !(text[0] == 'B' && text[1] == '\0')) {
        int shift = parse_size_shift(*text++);

        if (shift < 0 || value << shift >> shift != value)
            return false;
        if (*text != '\0' && !(text[0] == 'i' && text[1] == 'B' && text[2] == '\0'))
            return false;
        value <<= shift;
    }
    *out = value;
    return true;
}

bool glob_match(const char *pattern, const char *text)
{
    const char *star = NULL;  /* behind the last * seen; */
    const char *retry = NULL; /* what it may still take starts here */

    /* A later * makes what an earlier one took final, so one place to go back to is enough. */
    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*text != '\0' && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (*text == '\0' && *pattern == '\0') {
            return true;
        } else if (star != NULL && *retry != '\0') {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
}
