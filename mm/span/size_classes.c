/* The size-class table as data, and the rule that it follows for slots of any other size. */
#include "mm/span/size_classes.h"
#include "kernel/base/check.h"
#include "mm/mm.h"

#define LAYOUT(class, bytes, granule_count, slots) \
    [class] = {                                    \
        .slot_magic = SLOT_MAGIC(bytes, slots),    \
        .slot_bytes = (bytes),                     \
        .slot_count = (slots),                     \
        .granules = (granule_count),               \
    },
#define RANGE(first, last, class) [first... last] = (class),

const struct slot_layout size_class_layout[SIZE_CLASS_COUNT] = {SIZE_CLASS_TABLE(LAYOUT)};
const uint8_t size_class_table[] = {SIZE_CLASS_RANGES(RANGE)};

struct slot_layout slot_layout_of(size_t slot_bytes)
{
    CHECK(slot_bytes >= 8 && slot_bytes <= SLOT_BYTES_MAX && slot_bytes % 8 == 0);

    size_t span_bytes = GRANULE_BYTES;

    while (span_bytes % slot_bytes > span_bytes / 8)
        span_bytes += GRANULE_BYTES;

    size_t slots = span_bytes / slot_bytes;

    while (slots * slot_bytes + slot_map_words(slots) * sizeof(uint64_t) > span_bytes)
        slots--;
    return (struct slot_layout){
        .slot_magic = SLOT_MAGIC(slot_bytes, slots),
        .slot_bytes = (uint32_t)slot_bytes,
        .slot_count = (uint16_t)slots,
        .granules = (uint16_t)(span_bytes / GRANULE_BYTES),
    };
}
