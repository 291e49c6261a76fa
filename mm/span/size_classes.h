/*
 * Size classes: the sizes in which slots come, and how a span of each is cut.
 *
 * Class 0 stands for what has no class: large objects, spans of their own.  1 .. 67 are Go's
 * classes, 8 bytes to 32 KiB, cut from the smallest span whose tail is at most 1/8 of it.  From 129
 * bytes on, rounding a size up and the tail together waste at most 1/6.  The table is
 * mm/span/size_class_table.h, which shows the waste of each class.
 */
#pragma once

#include "kernel/base/base.h"
#include "mm/span/size_class_table.h"

/* Of the largest slot: an object, and a page each for what stands before and behind it. */
#define SLOT_BYTES_MAX (SIZE_CLASS_MAX_BYTES + 2 * 4096u)

/* How a span is cut into slots. */
struct slot_layout {
    uint64_t slot_magic; /* of slot_bytes and slot_count: SLOT_MAGIC, mm/span/span.h says why */
    uint32_t slot_bytes; /* bytes of a slot, a multiple of 8 */
    uint16_t slot_count; /* slots in a span */
    uint16_t granules;   /* granules of a span */
};

/*
 * The smallest magic above 2^64 / bytes for which error = magic * bytes - 2^64 has error * slots at
 * least SPAN_SLOT_LIMIT.  Then error * (slots - 1) is below it, for all slots of 8 bytes or more in
 * spans up to 512 KiB (tests/mm/span/test_size_classes.c tries them all).
 */
#define SPAN_SLOT_LIMIT          (1ull << 30)
#define SLOT_MAGIC_MIN(bytes)    (UINT64_MAX / (bytes) + 1)
#define SLOT_ERROR_MIN(bytes)    (SLOT_MAGIC_MIN(bytes) * (bytes)) /* mod 2^64: 0 .. bytes - 1 */
#define SLOT_ERROR_WANTED(slots) ((SPAN_SLOT_LIMIT + (slots)-1) / (slots))
#define SLOT_MAGIC(bytes, slots) \
    (SLOT_MAGIC_MIN(bytes) +     \
     (SLOT_ERROR_WANTED(slots) - SLOT_ERROR_MIN(bytes) + (uint64_t)(bytes)-1) / (bytes))

extern const struct slot_layout size_class_layout[SIZE_CLASS_COUNT]; /* [0] is all zero */
extern const uint8_t size_class_table[SIZE_CLASS_MAX_BYTES / 8 + 1];

/*
 * size_class_of -- the smallest class for `bytes` (0 .. SIZE_CLASS_MAX_BYTES) whose slots are
 * aligned to 16 bytes, to 8 up to 8 bytes; 0 for 0.
 */
static ALWAYS_INLINE unsigned size_class_of(size_t bytes)
{
    return size_class_table[(bytes + 7) / 8];
}

#define SIZE_CLASS_IF(class, bytes_, granules, slots) bytes <= (bytes_) && (class) != 3 ? (class):

/* The same of a size that the compiler knows, without a load. */
static ALWAYS_INLINE unsigned size_class_of_constant(size_t bytes)
{
    return SIZE_CLASS_TABLE(SIZE_CLASS_IF) 0;
}

#undef SIZE_CLASS_IF

/*
 * slot_layout_of -- how to cut a span into slots of any size.
 *   slot_bytes  8 .. SLOT_BYTES_MAX, a multiple of 8
 *   returns     the smallest span whose tail is at most 1/8 of it
 */
struct slot_layout slot_layout_of(size_t slot_bytes);

/* 64-bit words of a bitmap of that many slots at the end of a span; 0 when it is not there. */
static inline unsigned slot_map_words(unsigned slot_count)
{
    return slot_count <= 64 ? 0 : (slot_count + 63) / 64;
}
