/*
 * Size classes: the sizes in which slots come, and how a span of each is cut.
 *
 * Class 0 stands for what has no class: large objects, spans of their own.  1 .. 67 are Go's
 * classes, 8 bytes to 32 KiB, cut from the smallest span whose tail is at most 1/8 of it.  From 129
 * bytes on, rounding a size up and the tail together waste at most 1/6.  The table is
 * mm/span/size_class_table.h, which shows the waste of each class.
 *
 * Dividing by a slot's size is multiplying by its magic, 2^32 / bytes rounded up: the upper half of
 * the product is the slot's index, and the lower half is smaller than the magic exactly at the
 * first byte of a slot (Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019).
 */
#pragma once

#include "kernel/base/base.h"
#include "mm/span/size_class_table.h"

/* Where any slot ends: the largest object, and a page for what stands behind it. */
#define SLOT_BYTES_MAX (SIZE_CLASS_MAX_BYTES + 4096u)

/* How a span is cut into slots. */
struct slot_layout {
    uint32_t slot_bytes; /* bytes of a slot, a multiple of 8 */
    uint32_t slot_magic; /* 2^32 / slot_bytes, rounded up */
    uint16_t slot_count; /* slots in a span */
    uint16_t granules;   /* granules of a span */
};

extern const struct slot_layout size_class_layout[SIZE_CLASS_COUNT]; /* [0] is all zero */
extern const uint8_t size_class_of_step8[SIZE_CLASS_STEP8_MAX / 8];
extern const uint8_t size_class_of_step128[(SIZE_CLASS_MAX_BYTES - SIZE_CLASS_STEP8_MAX) / 128];

/*
 * size_class_of -- the smallest class for `bytes` (1 .. SIZE_CLASS_MAX_BYTES) whose slots are
 * aligned to 16 bytes, to 8 up to 8 bytes.
 */
static inline unsigned size_class_of(size_t bytes)
{
    if (LIKELY(bytes <= SIZE_CLASS_STEP8_MAX))
        return size_class_of_step8[(bytes - 1) / 8];
    return size_class_of_step128[(bytes - 1 - SIZE_CLASS_STEP8_MAX) / 128];
}

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
