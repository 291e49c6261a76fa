/*
 * Spans: layer 2, pages in, spans out.
 *
 * A span is a run of granules with one purpose: cut into equal slots, or one large object.  What
 * there is to know of it stands in a descriptor of 64 bytes outside of it, and a flat table with an
 * entry of 8 bytes for each granule of all addresses there are leads from any address to it:
 *
 *     address --( >> 13, signed )--> span_table[]  +------------------------------+
 *                                                  | descriptor, from span_none on |
 *                                                  +------------------------------+
 *
 * The table is indexed from its middle, so that no address but one that is not canonical is outside
 * of it, and nothing has to be compared.  The entry for that one would stand at a 1024th of it from
 * the middle.  Where no memory is there port_probe catches it, and the free is reported.  Where other
 * memory is (the direct map, the kernel), kfree, kfree_sized and kmem_cache_free take what they find
 * for an entry and may fault at what it leads to: the machine stops, though without saying what the
 * address was.  All else that is given such an address (ksize, reports) asks first.
 *
 * The table reads as zero where it is not backed, and 0 is `span_none`, a span that has no slots;
 * backed are the arenas that have RAM.  So the way from an address to a descriptor is four
 * instructions without a branch, and always ends at a descriptor.
 *
 * The entries of a span that is gone lead to a descriptor too, of its last span class, for reports
 * only (span_last_slot).
 *
 * Is it a slot's first byte?  A span's magic is just above 2^64 / slot_bytes, so that the upper half
 * of distance * magic is the slot's index and the lower half is
 *
 *     index * error                 at the first byte of slot `index`
 *     magic, at least               at any other byte
 *
 * where error = magic * slot_bytes - 2^64.  The magic is chosen so that error * slots just exceeds
 * SPAN_SLOT_LIMIT: then the lower half is below it for the slots that there are, and for nothing
 * else, a tail included.  One multiplication and one comparison with a constant; and since nothing
 * between the limit and the magic is ever met, an owner's key can be hidden there: with it in the
 * sum the same comparison also tells whose slot it is.
 *
 * Which slots are free is a bitmap, 1 = free: in the descriptor for up to 64 slots, else at the end
 * of the span itself (Go's inline marks).  A slot's own bytes are not used for that.
 *
 * Cost: 8 + 64 bytes of 8 KiB in the smallest span, under 0.9 %.
 *
 * Locks: SPAN_DESC for the descriptor pool.  A span's [L] fields belong to who created it (for
 * slots: the lock of its shard, mm/slab/central.h).  The table needs none: whoever asks for an
 * address owns an object there, or only wants a report.
 *
 * Source: Go's mspan and heapArena.spans; Go 1.25's inline mark bits; Lemire, Kaser, Kurz, "Faster
 * remainder by direct computation", 2019.
 */
#pragma once

#include <stdatomic.h>
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/span/size_classes.h"

/*
 * What a span is for.  1 .. SIZE_CLASS_COUNT - 1: slots of that size class.  The next two times
 * SIZE_CLASS_COUNT are kept for the collected heap: the same without and with pointers.
 */
enum span_class {
    SPAN_CLASS_LARGE = 0,                    /* one object, the whole span */
    SPAN_CLASS_CACHE = 3 * SIZE_CLASS_COUNT, /* slots of a kmem_cache */
    SPAN_CLASS_NONE = 254,                   /* span_none */
    SPAN_CLASS_FREED = 255,                  /* no span any more */
};

/* Of the collected heap: descriptors of these are SPAN_COLLECTED_BYTES, of which the rest is mm/gc's. */
#define SPAN_COLLECTED_BYTES 128u

static inline bool span_class_is_collected(unsigned span_class)
{
    return span_class - SIZE_CLASS_COUNT < 2 * SIZE_CLASS_COUNT;
}

#define SPAN_GRANULE_SHIFT 13
#define SPAN_ADDRESS_BITS  48 /* of an address that is canonical, its sign included */

/* Keys of owners are multiples of this, below 2^48: between the limit and any magic. */
#define SPAN_KEY_UNIT (1ull << 32)

/* What the slots of a span belong to.  All [C] while it has spans. */
struct span_owner {
    struct slot_layout layout; /* how its spans are cut */
    uint64_t key;              /* SPAN_KEY_UNIT times a number that no other owner has, or 0 */
    uint16_t index;            /* the owner's own number for it, in every span's `index` */
    uint8_t span_class;        /* enum span_class */
};

/*
 * Lock letters: [C] constant from create to destroy; [L] the owner's lock.
 *
 * Invariants, each tested by span_check() under its own name:
 *   S1  the run is granule-aligned, granules > 0
 *   S2  slots and bitmap fit: slots * slot_bytes + bitmap <= granules * GRANULE_BYTES
 *   S3  free_count == number of 1 bits in the bitmap, and none behind the slots
 *   S4  every granule's table entry leads here
 *   S5  magic and bias are those of base, layout and key
 */
struct span {
    uintptr_t base;                 /* [C] address of the first byte */
    uint64_t magic;                 /* [C] the layout's; 0: no slots */
    uint64_t bias;                  /* [C] base * magic + the owner's key; 1: no slots */
    const struct span_owner *owner; /* [C] what its slots belong to; NULL: one large object */
    struct span *next;              /* [L] links of a list */
    struct span *prev;              /* [L] */
    uint64_t free_word;             /* [L] the bitmap of up to 64 slots; large: [C] its granules */
    uint16_t free_count;            /* [L] slots that are not taken, S3 */
    uint16_t index;                 /* [C] the owner's; 0: large, or none */
    uint8_t span_class;             /* [C] enum span_class */
    uint8_t list;                   /* [L] the list it is on, the owner's number for it */
    uint8_t shard;                  /* [C] the owner's number for whose lock it is */
};

extern _Atomic uint64_t *span_table; /* [C] after span_init: the middle; entries acquire, release */
extern const struct span span_none;  /* no slots, no owner */

static ALWAYS_INLINE const struct span *span_by_entry(uint64_t entry)
{
    return (const struct span *)((uintptr_t)&span_none + entry);
}

/* Where the entry for an address stands: in the table, if the address is canonical. */
static ALWAYS_INLINE const _Atomic uint64_t *span_entry_of(const void *addr)
{
    uintptr_t granule = (uintptr_t)((intptr_t)addr >> SPAN_GRANULE_SHIFT);

    return (const _Atomic uint64_t *)((uintptr_t)span_table + granule * sizeof(*span_table));
}

/*
 * span_near -- the span that holds an address, or something without slots: span_none, or what says
 * that it is freed.
 *   addr     any that the caller owns an object at, or says so: what it was handed orders this after
 *            the span's creation, so the load is a plain one
 *   returns  false: the address is not canonical, which leads outside of the table, and faults
 *   context  any
 */
static ALWAYS_INLINE bool span_near(const void *addr, const struct span **span)
{
    uint64_t entry;

    if (UNLIKELY(!port_probe((const uint64_t *)span_entry_of(addr), &entry)))
        return false;
    *span = span_by_entry(entry);
    return true;
}

/* Does the table have an entry for it? */
static inline bool span_is_canonical(const void *addr)
{
    intptr_t high = (intptr_t)addr >> (SPAN_ADDRESS_BITS - 1);

    return high == 0 || high == -1;
}

/* The span that holds an address, NULL if none, for any address and anybody.  Any context. */
static inline struct span *span_of(const void *addr)
{
    if (UNLIKELY(!span_is_canonical(addr)))
        return NULL;

    const struct span *span =
        span_by_entry(atomic_load_explicit(span_entry_of(addr), memory_order_acquire));

    return LIKELY(span->span_class < SPAN_CLASS_NONE) ? (struct span *)span : NULL;
}

static inline size_t span_granules(const struct span *span)
{
    return span->owner != NULL ? span->owner->layout.granules : span->free_word;
}

static inline size_t span_bytes(const struct span *span)
{
    return span_granules(span) * GRANULE_BYTES;
}

/* 0: one large object. */
static inline unsigned span_slot_count(const struct span *span)
{
    return span->owner != NULL ? span->owner->layout.slot_count : 0;
}

static inline size_t span_slot_bytes(const struct span *span)
{
    return span->owner != NULL ? span->owner->layout.slot_bytes : 0;
}

/* Is this the first byte of a slot, in a span whose owner has that key? */
static ALWAYS_INLINE bool span_is_slot(const struct span *span, const void *addr, uint64_t key)
{
    return (uintptr_t)addr * span->magic - span->bias + key < SPAN_SLOT_LIMIT;
}

/* The same, whoever owns it. */
static inline bool span_is_any_slot(const struct span *span, const void *addr)
{
    return span->owner != NULL && span_is_slot(span, addr, span->owner->key);
}

/* The number of the slot that has an address of the span; too large in the tail. */
static inline size_t span_slot_index(const struct span *span, const void *addr)
{
    return (size_t)((unsigned __int128)((uintptr_t)addr - span->base) * span->magic >> 64);
}

static inline void *span_slot(const struct span *span, unsigned index)
{
    return (void *)(span->base + (uintptr_t)index * span->owner->layout.slot_bytes);
}

/* The bitmap of free slots: in the descriptor, or at the end of the span. */
static inline uint64_t *span_free_map(struct span *span)
{
    unsigned words = slot_map_words(span_slot_count(span));

    return words == 0 ? &span->free_word : (uint64_t *)(span->base + span_bytes(span)) - words;
}

/* Give a slot back; false: it is free already.  Owner's lock held. */
static inline bool span_give_slot(struct span *span, size_t index)
{
    uint64_t *word = &span_free_map(span)[index / 64];
    uint64_t bit = 1ull << index % 64;

    if ((*word & bit) != 0)
        return false;
    *word |= bit;
    span->free_count++;
    return true;
}

/*
 * span_create_slots -- make a span, all of its slots free.
 *   page_flags  enum page_flags
 *   limit       physical bytes that its last byte lies below; 0: anywhere
 *   returns  NULL when memory is exhausted (nothing changed)
 *   context  irq; takes SPAN_DESC, then the page heap's locks
 *   pairs    span_destroy
 */
struct span *span_create_slots(const struct span_owner *owner, unsigned page_flags,
                               uintptr_t limit);

/*
 * span_create_large -- make a span that is one object.
 *   bytes        > 0; rounded up to granules
 *   align_pages  a power of two
 *   page_flags   enum page_flags
 * otherwise as span_create_slots
 */
struct span *span_create_large(size_t bytes, size_t align_pages, unsigned page_flags);

/*
 * span_new_slots, span_new_large, span_publish -- the two steps of these: nobody finds a span before
 * the second, so what its owner has besides can be filled in.
 */
struct span *span_new_slots(const struct span_owner *owner, unsigned page_flags, uintptr_t limit);
struct span *span_new_large(unsigned span_class, size_t bytes, size_t align_pages,
                            unsigned page_flags);
void span_publish(struct span *span);

/*
 * span_extend_large -- make a large object's span longer, where it is.
 *   granules  > those that it has
 *   returns   false: the pages behind it are not to be had
 *   context   irq; the caller owns the object
 */
bool span_extend_large(struct span *span, size_t granules);

/*
 * span_destroy -- give the pages back.  The caller has seen to it that nothing in it is in use and
 * that it is on no list.
 *   returns  false when it is no span any more: another CPU has destroyed it meanwhile (possible
 *            only for large objects, freed twice at once); nothing is done then
 *   context  irq
 */
bool span_destroy(struct span *span);

/* Its two steps: from the first on nobody finds the span; returns as above. */
bool span_withdraw(struct span *span);
void span_release(struct span *span);

/*
 * span_take_slots -- take up to n free slots, from that number of slot on, round to it again.
 *   returns  how many stand in out[].  Owner's lock held.
 */
unsigned span_take_slots(struct span *span, unsigned from, unsigned n, void **out);
bool span_slot_is_free(const struct span *span, unsigned index); /* exact with the owner's lock */

/*
 * span_last_slot -- what an address was before its span was destroyed, as far as the table knows.
 *   returns  false if no span of a size class or large object was there
 */
bool span_last_slot(const void *addr, unsigned *span_class);

struct span_stats {
    size_t spans;
    size_t span_bytes;
    size_t desc_bytes;  /* pages of the descriptor pool, from page_alloc */
    size_t table_bytes; /* what backs the table; among the page heap's tables too */
};
struct span_stats span_stats(void); /* irq; exact when nothing else runs */
size_t span_bytes_now(void);        /* span_stats().span_bytes alone, by one load; any context */

void span_init(void); /* mm_init, before the page heap opens: the table */
/*
 * While descriptors are held, what was one stays one, of the collected heap or not as it was: so who has
 * found a span may look at its class, though the span may go at any time.  irq
 */
void span_hold_descriptors(bool are_held);
void span_drain(void); /* empty pages of the descriptor pool back to the page heap; irq */
void span_check(const struct span *span); /* S1 to S4; owner's lock held */
void span_check_all(void);                /* every span there is; nothing else running */
