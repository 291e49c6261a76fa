/* The size classes: recomputed from their rule, and compared with what Go publishes. */
#include "mm/port.h"
#include "mm/span/size_classes.h"
#include "mm/mm.h"
#include "tests/test.h"

/* Go's table (internal/runtime/gc/sizeclasses.go), as published: classes 1 .. 67. */
static const struct published {
    uint32_t bytes, span_bytes, slots, tail_bytes;
    uint32_t waste; /* largest part of a span wasted, in 1/100 % */
} published[] = {
    {8, 8192, 1024, 0, 8750},    {16, 8192, 512, 0, 4375},     {24, 8192, 341, 8, 2924},
    {32, 8192, 256, 0, 2188},    {48, 8192, 170, 32, 3152},    {64, 8192, 128, 0, 2344},
    {80, 8192, 102, 32, 1907},   {96, 8192, 85, 32, 1595},     {112, 8192, 73, 16, 1356},
    {128, 8192, 64, 0, 1172},    {144, 8192, 56, 128, 1182},   {160, 8192, 51, 32, 973},
    {176, 8192, 46, 96, 959},    {192, 8192, 42, 128, 925},    {208, 8192, 39, 80, 812},
    {224, 8192, 36, 128, 815},   {240, 8192, 34, 32, 662},     {256, 8192, 32, 0, 586},
    {288, 8192, 28, 128, 1216},  {320, 8192, 25, 192, 1180},   {352, 8192, 23, 96, 988},
    {384, 8192, 21, 128, 951},   {416, 8192, 19, 288, 1071},   {448, 8192, 18, 128, 837},
    {480, 8192, 17, 32, 682},    {512, 8192, 16, 0, 605},      {576, 8192, 14, 128, 1233},
    {640, 8192, 12, 512, 1548},  {704, 8192, 11, 448, 1393},   {768, 8192, 10, 512, 1394},
    {896, 8192, 9, 128, 1552},   {1024, 8192, 8, 0, 1240},     {1152, 8192, 7, 128, 1241},
    {1280, 8192, 6, 512, 1555},  {1408, 16384, 11, 896, 1400}, {1536, 8192, 5, 512, 1400},
    {1792, 16384, 9, 256, 1557}, {2048, 8192, 4, 0, 1245},     {2304, 16384, 7, 256, 1246},
    {2688, 8192, 3, 128, 1559},  {3072, 24576, 8, 0, 1247},    {3200, 16384, 5, 384, 622},
    {3456, 24576, 7, 384, 883},  {4096, 8192, 2, 0, 1560},     {4864, 24576, 5, 256, 1665},
    {5376, 16384, 3, 256, 1092}, {6144, 24576, 4, 0, 1248},    {6528, 32768, 5, 128, 623},
    {6784, 40960, 6, 256, 436},  {6912, 49152, 7, 768, 337},   {8192, 8192, 1, 0, 1561},
    {9472, 57344, 6, 512, 1428}, {9728, 49152, 5, 512, 364},   {10240, 40960, 4, 0, 499},
    {10880, 32768, 3, 128, 624}, {12288, 24576, 2, 0, 1145},   {13568, 40960, 3, 256, 999},
    {14336, 57344, 4, 0, 535},   {16384, 16384, 1, 0, 1249},   {18432, 73728, 4, 0, 1111},
    {19072, 57344, 3, 128, 357}, {20480, 40960, 2, 0, 687},    {21760, 65536, 3, 256, 625},
    {24576, 24576, 1, 0, 1145},  {27264, 81920, 3, 128, 1000}, {28672, 57344, 2, 0, 491},
    {32768, 32768, 1, 0, 1250},
};

#define SPAN_TAIL_DIVISOR 8 /* a tail is at most 1/8 of the span */

static size_t rule_align(size_t bytes)
{
    if (bytes >= 2048)
        return 256;
    if (bytes >= 128)
        return (1ul << (63 - __builtin_clzl(bytes))) / 8;
    return bytes >= 32 ? 16 : 8;
}

static size_t rule_span_bytes(size_t bytes)
{
    size_t span = GRANULE_BYTES;

    while (span % bytes > span / SPAN_TAIL_DIVISOR)
        span += GRANULE_BYTES;
    return span;
}

/* Fill sizes and spans by the rule; returns the number of classes, class 0 included. */
static unsigned rule_apply(size_t *sizes, size_t *spans)
{
    unsigned last = 0;

    for (size_t bytes = 8; bytes <= SIZE_CLASS_MAX_BYTES; bytes += rule_align(bytes)) {
        size_t span = rule_span_bytes(bytes);

        if (last == 0 || span != spans[last] || span / bytes != span / sizes[last])
            last++;
        sizes[last] = bytes;
        spans[last] = span;
    }
    for (unsigned class = 1; class <= last; class ++)
        sizes[class] = MAX(sizes[class],
                           ALIGN_DOWN(spans[class] / (spans[class] / sizes[class]), (size_t)128));
    return last + 1;
}

TEST(size_classes, follow_the_rule)
{
    static size_t sizes[2 * SIZE_CLASS_COUNT], spans[2 * SIZE_CLASS_COUNT];

    REQUIRE(t, rule_apply(sizes, spans) == SIZE_CLASS_COUNT);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct slot_layout *layout = &size_class_layout[class];
        size_t map_bytes = slot_map_words(layout->slot_count) * sizeof(uint64_t);
        size_t slots_bytes = (size_t)layout->slot_count * layout->slot_bytes;

        EXPECT(t, layout->slot_bytes == sizes[class]);
        EXPECT(t, layout->granules * GRANULE_BYTES == spans[class]);
        EXPECT(t, slots_bytes + map_bytes <= spans[class]);
        /* one slot more would not fit with its bitmap */
        map_bytes = slot_map_words(layout->slot_count + 1u) * sizeof(uint64_t);
        EXPECT(t, slots_bytes + sizes[class] + map_bytes > spans[class]);
    }
}

/* Prints the table with its waste column, which is also that of the bitmaps. */
TEST(size_classes, agree_with_go)
{
    EXPECT(t, ARRAY_COUNT(published) == SIZE_CLASS_COUNT - 1);
    port_print("# class  bytes   span  slots  of raw   tail  max waste  bitmap\n");
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++) {
        const struct slot_layout *layout = &size_class_layout[class];
        const struct published *go = &published[class - 1];
        size_t span = layout->granules * GRANULE_BYTES;
        size_t raw = span / layout->slot_bytes;
        size_t tail = span % layout->slot_bytes;
        size_t smallest = size_class_layout[class - 1].slot_bytes + 1;
        size_t wasted = (layout->slot_bytes - smallest) * raw + tail;
        size_t waste = (wasted * 20000 + span) / (2 * span);

        port_print("# %5u %6u %6zu %6u  %6zu %6zu %6zu.%02zu%% %7zu\n", class, layout->slot_bytes,
                   span, layout->slot_count, raw, tail, waste / 100, waste % 100,
                   slot_map_words(layout->slot_count) * sizeof(uint64_t));
        EXPECT(t, layout->slot_bytes == go->bytes);
        EXPECT(t, span == go->span_bytes);
        EXPECT(t, raw == go->slots);
        EXPECT(t, tail == go->tail_bytes);
        /* Go rounds an exact half either way; allow the last digit. */
        EXPECT(t, waste + 1 >= go->waste && waste <= go->waste + 1);
        EXPECT(t, layout->slot_count <= raw);
    }
}

/* Every size gets the smallest class that holds it and is aligned as kmalloc promises. */
TEST(size_classes, lookup_is_the_smallest)
{
    for (size_t bytes = 1; bytes <= SIZE_CLASS_MAX_BYTES; bytes++) {
        size_t align = bytes <= 8 ? 8 : 16;
        unsigned class = 1;

        while (size_class_layout[class].slot_bytes < bytes ||
               !IS_ALIGNED(size_class_layout[class].slot_bytes, align))
            class ++;
        REQUIRE(t, size_class_of(bytes) == class && size_class_of_constant(bytes) == class);
    }
}

/* The magic tells index and first byte, for every byte of a span, and what is no slot. */
static bool magic_divides(const struct slot_layout *layout)
{
    for (uint64_t offset = 0; offset < layout->granules * GRANULE_BYTES; offset++) {
        uint64_t index = offset / layout->slot_bytes;
        bool is_slot = offset % layout->slot_bytes == 0 && index < layout->slot_count;

        if ((uint64_t)((unsigned __int128)offset * layout->slot_magic >> 64) != index ||
            (offset * layout->slot_magic < SPAN_SLOT_LIMIT) != is_slot)
            return false;
    }
    return true;
}

TEST(size_classes, magic_divides_every_offset)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class ++)
        EXPECT(t, magic_divides(&size_class_layout[class]));
}

/*
 * For any other slot: first bytes give multiples of the error, of which exactly those of slots are
 * below the limit; all other bytes give the magic at least, which is above all keys.
 */
TEST(size_classes, any_layout_is_sound)
{
    for (size_t bytes = 8; bytes <= SLOT_BYTES_MAX; bytes += 8) {
        struct slot_layout layout = slot_layout_of(bytes);
        size_t span = layout.granules * GRANULE_BYTES;
        size_t map_bytes = slot_map_words(layout.slot_count) * sizeof(uint64_t);
        uint64_t error = layout.slot_magic * bytes;

        REQUIRE(t, layout.slot_bytes == bytes && layout.slot_count > 0);
        REQUIRE(t, layout.slot_count * bytes + map_bytes <= span);
        REQUIRE(t, span % bytes <= span / SPAN_TAIL_DIVISOR);
        REQUIRE(t, error * (layout.slot_count - 1u) < SPAN_SLOT_LIMIT);
        REQUIRE(t, error * layout.slot_count >= SPAN_SLOT_LIMIT);
        REQUIRE(t, error * (span / bytes + 1) < 1ull << 32);
        REQUIRE(t, layout.slot_magic > 1ull << 48);
        if (bytes % 4096 == 8)
            REQUIRE(t, magic_divides(&layout));
    }
}
