/*
 * kernel/base/string.c against loops of one byte at a time, over every length and alignment up to
 * a few turns of its word loops.  (Hosted builds have libc's, and test the test.)
 */
#include "kernel/base/string.h"
#include "kernel/base/base.h"
#include "tests/test.h"

#define AREA_BYTES 256
#define LENGTH_MAX 200
#define OFFSET_MAX 9

static unsigned char area[AREA_BYTES], expected[AREA_BYTES];

static void area_fill(uint64_t seed)
{
    for (size_t i = 0; i < AREA_BYTES; i++)
        area[i] = expected[i] = (unsigned char)random_next(&seed);
}

static bool area_is_expected(void)
{
    for (size_t i = 0; i < AREA_BYTES; i++) {
        if (area[i] != expected[i])
            return false;
    }
    return true;
}

TEST(string, memset_writes_its_bytes_and_no_other)
{
    for (size_t offset = 0; offset < OFFSET_MAX; offset++) {
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            area_fill(length + 1);
            for (size_t i = 0; i < length; i++)
                expected[offset + i] = 0xa5;
            REQUIRE(t, memset(area + offset, 0xa5, length) == area + offset);
            REQUIRE(t, area_is_expected());
        }
    }
}

TEST(string, memcpy_copies_at_any_alignment)
{
    unsigned char from[AREA_BYTES];
    uint64_t seed = 7;

    for (size_t i = 0; i < AREA_BYTES; i++)
        from[i] = (unsigned char)random_next(&seed);
    for (size_t offset = 0; offset < OFFSET_MAX; offset++) {
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            area_fill(length + 1);
            for (size_t i = 0; i < length; i++)
                expected[offset + i] = from[3 + i];
            REQUIRE(t, memcpy(area + offset, from + 3, length) == area + offset);
            REQUIRE(t, area_is_expected());
        }
    }
}

/* Every distance up to a turn, both ways: a word loop in the wrong direction reads its own output. */
TEST(string, memmove_survives_overlap)
{
    for (size_t to = 0; to < 40; to++) {
        for (size_t length = 0; length <= LENGTH_MAX; length += 7) {
            const size_t from = 20;
            unsigned char old[AREA_BYTES];

            area_fill(length + to + 1);
            for (size_t i = 0; i < AREA_BYTES; i++)
                old[i] = area[i];
            for (size_t i = 0; i < length; i++)
                expected[to + i] = old[from + i];
            REQUIRE(t, memmove(area + to, area + from, length) == area + to);
            REQUIRE(t, area_is_expected());
        }
    }
}

TEST(string, memcmp_finds_the_first_difference)
{
    for (size_t length = 1; length <= 40; length++) {
        area_fill(length);
        EXPECT(t, memcmp(area, expected, length) == 0);
        for (size_t at = 0; at < length; at++) {
            area[at] = 200;
            expected[at] = 100;
            area[length] = 0; /* behind the end: does not count */
            expected[length] = 255;
            EXPECT(t, memcmp(area, expected, length) > 0);
            EXPECT(t, memcmp(expected, area, length) < 0);
            area[at] = expected[at];
        }
    }
}

/* The compiler shall call the functions, not work them out. */
static NOINLINE const char *string_hide(const char *text)
{
    __asm__("" : "+r"(text));
    return text;
}

TEST(string, strings)
{
    const char *text = string_hide("spandrel spans"), *a = string_hide("a");

    EXPECT(t, strlen(string_hide("")) == 0 && strlen(text) == 14);
    EXPECT(t, strnlen(text, 5) == 5 && strnlen(text, 50) == 14);
    EXPECT(t, strcmp(a, "a") == 0 && strcmp(a, "b") < 0 && strcmp("ab", a) > 0);
    EXPECT(t, strcmp(string_hide("\xff"), a) > 0);
    EXPECT(t, strncmp(string_hide("abc"), "abd", 2) == 0);
    EXPECT(t, strncmp(string_hide("abc"), "abd", 3) < 0);
    EXPECT(t, strncmp(a, "a\0b", 4) == 0);
    EXPECT(t, strchr(text, 's') == text && strrchr(text, 's') == text + 13);
    EXPECT(t, strchr(text, 'x') == NULL && strrchr(text, 'x') == NULL);
    EXPECT(t, strchr(text, '\0') == text + 14 && strrchr(text, '\0') == text + 14);
    EXPECT(t, strstr(text, "span") == text && strstr(text, "spans") == text + 9);
    EXPECT(t, strstr(text, "") == text && strstr(text, "spandrels") == NULL);
}
