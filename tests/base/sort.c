/* kernel/base/sort.c: sorted, and the same elements; lengths, element sizes, shapes of input. */
#include "kernel/base/sort.h"
#include "kernel/base/string.h"
#include "tests/test.h"

#define SORT_MAX 300

struct sort_wide {
    uint32_t key;
    uint32_t tag; /* a function of key: torn elements show */
    uint8_t tail[12];
};

static int sort_compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static int sort_compare_wide(const void *a, const void *b)
{
    uint32_t left = ((const struct sort_wide *)a)->key, right = ((const struct sort_wide *)b)->key;

    return (left > right) - (left < right);
}

/* Against insertion, on keys of a small range, so that many are equal. */
TEST(sort, agrees_with_insertion)
{
    uint64_t state = test_seed(t), got[SORT_MAX], model[SORT_MAX];

    for (size_t count = 0; count <= SORT_MAX; count += 1 + count / 8) {
        uint64_t range = 1 + random_next(&state) % (2 * count + 2);

        for (size_t i = 0; i < count; i++) {
            uint64_t key = random_next(&state) % range;
            size_t at = i;

            got[i] = key;
            for (; at > 0 && model[at - 1] > key; at--)
                model[at] = model[at - 1];
            model[at] = key;
        }
        sort(got, count, sizeof(got[0]), sort_compare_u64);
        REQUIRE(t, memcmp(got, model, count * sizeof(got[0])) == 0);
    }
}

TEST(sort, ascending_descending_equal)
{
    uint64_t up[100], down[100], same[100];

    for (uint64_t i = 0; i < 100; i++) {
        up[i] = i;
        down[i] = 99 - i;
        same[i] = 5;
    }
    sort(up, 100, sizeof(up[0]), sort_compare_u64);
    sort(down, 100, sizeof(down[0]), sort_compare_u64);
    sort(same, 100, sizeof(same[0]), sort_compare_u64);
    for (uint64_t i = 0; i < 100; i++)
        EXPECT(t, up[i] == i && down[i] == i && same[i] == 5);
}

TEST(sort, moves_elements_whole)
{
    uint64_t state = test_seed(t);
    struct sort_wide array[SORT_MAX];

    for (size_t i = 0; i < SORT_MAX; i++) {
        array[i].key = (uint32_t)random_next(&state);
        array[i].tag = array[i].key * 2654435761u;
        memset(array[i].tail, (uint8_t)array[i].key, sizeof(array[i].tail));
    }
    sort(array, SORT_MAX, sizeof(array[0]), sort_compare_wide);
    for (size_t i = 0; i < SORT_MAX; i++) {
        REQUIRE(t, i == 0 || array[i - 1].key <= array[i].key);
        REQUIRE(t, array[i].tag == array[i].key * 2654435761u);
        REQUIRE(t, array[i].tail[0] == (uint8_t)array[i].key);
        REQUIRE(t, array[i].tail[11] == (uint8_t)array[i].key);
    }
}
