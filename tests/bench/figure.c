/* Figures as text: see figure.h. */
#include "tests/bench/figure.h"

#include "kernel/base/format.h"

#define FIGURE_DECIMALS 7

static uint64_t figure_power(unsigned decimals)
{
    uint64_t power = 1;

    while (decimals-- > 0)
        power *= 10;
    return power;
}

struct figure figure_count(uint64_t value)
{
    struct figure figure;
    char digits[24];
    size_t count = format_string(digits, sizeof(digits), "%lu", value);
    char *out = figure.text;

    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return figure;
}

/* Of value / power, which has `decimals` decimals. */
static struct figure figure_fixed(uint64_t value, unsigned decimals, unsigned width)
{
    struct figure figure;
    char plain[40];
    uint64_t power = figure_power(decimals);

    if (decimals == 0)
        format_string(plain, sizeof(plain), "%lu", value);
    else
        format_string(plain, sizeof(plain), "%lu.%0*lu", value / power, (int)decimals,
                      value % power);
    format_string(figure.text, sizeof(figure.text), "%*s", (int)width, plain);
    return figure;
}

struct figure figure_ratio(uint64_t numerator, uint64_t denominator, unsigned decimals)
{
    uint64_t power = figure_power(decimals);

    if (denominator == 0)
        return (struct figure){"-"};

    uint64_t whole = numerator / denominator;
    uint64_t rest = numerator % denominator;
    while (rest > UINT64_MAX / power / 2) { /* keeps the product below in range */
        rest /= 2;
        denominator /= 2;
    }
    return figure_fixed(whole * power + (rest * power + denominator / 2) / denominator, decimals,
                        0);
}

struct figure figure_go(uint64_t value_fine)
{
    /* Below each bound, one decimal more; the bounds are where four digits round up to five. */
    static const uint64_t bounds[] = {9999500000, 999950000, 99995000, 9999500,
                                      999950,     99995,     10000};
    unsigned decimals = 0;

    while (decimals < ARRAY_COUNT(bounds) && value_fine != 0 && value_fine < bounds[decimals])
        decimals++;

    uint64_t unit = figure_power(FIGURE_DECIMALS - decimals);
    return figure_fixed((value_fine + unit / 2) / unit, decimals, decimals ? 11 + decimals : 10);
}

uint64_t figure_fine(uint64_t total, uint64_t n)
{
    if (n == 0)
        return 0;

    uint64_t rest = total % n;
    uint64_t divisor = n;
    while (rest > UINT64_MAX / FIGURE_FINE / 2) {
        rest /= 2;
        divisor /= 2;
    }
    return total / n * FIGURE_FINE + (rest * FIGURE_FINE + divisor / 2) / divisor;
}
