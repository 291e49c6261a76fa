/*
 * Magazines: this CPU's free slots of one span class, and the fast path of every allocation and
 * free.  Interrupts are off around each use, so nothing here is atomic.
 *
 * All zero is a valid magazine, empty and full at once (limit 0): the first use of either kind goes
 * the slow way, which sets the limit.  No fast path asks whether a magazine has been set up.
 *
 * The canary.  A free slot holds, in its first word (behind the object where a kmem_cache has a
 * constructor), its own address XOR a secret of this boot.  It is a token, and that is how a double
 * free is found (the bitmaps of spans say the same at less haste, and are compared with it on every
 * flush):
 *
 *   - a token is made in two places only: for all slots of a new span, and by a free;
 *   - it is consumed in two: when the slot is handed out, which panics if it is not there, and when
 *     its span goes back to the page heap, likewise;
 *   - a free that finds a token panics: the slot is free.
 *
 * So between two times that a slot is handed out there is a free, on whatever CPUs, and however
 * often a reference to it stands in magazines and spans meanwhile.  A second free with the token
 * still there is reported at once.  If a write after the first free has destroyed it, the second
 * free makes a new one and there are two references to one token: the first to be handed out
 * consumes it, the second panics ("written after free, or freed twice") there, or when it is
 * flushed to its span, before it has become anybody's object.  A live object that holds its own
 * token by chance (2^-64) would be taken for free; a right program never sees one to copy, since
 * handing out overwrites it.
 *
 * What no scheme without an atomic instruction in the fast path can order is two CPUs in the few
 * instructions between comparing and writing at the same moment, twice: freeing one object both,
 * then both handing it out.  The flush of the second reference finds that one: the bit in the
 * span's bitmap is set already, or the token is missing.
 */
#pragma once

#include "mm/port.h"
#include "mm/span/span.h"

#define MAGAZINE_SLOTS 30u

struct magazine {
    uint32_t count;              /* [P] slots in it */
    uint32_t limit;              /* [P] slots that it may hold; 0 until its first slow path */
    uint64_t allocs;             /* [P] objects handed out here since start */
    void *slots[MAGAZINE_SLOTS]; /* [P] [0 .. count) are free slots; the last goes out first */
};

_Static_assert(sizeof(struct magazine) == 256, "four lines, found by a shift");

/* One CPU's magazines of the size classes, by class; [0] is not used. */
struct slab_cpu {
    struct magazine magazines[SIZE_CLASS_COUNT];
};

extern PORT_PERCPU(struct slab_cpu, slab_cpu);
extern uint64_t slab_secret; /* [C] after slab_init */

/* Where the canary of a slot stands. */
static inline uint64_t *slab_canary(void *slot, size_t canary_offset)
{
    return (uint64_t *)((char *)slot + canary_offset);
}

static inline uint64_t slab_canary_value(const void *slot)
{
    return (uintptr_t)slot ^ slab_secret;
}

static inline bool slab_has_canary(void *slot, size_t canary_offset)
{
    return *slab_canary(slot, canary_offset) == slab_canary_value(slot);
}

/* ---- The fast path.  Interrupts off. ---- */

/* This CPU's magazine of a size class. */
static ALWAYS_INLINE struct magazine *magazine_of_class(unsigned class)
{
    struct magazine *magazine = &port_this_cpu(slab_cpu)->magazines[class];

    __asm__("" : "+r"(magazine)); /* compute it once: gcc 12 does so anew for each field */
    return magazine;
}

/* Hand out the slot that was freed last; NULL: none, or its canary is gone; take the slow path. */
static ALWAYS_INLINE void *magazine_pop(struct magazine *magazine, size_t canary_offset)
{
    uint32_t count = magazine->count;

    if (UNLIKELY(count == 0))
        return NULL;

    void *slot = magazine->slots[count - 1];

    if (UNLIKELY(!slab_has_canary(slot, canary_offset)))
        return NULL;
    magazine->count = count - 1;
    magazine->allocs++;
    *slab_canary(slot, canary_offset) = 0;
    return slot;
}

/* Take a slot that is in use; false: full, take the slow path. */
static ALWAYS_INLINE bool magazine_push(struct magazine *magazine, void *slot, size_t canary_offset)
{
    uint32_t count = magazine->count;

    if (UNLIKELY(count >= magazine->limit))
        return false;
    *slab_canary(slot, canary_offset) = slab_canary_value(slot);
    magazine->slots[count] = slot;
    magazine->count = count + 1;
    return true;
}
