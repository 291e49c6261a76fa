/* What the files of the guard pool share. */
#pragma once

#include "mm/slab/guard.h"

/* What stands around an object: each byte of a word another, so that a shifted copy is seen. */
#define GUARD_PATTERN 0xc7a6e5d4c3b2a1f0ull

/*
 * UNUSED --alloc--> LIVE --free--> FREEING --page unmapped--> FREED --alloc--> LIVE
 */
enum guard_state {
    GUARD_UNUSED, /* has never had an object */
    GUARD_LIVE,
    GUARD_FREEING, /* whoever frees is at it */
    GUARD_FREED,
};

/* A slot's object, the one in use or the last one. */
struct guard_record {
    struct guard_object object; /* [L] addr 0: none yet */
    uint64_t site;              /* [L] hash of object.alloc.frames */
    enum guard_state state;     /* [L] */
};

/*
 * Lock letters: [C] constant after guard_init; [L] lock.  Reports read without it.
 *
 * Invariants, each tested by guard_check() under its own name:
 *   G1  the ring's slots are UNUSED or FREED, and each is there once
 *   G2  slots that are not in the ring are LIVE or FREEING
 *   G3  an object in use lies within its slot's page
 *   G4  a LIVE object's page is mapped, and has the pattern around the object
 */
struct guard_pool {
    port_lock_t lock;
    size_t slots;                       /* [C] 0: off */
    struct guard_record *records;       /* [C] by slot */
    size_t record_pages;                /* [C] */
    char *pages;                        /* [C] slot i's page is backed by the ith from here */
    uint64_t rate, seed;                /* [C] */
    uint16_t ring[GUARD_OBJECTS_MAX];   /* [L] free slots, the one freed first at ring_first */
    size_t ring_first, ring_count;      /* [L] */
    uint64_t random;                    /* [L] generator, for edges */
    uint64_t events;                    /* [L] the last number given */
    uint64_t taken, covered, exhausted; /* [L] as in guard_stats */
};

extern struct guard_pool guard_pool;

static inline uintptr_t guard_page(size_t slot)
{
    return guard_base + (2 * slot + 1) * PAGE_BYTES;
}

/* The record of the slot in whose page p, of the pool, lies; NULL: none's. */
static inline struct guard_record *guard_record_of(uintptr_t p)
{
    size_t page = (p - guard_base) / PAGE_BYTES;

    return page % 2 == 1 && page / 2 < guard_pool.slots ? &guard_pool.records[page / 2] : NULL;
}

static inline bool guard_record_is_live_of(const struct guard_record *record, const void *owner)
{
    return record->state == GUARD_LIVE && record->object.owner == owner;
}

/* The first byte of an object's page, mapped, that lacks its pattern; NULL: there is none. */
const uint8_t *guard_object_damage(const struct guard_object *object);

/* ---- mm/slab/guard_report.c ---- */

enum guard_kind {
    GUARD_FINE,
    GUARD_OUT_OF_BOUNDS,
    GUARD_USE_AFTER_FREE,
    GUARD_WILD,
    GUARD_DOUBLE_FREE,
    GUARD_INVALID_FREE,
    GUARD_WRONG_CACHE,
    GUARD_CORRUPTION,
};

/* Print what is known about an address of the pool, and panic. */
NORETURN COLD void guard_misuse(const char *caller, enum guard_kind kind, const void *p);
