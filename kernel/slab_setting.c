/* The value of slab_debug= (kernel/slab_setting.h), read anew for each question. */
#include "kernel/slab_setting.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"

static const struct {
    const char *word; /* its first letter stands for it too */
    unsigned bit;
} slab_setting_checks[] = {
    {"redzone", 1 << 0}, {"poison", 1 << 1}, {"quarantine", 1 << 2},
    {"trace", 1 << 3},   {"sites", 1 << 4},
};

#define SLAB_SETTING_ALL ((1u << ARRAY_COUNT(slab_setting_checks)) - 1)
#define SLAB_SETTING_BAD (1u << 31)

static unsigned setting_letter(char letter)
{
    for (size_t i = 0; i < ARRAY_COUNT(slab_setting_checks); i++) {
        if (slab_setting_checks[i].word[0] == letter)
            return slab_setting_checks[i].bit;
    }
    return SLAB_SETTING_BAD;
}

/* A word, or letters. */
static unsigned setting_piece(const char *piece, size_t length)
{
    unsigned bits = length == 0 ? SLAB_SETTING_BAD : 0;

    for (size_t i = 0; i < ARRAY_COUNT(slab_setting_checks); i++) {
        const char *word = slab_setting_checks[i].word;

        if (strlen(word) == length && strncmp(word, piece, length) == 0)
            return slab_setting_checks[i].bit;
    }
    for (size_t i = 0; i < length; i++)
        bits |= setting_letter(piece[i]);
    return bits;
}

static size_t setting_length(const char *text, char end)
{
    const char *at = strchr(text, end);

    return at == NULL ? strlen(text) : (size_t)(at - text);
}

/* The bits of CHECKS, which are `length` bytes; SLAB_SETTING_BAD among them if they are none. */
static unsigned setting_checks(const char *checks, size_t length)
{
    unsigned bits = 0;

    if (length == 1 && checks[0] == '0')
        return 0;
    if ((length == 1 && checks[0] == '1') || (length == 3 && strncmp(checks, "all", 3) == 0))
        return SLAB_SETTING_ALL;
    for (;;) {
        size_t piece = MIN(setting_length(checks, '+'), length);

        bits |= setting_piece(checks, piece);
        if (piece == length)
            return bits;
        checks += piece + 1;
        length -= piece + 1;
    }
}

bool slab_setting_is_valid(const char *text)
{
    size_t length = setting_length(text, ',');

    if (strlen(text) >= SLAB_SETTING_BYTES || setting_checks(text, length) & SLAB_SETTING_BAD)
        return false;
    for (text += length; *text == ','; text += length) {
        length = setting_length(++text, ',');
        if (length == 0)
            return false;
    }
    return true;
}

bool slab_setting_has(const char *text, char letter, const char *name)
{
    char glob[SLAB_SETTING_BYTES];
    size_t length = setting_length(text, ',');

    if (length == 0 || !(setting_checks(text, length) & setting_letter(letter)))
        return false;
    text += length;
    if (name == NULL || *text == '\0')
        return true;
    for (; *text == ','; text += length) {
        length = setting_length(++text, ',');
        memcpy(glob, text, length);
        glob[length] = '\0';
        if (glob_match(glob, name))
            return true;
    }
    return false;
}
