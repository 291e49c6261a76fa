/* Runs in words and summaries, against counting bit by bit. */
#include "mm/page/bits.h"
#include "mm/page/summary.h"
#include "tests/test.h"

#define ROUNDS 20000

/* Words of few and of many 1 bits, with long runs. */
static uint64_t random_word(uint64_t *state)
{
    uint64_t word = random_next(state);

    switch (random_next(state) % 6) {
    case 0:
        return word & random_next(state);
    case 1:
        return word | random_next(state);
    case 2:
        return ~0ull << word % 64;
    case 3:
        return ~0ull >> word % 64;
    case 4:
        return ~(1ull << word % 64);
    default:
        return word;
    }
}

static unsigned naive_longest(uint64_t word)
{
    unsigned longest = 0, run = 0;

    for (unsigned i = 0; i < 64; i++) {
        run = word >> i & 1 ? run + 1 : 0;
        longest = MAX(longest, run);
    }
    return longest;
}

TEST(page, bits_agree_with_counting)
{
    uint64_t state = test_seed(t);

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t word = round == 0 ? 0 : round == 1 ? ~0ull : random_word(&state);
        unsigned low = 0, high = 0, count = 0;
        size_t n = 1 + random_next(&state) % 64;
        uint64_t starts = 0;

        while (low < 64 && word >> low & 1)
            low++;
        while (high < 64 && word >> (63 - high) & 1)
            high++;
        for (unsigned i = 0; i < 64; i++) {
            count += word >> i & 1;
            if (i + n <= 64 && (word & bits_mask(i, n)) == bits_mask(i, n))
                starts |= 1ull << i;
        }
        REQUIRE(t, bits_low_run(word) == low);
        REQUIRE(t, bits_high_run(word) == high);
        REQUIRE(t, bits_count(word) == count);
        REQUIRE(t, bits_longest_run(word) == naive_longest(word));
        REQUIRE(t, bits_run_starts(word, n) == starts);

        unsigned bit = random_next(&state) % 64, below = 0, above = 0;

        while (below < bit && word >> (bit - 1 - below) & 1)
            below++;
        while (bit + above < 63 && word >> (bit + 1 + above) & 1)
            above++;
        REQUIRE(t, bits_run_below(word, bit) == below);
        REQUIRE(t, bits_run_above(word, bit) == above);
    }
}

TEST(page, bytes_agree_with_counting)
{
    uint64_t state = test_seed(t);

    for (unsigned round = 0; round < ROUNDS; round++) {
        union bytes a = {.word = random_next(&state) & ~BYTES_HIGH};
        union bytes b = {.word = random_next(&state) & ~BYTES_HIGH};
        union bytes joints, both = {.word = bytes_max(a.word, b.word)}, at_least;
        size_t n = 1 + random_next(&state) % 127;
        unsigned largest = 0;

        for (unsigned i = 0; i < 8; i++) {
            largest = MAX(largest, a.at[i]);
            REQUIRE(t, both.at[i] == MAX(a.at[i], b.at[i]));
        }
        REQUIRE(t, bytes_largest(a.word) == largest);
        joints.word = (a.word & BYTES_ONE * 63) + (b.word & BYTES_ONE * 63);
        at_least.word = bytes_at_least(joints.word, n);
        for (unsigned i = 0; i < 8; i++)
            REQUIRE(t, at_least.at[i] == (joints.at[i] >= n ? 0x80 : 0));
    }
}

TEST(page, bits_aligned_are_the_multiples)
{
    for (unsigned align = 1; align <= 64; align *= 2)
        for (unsigned i = 0; i < 64; i++)
            EXPECT(t, (bits_aligned(align) >> i & 1) == (i % align == 0));
}

/* Merging the summaries of words, two levels up, says what one look at all bits says. */
TEST(page, summary_merge_agrees_with_counting)
{
    uint64_t state = test_seed(t);

    for (unsigned round = 0; round < ROUNDS / 10; round++) {
        struct summary parts[8];
        size_t start = 0, max = 0, run = 0;
        bool is_whole = true;
        uint32_t some = 0;

        for (unsigned i = 0; i < 8; i++) {
            uint64_t word = random_next(&state) % 2 ? ~0ull : random_word(&state);

            some |= (word != 0) << i;
            parts[i] = (struct summary){.start = bits_low_run(word),
                                        .max = bits_longest_run(word),
                                        .end = bits_high_run(word),
                                        .whole = i};
            for (unsigned bit = 0; bit < 64; bit++) {
                run = word >> bit & 1 ? run + 1 : 0;
                is_whole &= word >> bit & 1;
                start += is_whole;
                max = MAX(max, run);
            }
        }
        struct summary want = {.start = start, .max = max, .end = run, .whole = 28, .some = some};
        struct summary all = summary_merge(parts, 8, 64);
        struct summary halves[2] = {summary_merge(parts, 4, 64), summary_merge(parts + 4, 4, 64)};

        REQUIRE(t, summary_is_equal(&all, &want));
        all = summary_merge(halves, 2, 256);
        want.some = (some % 16 != 0) | (some / 16 != 0) << 1;
        REQUIRE(t, summary_is_equal(&all, &want));
    }
}
