/* kernel/base/parse.c: limits, malformed text, patterns. */
#include "kernel/base/parse.h"
#include "tests/test.h"

struct parse_case {
    const char *text;
    bool is_good;
    uint64_t value;
};

static void parse_check(struct test *t, bool (*parse)(const char *, uint64_t *),
                        const struct parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t got = 12345;

        if (!EXPECT(t, parse(cases[i].text, &got) == cases[i].is_good) ||
            !EXPECT(t, got == (cases[i].is_good ? cases[i].value : 12345)))
            test_failed(t, cases[i].text, __FILE__, __LINE__);
    }
}

TEST(parse, numbers)
{
    static const struct parse_case cases[] = {
        {"0", true, 0},
        {"00017", true, 17},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"0x0", true, 0},
        {"0xDeadBeef", true, 0xdeadbeef},
        {"0xffffffffffffffff", true, UINT64_MAX},
        {"0x10000000000000000", false, 0},
        {"", false, 0},
        {"0x", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"12a", false, 0},
        {"0xg", false, 0},
    };

    parse_check(t, parse_u64, cases, ARRAY_COUNT(cases));
}

TEST(parse, sizes)
{
    static const struct parse_case cases[] = {
        {"0", true, 0},
        {"4096", true, 4096},
        {"4096B", true, 4096},
        {"64K", true, 64 << 10},
        {"64k", true, 64 << 10},
        {"64KiB", true, 64 << 10},
        {"512M", true, 512ul << 20},
        {"512MiB", true, 512ul << 20},
        {"8G", true, 8ul << 30},
        {"1TiB", true, 1ul << 40},
        {"2P", true, 2ul << 50},
        {"15E", true, 15ul << 60},
        {"16E", false, 0},
        {"16777216T", false, 0},
        {"16777215T", true, 16777215ul << 40},
        {"", false, 0},
        {"M", false, 0},
        {"1X", false, 0},
        {"1MB", false, 0},
        {"1Mi", false, 0},
        {"1MiBs", false, 0},
        {"1 M", false, 0},
        {"1.5G", false, 0},
        {"0x10", false, 0},
    };

    parse_check(t, parse_size, cases, ARRAY_COUNT(cases));
}

TEST(parse, globs)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything", true},
        {"?", "", false},
        {"?", "a", true},
        {"page.*", "page.alloc", true},
        {"page.*", "pages.alloc", false},
        {"*alloc*", "page.alloc_zero", true},
        {"*.a?c", "x.abc", true},
        {"*.a?c", "x.ac", false},
        {"a*b*c", "a.b.b.c", true},
        {"a*b*c", "a.b.b.d", false},
        {"**a", "bba", true},
        {"*ab", "aab", true},
        {"KmallocPair/size=*", "KmallocPair/size=64", true},
        {"a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (!EXPECT(t, glob_match(cases[i].pattern, cases[i].text) == cases[i].matches))
            test_failed(t, cases[i].pattern, __FILE__, __LINE__);
    }
}
