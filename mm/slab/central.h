/*
 * Central: the free slots of one span class for all CPUs: in full magazines (the depot), and in
 * spans.
 *
 * Shards.  Everything is there CENTRAL_SHARDS times, each with a lock of its own, and a CPU turns to
 * the shard of its number first, so that CPUs that refill the same class do not queue.  What its own
 * does not have it looks for in the others before a new span is made.  A span belongs to the shard
 * that it was made for.  More shards are more spans that are not full; so there is one at first, and
 * their number doubles when CPUs have waited for the locks of those that there are.
 *
 * Spans stand on lists by how many of their slots are free, and slots are taken from the fullest
 * list that has any.  So spans that run empty are left alone until they are, and go back to the
 * page heap; one empty span a shard is kept, against a size that is at the edge, until central_trim.
 * A refill looks at one span for each slot that it gets, at most.
 *
 * The depot takes full magazines and gives them out as they are, some twenty instructions for a
 * magazine.  What it holds keeps its spans from running empty.  So it is bounded: by a share of
 * memory, at any time; by a share of the heap whenever the heap is about to grow (slab.c); and what
 * has not been needed for a while goes back to spans on idle CPUs (central_age).
 *
 * Lock letters: [C] constant from central_init; [L] the shard's lock; [A] atomic.
 *
 * Invariants, each tested by central_check() under its own name:
 *   C1  a span on a list has this central as its owner, and this list's and shard's number
 *   C2  the list is the one for its number of free slots
 *   C3  span_count, free_slots and full_count are the sums over the lists
 *   C4  every free slot holds its token, in spans and in the depot
 *   C5  what stands in the depot is slots of this central, not free in their spans
 */
#pragma once

#include "mm/slab/magazine.h"

/* Of centrals without a number; what they free is told apart by its owner. */
#define CENTRAL_NUMBERLESS_KEY (0xfffeull * SPAN_KEY_UNIT)

#define CENTRAL_SHARDS 8u /* a power of two */

/* By free slots: none; up to 1/4, 2/4, 3/4 of them, more; all. */
enum central_list {
    CENTRAL_FULL,
    CENTRAL_FULLEST,
    CENTRAL_EMPTIEST = CENTRAL_FULLEST + 3,
    CENTRAL_EMPTY,
    CENTRAL_LISTS
};

struct central_shard {
    port_lock_t lock;
    struct span *lists[CENTRAL_LISTS]; /* [L] heads */
    size_t span_count;                 /* [L] spans */
    size_t free_slots;                 /* [L] slots in them that are not taken; racy readers */
    magazine_t full;                   /* [L] the depot: linked by their first words */
    size_t full_count;                 /* [L] magazines in it; racy readers */
    size_t full_slots;                 /* [L] slots in these */
    size_t full_low;                   /* [L] lowest full_count since central_age */
    size_t full_told;                  /* [L] bytes that central_depot_bytes has of these */
} __attribute__((aligned(PORT_LINE_BYTES)));

struct central {
    struct span_owner owner;       /* [C] of all its spans */
    const char *name;              /* [C] for reports */
    void (*ctor)(void *);          /* [C] constructor of an object, or NULL */
    uint32_t object_shift;         /* [C] bytes from a slot's start, its token, to its object */
    uint32_t align;                /* [C] of objects, bytes */
    uint32_t object_bytes;         /* [C] bytes of a slot that are its user's */
    uintptr_t limit;               /* [C] physical bytes that spans lie below; 0: anywhere */
    uint32_t record_offset;        /* [C] bytes from an object's start to its record; debugged */
    uint8_t debug_flags;           /* [C] enum slab_debug; 0: none, at no cost */
    _Atomic size_t quarantined;    /* [A] relaxed: free objects in the quarantine */
    uint8_t magazine_max;          /* [C] slots in a magazine, at most; 0: it shall have none */
    uint8_t magazine_min;          /* [C] slots in a magazine to begin with */
    _Atomic unsigned shard_mask;   /* [A] relaxed: shards in use - 1 */
    _Atomic uint64_t taken, given; /* [A] relaxed: slots that left for magazines, came back */
    struct central_shard shards[CENTRAL_SHARDS];
};

/* What all depots hold, with the magazines themselves; wrong by DEPOT_UNTOLD a shard at most. */
extern _Atomic size_t central_depot_bytes; /* [A] relaxed */

#define DEPOT_UNTOLD 4096u /* bytes */

/* The rest of `central` is zero.  index: in a CPU's magazines, 0: none. */
void central_init(struct central *central, const char *name, unsigned span_class, unsigned index,
                  const struct slot_layout *layout);

static inline struct central *central_of(const struct span *span)
{
    return CONTAINER_OF((struct span_owner *)span->owner, struct central, owner);
}

/* This CPU's shard; adds shards when their locks are fought for.  irq */
unsigned central_shard_here(struct central *central);

/* Whether a shard has slots, by a look without its lock. */
static inline __attribute__((no_sanitize("thread"))) bool central_has_slots(
    const struct central *central, unsigned shard)
{
    return central->shards[shard].full_count != 0 || central->shards[shard].free_slots != 0;
}

/*
 * central_take -- take up to n slots, tokens in place, from the spans that a shard has.
 *   returns  how many stand in out[]
 *   context  irq
 */
unsigned central_take(struct central *central, unsigned shard, unsigned n, void **out);

/* Add a span to a shard; false when memory is exhausted.  irq; constructors run in the caller's
   context. */
bool central_grow(struct central *central, unsigned shard);

/*
 * central_give -- give slots back, tokens in place; panics on one that is no free-to-be slot of
 * this central.  Spans that have run empty go to the page heap.  irq
 */
void central_give(struct central *central, unsigned n, void *const *slots);

/* A full magazine out of a shard's depot; 0: it has none.  irq */
magazine_t central_take_full(struct central *central, unsigned shard);
/* And into it; false: the depots hold enough, give the slots to their spans.  irq */
bool central_give_full(struct central *central, unsigned shard, magazine_t magazine);

/*
 * central_trim_depot -- up to `magazines` of a depot to their spans; returns how many.  The empty
 * magazines go back to their pool.  irq
 */
size_t central_trim_depot(struct central *central, size_t magazines);
/* Up to so many that nobody has needed for a while: since the call that found no more.  irq */
void central_age(struct central *central, size_t magazines);

void central_trim(struct central *central);  /* the empty spans to the page heap; irq */
void central_check(struct central *central); /* C1 to C5; irq */
/* C4 and C5 for slots that stand in a magazine. */
void central_check_slots(const struct central *central, unsigned n, void *const *slots);
unsigned central_list_for(const struct span *span); /* enum central_list; the lock is held */

/* Sums over the shards; exact when nothing else runs. */
struct central_sums {
    size_t spans, free_slots, full_slots, full_count;
};
struct central_sums central_sums(struct central *central);
