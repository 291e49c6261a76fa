/*
 * Central: the spans of one span class, for all CPUs; magazines take from it and give to it in
 * batches, each with one acquisition of its lock.
 *
 * Spans stand on lists by how many of their slots are free, and slots are taken from the fullest
 * list that has any.  So spans that run empty are left alone until they are, and go back to the
 * page heap; one empty span is kept, against a size that is at the edge, until central_trim.
 *
 * Lock letters: [C] constant from central_init; [L] lock.
 *
 * Invariants, each tested by central_check() under its own name:
 *   C1  a span on a list has this central as its owner, and this list's number
 *   C2  the list is the one for its number of free slots
 *   C3  span_count and free_slots are the sums over the lists
 *   C4  every free slot holds its canary
 */
#pragma once

#include "mm/slab/magazine.h"

/* By free slots: none; up to 1/4, 2/4, 3/4 of them, more; all. */
enum central_list {
    CENTRAL_FULL,
    CENTRAL_FULLEST,
    CENTRAL_EMPTIEST = CENTRAL_FULLEST + 3,
    CENTRAL_EMPTY,
    CENTRAL_LISTS
};

struct central {
    port_lock_t lock;
    const char *name;                  /* [C] for reports */
    void (*ctor)(void *);              /* [C] constructor of a slot, or NULL */
    struct slot_layout layout;         /* [C] */
    uint32_t canary_offset;            /* [C] bytes from a slot's start */
    uint32_t object_bytes;             /* [C] bytes of a slot that are its user's */
    uint16_t magazine_limit;           /* [C] slots in a magazine, at most */
    uint8_t span_class;                /* [C] enum span_class */
    struct span *lists[CENTRAL_LISTS]; /* [L] heads */
    size_t span_count;                 /* [L] spans */
    size_t free_slots;                 /* [L] slots that are not taken */
} __attribute__((aligned(PORT_LINE_BYTES)));

/* The rest of `central` is zero.  object_bytes and canary_offset lie within a slot. */
void central_init(struct central *central, const char *name, unsigned span_class,
                  const struct slot_layout *layout);

/*
 * central_take -- take up to n slots, canaries in place, from the spans that there are.
 *   returns  how many stand in out[]; 0: central_grow first
 *   context  irq
 */
unsigned central_take(struct central *central, unsigned n, void **out);

/* Add a span; false when memory is exhausted.  irq; constructors run in the caller's context. */
bool central_grow(struct central *central);

/*
 * central_give -- give slots back, canaries in place; panics on one that is no free-to-be slot of
 * this central.  Spans that have run empty go to the page heap.  irq
 */
void central_give(struct central *central, unsigned n, void *const *slots);

void central_trim(struct central *central);  /* the empty span to the page heap; irq */
void central_check(struct central *central); /* C1 to C4; irq */
