/* kernel/base/format.c against what the C standard says that each conversion gives. */
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "tests/test.h"

#define EXPECT_FORMAT(t, text, ...)                                      \
    do {                                                                 \
        char got_[128];                                                  \
        size_t wanted_ = format_string(got_, sizeof(got_), __VA_ARGS__); \
        if (!EXPECT(t, strcmp(got_, text) == 0))                         \
            test_failed(t, got_, __FILE__, __LINE__);                    \
        EXPECT(t, wanted_ == strlen(text));                              \
    } while (0)

TEST(format, integers)
{
    EXPECT_FORMAT(t, "0 -1 42", "%d %i %d", 0, -1, 42);
    EXPECT_FORMAT(t, "-2147483648 2147483647", "%d %d", INT32_MIN, INT32_MAX);
    EXPECT_FORMAT(t, "-9223372036854775808", "%ld", INT64_MIN);
    EXPECT_FORMAT(t, "18446744073709551615", "%lu", UINT64_MAX);
    EXPECT_FORMAT(t, "ffffffffffffffff", "%llx", ~0ull);
    EXPECT_FORMAT(t, "4294967295 DEADBEEF beef", "%u %X %x", UINT32_MAX, 0xdeadbeef, 0xbeef);
    EXPECT_FORMAT(t, "0xff 0 0XFF", "%#x %#x %#X", 255u, 0u, 255u);
}

TEST(format, lengths)
{
    EXPECT_FORMAT(t, "-1 255", "%hhd %hhu", (signed char)-1, (unsigned char)255);
    EXPECT_FORMAT(t, "-1 65535", "%hd %hu", (short)-1, (unsigned short)65535);
    EXPECT_FORMAT(t, "1234567890123", "%zu", (size_t)1234567890123);
    EXPECT_FORMAT(t, "-5 6", "%td %ju", (ptrdiff_t)-5, (uintmax_t)6);
    EXPECT_FORMAT(t, "1 2 3", "%d %ld %d", 1, 2l, 3);
}

TEST(format, widths_and_precisions)
{
    EXPECT_FORMAT(t, "[   42][42   ][00042]", "[%5d][%-5d][%05d]", 42, 42, 42);
    EXPECT_FORMAT(t, "[  -42][-42  ][-0042]", "[%5d][%-5d][%05d]", -42, -42, -42);
    EXPECT_FORMAT(t, "[  042][042  ][042]", "[%5.3d][%-5.3d][%.3d]", 42, 42, 42);
    EXPECT_FORMAT(t, "[     042]", "[%*.*d]", 8, 3, 42);
    EXPECT_FORMAT(t, "[42      ]", "[%*d]", -8, 42);
    EXPECT_FORMAT(t, "[42]", "[%.*d]", -1, 42);
    EXPECT_FORMAT(t, "[]", "[%.0d]", 0);
    EXPECT_FORMAT(t, "[0x00ff][    0xff]", "[%#06x][%#8x]", 255u, 255u);
    EXPECT_FORMAT(t, "[                                      7]", "[%39d]", 7);
    EXPECT_FORMAT(t, "[000000000000000000000000000000000000007]", "[%039d]", 7);
}

TEST(format, text)
{
    EXPECT_FORMAT(t, "", "%s", "");
    EXPECT_FORMAT(t, "[   ab][ab   ][a]", "[%5s][%-5s][%.1s]", "ab", "ab", "ab");
    EXPECT_FORMAT(t, "[   ab]", "[%5.2s]", "abcdef");
    EXPECT_FORMAT(t, "[x][  x]", "[%c][%3c]", 'x', 'x');
    EXPECT_FORMAT(t, "100%", "%d%%", 100);
    EXPECT_FORMAT(t, "0xffff800000001000 0x0", "%p %p", (void *)0xffff800000001000, NULL);
}

/* Text without a NUL is read no further than the precision. */
TEST(format, precision_bounds_the_read)
{
    char raw[4] = {'a', 'b', 'c', 'd'};

    EXPECT_FORMAT(t, "abcd", "%.4s", raw);
}

/* By way of a va_list, so that the compiler does not hold the format to its arguments. */
struct format_got {
    char text[32];
    size_t length;
};

static void format_got_sink(void *context, const char *bytes, size_t n)
{
    struct format_got *got = context;

    memcpy(got->text + got->length, bytes, n);
    got->length += n;
    got->text[got->length] = '\0';
}

static void format_unchecked(struct format_got *got, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_to(format_got_sink, got, format, args);
    va_end(args);
}

TEST(format, unknown_conversions_stand_as_they_are)
{
    static const char *const formats[] = {"%q", "a%", "%5", "%-05.2lQ"};

    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        struct format_got got = {0};

        format_unchecked(&got, formats[i], 1, 2, 3);
        EXPECT(t, strcmp(got.text, formats[i]) == 0);
    }
}

TEST(format, null_string_is_named)
{
    struct format_got got = {0};

    format_unchecked(&got, "[%7s]", (const char *)NULL);
    EXPECT(t, strcmp(got.text, "[ (null)]") == 0);
}

TEST(format, string_is_cut_at_the_buffer_only)
{
    char got[8] = "zzzzzzz";

    EXPECT(t, format_string(got, 4, "%s%d", "ab", 1234) == 6);
    EXPECT(t, strcmp(got, "ab1") == 0 && got[4] == 'z');
    EXPECT(t, format_string(got, 1, "abc") == 3 && got[0] == '\0');
    EXPECT(t, format_string(NULL, 0, "%d", 12345) == 5);
}
