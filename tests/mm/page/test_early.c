/* Where the early allocator puts things, by address only; and that it is closed. */
#include "mm/page/early.h"
#include "tests/test.h"

/* Low memory, a fragment, a large range, and another fragment. */
#define MAP                                                                                  \
    {                                                                                        \
        {MIB, 15 * MIB, MM_RANGE_USABLE}, {32 * MIB, 64 * KIB, MM_RANGE_USABLE},             \
            {64 * MIB, 256 * MIB, MM_RANGE_USABLE}, {512 * MIB, 128 * KIB, MM_RANGE_USABLE}, \
    }

TEST(early, uses_up_fragments_first)
{
    struct mm_range map[] = MAP;
    struct early_memory memory = {map, ARRAY_COUNT(map), NULL};

    for (unsigned i = 0; i < 16; i++)
        EXPECT(t, early_take(&memory, 4 * KIB, 4 * KIB) / MIB == 32);
    for (unsigned i = 0; i < 32; i++)
        EXPECT(t, early_take(&memory, 4 * KIB, 4 * KIB) / MIB == 512);
    EXPECT(t, early_take(&memory, 4 * KIB, 4 * KIB) == 320 * MIB - 4 * KIB);
    EXPECT(t, early_take(&memory, 4 * KIB, 4 * KIB) == 320 * MIB - 8 * KIB);
}

TEST(early, spares_dma_memory_until_it_is_all_there_is)
{
    struct mm_range map[] = MAP;
    struct early_memory memory = {map, ARRAY_COUNT(map), NULL};

    EXPECT(t, early_take(&memory, 256 * MIB, 4 * KIB) == 64 * MIB);
    EXPECT(t, early_take(&memory, 15 * MIB, 4 * KIB) == MIB);
    EXPECT(t, early_take(&memory, 128 * KIB, 4 * KIB) == 512 * MIB);
    EXPECT(t, early_take(&memory, 64 * KIB, 4 * KIB) == 32 * MIB);
    EXPECT(t, early_take(&memory, 1, 1) == EARLY_NOWHERE);
}

TEST(early, aligns_and_keeps_objects_apart)
{
    struct mm_range map[] = MAP;
    struct early_memory memory = {map, ARRAY_COUNT(map), NULL};
    uint64_t state = test_seed(t);
    uint64_t below = UINT64_MAX;

    EXPECT(t, early_take(&memory, 64 * KIB, 4 * KIB) != EARLY_NOWHERE);
    EXPECT(t, early_take(&memory, 128 * KIB, 4 * KIB) != EARLY_NOWHERE);
    for (unsigned i = 0; i < 1000; i++) {
        size_t bytes = 1 + random_next(&state) % 20000;
        size_t align = 1ul << random_next(&state) % 16;
        uint64_t at = early_take(&memory, bytes, align);

        REQUIRE(t, at != EARLY_NOWHERE && at % align == 0);
        REQUIRE(t, at >= 64 * MIB && at + bytes <= 320 * MIB && at + bytes <= below);
        below = at;
    }
    EXPECT(t, early_take(&memory, UINT64_MAX, 1) == EARLY_NOWHERE);
    EXPECT(t, early_take(&memory, 4 * KIB, 1ul << 40) == EARLY_NOWHERE);
}

static void alloc_early(void *unused)
{
    (void)unused;
    early_alloc(123, 8);
}

TEST(early, is_closed_when_the_page_heap_is_open)
{
    EXPECT_PANIC(t, alloc_early, NULL, "early_alloc of 123 bytes: the page heap is open");
}
