/* Normalising the memory map: each rule by itself, then random maps against the model. */
#include "mm/page/page.h"
#include "mm/page/ranges.h"
#include "tests/mm/page/ranges_model.h"
#include "tests/test.h"

#define MAP_MAX  8u
#define MAP_ROOM (2 * MAP_MAX + 1)
#define USABLE   MM_RANGE_USABLE
#define RESERVED MM_RANGE_RESERVED

struct map_case {
    const char *rule;
    struct mm_range in[MAP_MAX]; /* up to the first with 0 bytes behind `count` */
    size_t in_count;
    struct mm_range out[MAP_MAX];
    size_t out_count;
};

static const struct map_case map_cases[] = {
    {"nothing", {{0}}, 0, {{0}}, 0},
    {"sorts",
     {{0x9000, 0x1000, USABLE}, {0x3000, 0x1000, USABLE}},
     2,
     {{0x3000, 0x1000, USABLE}, {0x9000, 0x1000, USABLE}},
     2},
    {"merges what touches",
     {{0x2000, 0x1000, USABLE}, {0x1000, 0x1000, USABLE}},
     2,
     {{0x1000, 0x2000, USABLE}},
     1},
    {"merges what overlaps",
     {{0x1000, 0x3000, USABLE}, {0x2000, 0x5000, USABLE}},
     2,
     {{0x1000, 0x6000, USABLE}},
     1},
    {"keeps a page apart",
     {{0x1000, 0x1000, USABLE}, {0x3000, 0x1000, USABLE}},
     2,
     {{0x1000, 0x1000, USABLE}, {0x3000, 0x1000, USABLE}},
     2},
    {"aligns usable inward", {{0x1001, 0x2fff, USABLE}}, 1, {{0x2000, 0x2000, USABLE}}, 1},
    {"drops less than a page", {{0x1001, 0x1ffe, USABLE}}, 1, {{0}}, 0},
    {"aligns reserved outward",
     {{0, 0x8000, USABLE}, {0x2fff, 2, RESERVED}},
     2,
     {{0, 0x2000, USABLE}, {0x4000, 0x4000, USABLE}},
     2},
    {"reserved wins",
     {{0x4000, 0x4000, RESERVED}, {0, 0x10000, USABLE}, {0x4000, 1, USABLE}},
     3,
     {{0, 0x4000, USABLE}, {0x8000, 0x8000, USABLE}},
     2},
    {"reserved over reserved",
     {{0, 0x10000, USABLE}, {0x2000, 0x6000, RESERVED}, {0x4000, 0x1000, RESERVED}},
     3,
     {{0, 0x2000, USABLE}, {0x8000, 0x8000, USABLE}},
     2},
    {"all reserved", {{0x1000, 0x1000, USABLE}, {0, 0x9000, RESERVED}}, 2, {{0}}, 0},
    {"drops zero lengths",
     {{0, 0x4000, USABLE}, {0x1000, 0, RESERVED}, {0x9000, 0, USABLE}},
     3,
     {{0, 0x4000, USABLE}},
     1},
    {"clips to MM_PHYS_BYTES",
     {{MM_PHYS_BYTES - 0x1000, 1ul << 52, USABLE}},
     1,
     {{MM_PHYS_BYTES - 0x1000, 0x1000, USABLE}},
     1},
    {"drops what is beyond 52 bits", {{1ul << 52, 0x1000, USABLE}}, 1, {{0}}, 0},
    {"drops usable that wraps", {{0x1000, UINT64_MAX, USABLE}}, 1, {{0}}, 0},
    {"reserved that wraps reaches the top",
     {{0, 0x8000, USABLE}, {0x5000, UINT64_MAX, RESERVED}, {1ul << 40, 0x1000, USABLE}},
     3,
     {{0, 0x5000, USABLE}},
     1},
    {"unknown kinds are reserved",
     {{0, 0x8000, USABLE}, {0, 0x1000, (enum mm_range_kind)77}},
     2,
     {{0x1000, 0x7000, USABLE}},
     1},
};

TEST(ranges, rules)
{
    for (size_t i = 0; i < ARRAY_COUNT(map_cases); i++) {
        const struct map_case *map = &map_cases[i];
        struct mm_range ranges[MAP_ROOM];
        struct test rule = {.suite = "ranges", .name = map->rule}; /* names the rule that fails */

        for (size_t k = 0; k < map->in_count; k++)
            ranges[k] = map->in[k];

        size_t count = ranges_normalise(ranges, map->in_count, MAP_ROOM);

        if (EXPECT(&rule, count == map->out_count))
            for (size_t k = 0; k < count; k++) {
                EXPECT(&rule, ranges[k].base == map->out[k].base);
                EXPECT(&rule, ranges[k].bytes == map->out[k].bytes);
            }
        EXPECT(t, rule.failures == 0);
    }
}

/* Overlapping, unaligned, wrapping and far away, in a space of which every page is compared. */
TEST(ranges, random_maps_agree_with_the_model)
{
    uint64_t state = test_seed(t);
    struct mm_range ranges[2 * 32 + 1];
    uint8_t usable[RANGES_MODEL_PAGES];

    for (unsigned round = 0; round < 1000; round++) {
        size_t count = random_next(&state) % 33;

        for (size_t i = 0; i < count; i++) {
            uint64_t space = RANGES_MODEL_PAGES * PAGE_BYTES;

            ranges[i].base = random_next(&state) % space;
            ranges[i].bytes = random_next(&state) % (space / 8);
            ranges[i].kind = random_next(&state) % 3 ? USABLE : RESERVED;
            if (random_next(&state) % 2) {
                ranges[i].base = ALIGN_DOWN(ranges[i].base, PAGE_BYTES);
                ranges[i].bytes = ALIGN_DOWN(ranges[i].bytes, PAGE_BYTES);
            }
            if (random_next(&state) % 64 == 0)
                ranges[i].bytes = UINT64_MAX - random_next(&state) % space;
        }
        ranges_model_fill(usable, ranges, count);
        count = ranges_normalise(ranges, count, ARRAY_COUNT(ranges));
        REQUIRE(t, ranges_check_form(ranges, count) == NULL);
        REQUIRE(t, ranges_check_model(ranges, count, usable) == NULL);
    }
}

/* Ten thousand entries, alternating and backwards: in order n log n, and all of them are kept. */
TEST(ranges, ten_thousand_entries)
{
    size_t entries = 10000, capacity = 2 * entries + 1;
    size_t pages = (capacity * sizeof(struct mm_range) + PAGE_BYTES - 1) / PAGE_BYTES;
    struct mm_range *ranges = page_alloc(pages, 0);

    REQUIRE(t, ranges != NULL);
    for (size_t i = 0; i < entries; i++)
        ranges[i] = (struct mm_range){(entries - i) * 4 * PAGE_BYTES, 2 * PAGE_BYTES, USABLE};

    size_t count = ranges_normalise(ranges, entries, capacity);

    EXPECT(t, count == entries);
    EXPECT(t, ranges_check_form(ranges, count) == NULL);
    EXPECT(t, ranges[0].base == 4 * PAGE_BYTES && ranges[0].bytes == 2 * PAGE_BYTES);

    for (size_t i = 0; i < entries; i++)
        ranges[i] = (struct mm_range){i * PAGE_BYTES, PAGE_BYTES, i % 2 ? USABLE : RESERVED};
    EXPECT(t, ranges_normalise(ranges, entries, capacity) == entries / 2);
    page_free(ranges, pages);
}

static void normalise_without_room(void *unused)
{
    struct mm_range ranges[3] = {{0, 0x1000, USABLE}, {0x1000, 0x1000, USABLE}};

    (void)unused;
    ranges_normalise(ranges, 2, 3);
}

TEST(ranges, needs_its_capacity)
{
    EXPECT_PANIC(t, normalise_without_room, NULL, "capacity");
}
