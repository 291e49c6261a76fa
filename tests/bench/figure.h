/*
 * Figures as text, without floating point: a value is an integer and how many decimals it has.
 * Each function returns the text by value; figure_count(n).text lives to the end of its expression.
 */
#pragma once

#include "kernel/base/base.h"

struct figure {
    char text[40];
};

#define FIGURE_FINE 10000000u /* 10^7: what figure_go's value counts in */

struct figure figure_count(uint64_t value); /* 158,307 */

/* numerator / denominator, rounded, with 0 .. 9 decimals: 1.25; "-" when the denominator is 0. */
struct figure figure_ratio(uint64_t numerator, uint64_t denominator, unsigned decimals);

/* As Go's testing package pads and rounds: four significant digits, the point in one column. */
struct figure figure_go(uint64_t value_fine);

/* total / n in 10^-7; no overflow up to a total of 2^64 - 1, where the quotient fits. */
uint64_t figure_fine(uint64_t total, uint64_t n);
