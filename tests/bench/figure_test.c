/* Figures as text: rounding, and Go's own examples of alignment. */
#include "kernel/base/string.h"
#include "tests/bench/figure.h"
#include "tests/test.h"

TEST(figure, counts_have_commas)
{
    EXPECT(t, strcmp(figure_count(0).text, "0") == 0);
    EXPECT(t, strcmp(figure_count(999).text, "999") == 0);
    EXPECT(t, strcmp(figure_count(1000).text, "1,000") == 0);
    EXPECT(t, strcmp(figure_count(158307).text, "158,307") == 0);
    EXPECT(t, strcmp(figure_count(UINT64_MAX).text, "18,446,744,073,709,551,615") == 0);
}

TEST(figure, ratios_are_rounded)
{
    EXPECT(t, strcmp(figure_ratio(5, 4, 2).text, "1.25") == 0);
    EXPECT(t, strcmp(figure_ratio(2, 3, 2).text, "0.67") == 0);
    EXPECT(t, strcmp(figure_ratio(1999, 1000, 2).text, "2.00") == 0);
    EXPECT(t, strcmp(figure_ratio(7, 2, 0).text, "4") == 0);
    EXPECT(t, strcmp(figure_ratio(1, 0, 2).text, "-") == 0);
    EXPECT(t, strcmp(figure_ratio(UINT64_MAX / 2, UINT64_MAX, 3).text, "0.500") == 0);
}

/* Columns as testing/benchmark.go has them: the point stands in one place. */
TEST(figure, go_keeps_four_digits)
{
    static const struct {
        uint64_t fine;
        const char *text;
    } cases[] = {
        {0, "         0"},
        {9999500000, "      1000"},
        {9999499999, "       999.9"},
        {12345678900000, "   1234568"},
        {999950000, "       100.0"},
        {999949999, "        99.99"},
        {899990000, "        90.00"},
        {99995000, "        10.00"},
        {12340000, "         1.234"},
        {1234000, "         0.1234"},
        {123400, "         0.01234"},
        {12340, "         0.001234"},
        {1234, "         0.0001234"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        EXPECT(t, strcmp(figure_go(cases[i].fine).text, cases[i].text) == 0);
}

TEST(figure, fine_divides_without_overflow)
{
    EXPECT(t, figure_fine(10, 4) == 25000000);
    EXPECT(t, figure_fine(1, 3) == 3333333);
    EXPECT(t, figure_fine(2, 3) == 6666667);
    EXPECT(t, figure_fine(5, 0) == 0);
    EXPECT(t, figure_fine(1ull << 62, 1ull << 62) == FIGURE_FINE);
}
