/*
 * Magazines: a CPU's free slots, and the fast path of every allocation and free.
 *
 * A CPU has, for each size class and each kmem_cache, a loaded magazine of which slots are taken
 * and to which they are given, and a spare one that is empty or full.  Where the loaded one runs
 * empty or full, the two change places; where that does not help, a whole magazine is exchanged with
 * the depot of the class (central.h).  So between two visits to the depot there is at least a
 * magazine's worth of operations, whatever their order.
 *
 * What a magazine is, and how slots go in and out by a restartable sequence, is
 * kernel/base/seq_magazine.h.  `tops` is all that the fast paths look at.  A top of 0 stands for
 * no magazine, and every operation on it takes the slow way: so it is before first use, where there
 * is no memory for a magazine, and for what shall always go the slow way.  No fast path asks.
 *
 * The token.  A free slot holds a token in its first word, which tells it from all others, and
 * that is how a double free is found (the bitmaps of spans say the same at less haste, and are
 * compared with it on every flush):
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
 * flushed to its span, before it has become anybody's object.  The same holds for two flows that
 * free one object so close together that both look before either writes.  A live object that holds
 * its own token by chance would be taken for free; a token is no value that a program computes.
 *
 * A token says that a slot is free, not of which class.  So one such case is found late: where the
 * span has gone back to the page heap and been cut anew while the second reference stood in a
 * magazine, and a slot begins at the same address, that is handed out as one of the old class.  The
 * panic comes when the new class hands it out, or when it is flushed.
 *
 * What no scheme without an atomic instruction in the fast path can order is two CPUs in the few
 * instructions between comparing and writing at the same moment, twice: freeing one object both,
 * then both handing it out.  The flush of the second reference finds that one: the bit in the
 * span's bitmap is set already, or the token is missing.
 *
 * Capacity.  A CPU's magazines of a class begin small.  Each visit to the depot doubles their
 * capacity, up to the class's (some 32 KiB), as long as all that this CPU's magazines may hold
 * stays in a budget; then a class that has not missed of late is drained and begins anew.  A full
 * magazine from the depot may hold more than that, if a CPU with a larger one has filled it: then the
 * class's capacity is as much from there on, and counted, though the budget may be exceeded by it.
 *
 * Source: Bonwick, Adams, "Magazines and Vmem", USENIX 2001.
 */
#pragma once

#include "mm/port.h"
#include "mm/span/span.h"

#define SLAB_INDEX_MAX 512u /* classes and caches that can have magazines; 0: none */
#define MAGAZINE_SLOTS SEQ_MAGAZINE_SLOTS

/*
 * A magazine by its address and, in the lower byte, how many slots it holds: they are its last
 * words.  0: none.
 */
typedef uintptr_t magazine_t;

struct slab_cpu {
    uintptr_t tops[SLAB_INDEX_MAX];    /* [P] of the loaded magazine; 0: none */
    magazine_t spares[SLAB_INDEX_MAX]; /* [P] */
    uint8_t capacity[SLAB_INDEX_MAX];  /* [P] slots, for the next magazine to be filled */
    uint8_t room[SLAB_INDEX_MAX];      /* [P] slots that the loaded one may hold */
    bool missed[SLAB_INDEX_MAX];       /* [P] since the hand came past */
    unsigned hand;                     /* [P] where the search for capacity goes on */
    unsigned gate;    /* [P] index that shall have no magazine until its next allocation; 0: none */
    unsigned samples; /* [P] of guard sampling that were due */
    size_t capacity_bytes;      /* [P] what two magazines of each may hold; they hold no more */
    size_t visits;              /* [P] of the depot, so far */
    unsigned empty_count;       /* [P] */
    unsigned empty_max;         /* [P] of them, or so */
    struct seq_magazine *empty; /* [P] linked by their first words */
};

extern PORT_PERCPU(struct slab_cpu, slab_cpu);

/* ---- Tokens ---- */

static inline bool slab_has_token(const void *slot)
{
    return *(const uint64_t *)slot == seq_token(slot);
}

static inline void slab_set_token(void *slot)
{
    *(uint64_t *)slot = seq_token(slot);
}

static inline void slab_clear_token(void *slot)
{
    *(uint64_t *)slot = 0;
}

/* ---- Magazines ---- */

static inline struct seq_magazine *magazine_block(magazine_t magazine)
{
    return (struct seq_magazine *)ALIGN_DOWN(magazine, sizeof(struct seq_magazine));
}

static inline unsigned magazine_count(magazine_t magazine)
{
    return magazine % sizeof(struct seq_magazine);
}

/* Its slots: magazine_count() words. */
static inline void **magazine_slots(magazine_t magazine)
{
    size_t word = SEQ_MAGAZINE_WORDS - magazine_count(magazine);

    return (void **)((uintptr_t)magazine_block(magazine) +
                     word * sizeof(void *)); /* of none, too */
}

/* The one below in a depot: its first word is never a slot's. */
static inline magazine_t depot_next(magazine_t magazine)
{
    return (magazine_t)magazine_block(magazine)->words[0];
}

/* Of a loaded magazine, whose top is not 0. */
static inline struct seq_magazine *magazine_of_top(uintptr_t top)
{
    return (struct seq_magazine *)ALIGN_DOWN((uintptr_t)seq_top_word(top),
                                             sizeof(struct seq_magazine));
}

/* How many slots stand in the loaded magazine; another CPU's: about. */
static inline __attribute__((no_sanitize("thread"))) unsigned magazine_loaded(uintptr_t top)
{
    void *const *word = seq_top_word(top);
    unsigned count = 0;

    while (count < MAGAZINE_SLOTS && *word != &seq_nothing) {
        word--;
        count++;
    }
    return count;
}
