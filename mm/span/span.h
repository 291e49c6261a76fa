/*
 * Spans: layer 2, pages in, spans out.
 *
 * A span is a run of granules with one purpose: cut into equal slots, or one large object.  What
 * there is to know of it stands in a descriptor of 64 bytes outside of it, and a flat table, an
 * entry of 8 bytes per granule of the direct map, leads from any address to it:
 *
 *     address --(- direct map, / 8 KiB)--> span_table[]  +-------+----------------------------+
 *                                                        | class | descriptor's lower 56 bits |
 *                                                        +-------+----------------------------+
 *                                                         63   56                            0
 *
 * One load gives the span class, and the address of the descriptor with it (its upper bits are the
 * sign).  0: never a span.  SPAN_CLASS_FREED: no span now; the rest says what stood here last, for
 * reports only (span_last_slot).  The table reads as zero where it is not backed; backed are the
 * arenas that have RAM, so start-up does not pay for holes.
 *
 * Which slots are free is a bitmap, 1 = free: in the descriptor for up to 64 slots, else at the end
 * of the span itself (Go's inline marks).  A slot's own bytes are not used for that.
 *
 * Cost: 8 + 64 bytes of 8 KiB in the smallest span, under 0.9 %.
 *
 * Locks: SPAN_DESC for the descriptor pool.  A span's [L] fields belong to who created it (for
 * slots: the lock of its central, mm/slab/central.h).  The table needs none: whoever asks for an
 * address owns an object there, or only wants a report.
 *
 * Source: Go's mspan and heapArena.spans; Go 1.25's inline mark bits.
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
    SPAN_CLASS_FREED = 255,                  /* in the table only: no span any more */
};

#define SPAN_ENTRY_SHIFT 56

/*
 * Lock letters: [C] constant from create to destroy; [L] the owner's lock.
 *
 * Invariants, each tested by span_check() under its own name:
 *   S1  base is granule-aligned, granules > 0
 *   S2  slots and bitmap fit: slots * slot_bytes + bitmap <= granules * GRANULE_BYTES
 *   S3  free_count == number of 1 bits in the bitmap, and none behind the slots
 *   S4  every granule's table entry holds span_class and this descriptor
 */
struct span {
    uintptr_t base;      /* [C] address of the first byte */
    uint64_t slot_limit; /* [C] slots << 32, what a span_slot_product is compared with */
    uint32_t slot_magic; /* [C] 2^32 / slot_bytes, rounded up */
    uint32_t slot_bytes; /* [C] bytes per slot; 0: one large object */
    uint32_t granules;   /* [C] granules */
    uint16_t free_count; /* [L] slots that are not taken, S3 */
    uint8_t span_class;  /* [C] enum span_class */
    uint8_t list;        /* [L] the list it is on, the owner's number for it */
    void *owner;         /* [C] what its slots belong to; NULL: nothing */
    struct span *next;   /* [L] links of that list */
    struct span *prev;   /* [L] */
    uint64_t free_word;  /* [L] the bitmap of up to 64 slots */
};

extern _Atomic uint64_t *span_table; /* [C] after span_init; entries [A] acquire / release */
extern size_t span_table_count;      /* [C] after span_init: entries, from the direct map's start */

/* The table's entry for an address: 0 for any that is not in managed RAM.  Any context. */
static inline uint64_t span_entry(const void *addr)
{
    size_t granule = ((uintptr_t)addr - port_direct_base()) / GRANULE_BYTES;

    if (UNLIKELY(granule >= span_table_count))
        return 0;
    return atomic_load_explicit(&span_table[granule], memory_order_acquire);
}

static inline unsigned span_entry_class(uint64_t entry)
{
    return entry >> SPAN_ENTRY_SHIFT;
}

/* The descriptor in an entry that is neither 0 nor SPAN_CLASS_FREED. */
static inline struct span *span_entry_span(uint64_t entry)
{
    return (struct span *)((int64_t)(entry << (64 - SPAN_ENTRY_SHIFT)) >> (64 - SPAN_ENTRY_SHIFT));
}

/* The span that holds an address, NULL if none.  Any context. */
static inline struct span *span_of(const void *addr)
{
    uint64_t entry = span_entry(addr);

    if (entry == 0 || span_entry_class(entry) == SPAN_CLASS_FREED)
        return NULL;
    return span_entry_span(entry);
}

static inline size_t span_bytes(const struct span *span)
{
    return span->granules * GRANULE_BYTES;
}

/* 0: one large object. */
static inline unsigned span_slot_count(const struct span *span)
{
    return (unsigned)(span->slot_limit >> 32);
}

/*
 * The slot that holds an address of a span: index in the upper half (too large in the tail), and
 * the lower half below slot_magic exactly if the address is the slot's first byte.
 */
static inline uint64_t span_slot_product(const struct span *span, const void *addr)
{
    return (uint64_t)(uint32_t)((uintptr_t)addr - span->base) * span->slot_magic;
}

static inline bool span_product_is_slot(const struct span *span, uint64_t product)
{
    return (uint32_t)product < span->slot_magic && product < span->slot_limit;
}

static inline void *span_slot(const struct span *span, unsigned index)
{
    return (void *)(span->base + (uintptr_t)index * span->slot_bytes);
}

/* The bitmap of free slots: in the descriptor, or at the end of the span. */
static inline uint64_t *span_free_map(struct span *span)
{
    unsigned words = slot_map_words(span_slot_count(span));

    return words == 0 ? &span->free_word : (uint64_t *)(span->base + span_bytes(span)) - words;
}

/* Give a slot back; false: it is free already.  Owner's lock held. */
static inline bool span_give_slot(struct span *span, unsigned index)
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
 *   returns  NULL when memory is exhausted (nothing changed)
 *   context  irq; takes SPAN_DESC, then the page heap's locks
 *   pairs    span_destroy
 */
struct span *span_create_slots(const struct slot_layout *layout, unsigned span_class, void *owner);

/*
 * span_create_large -- make a span that is one object.
 *   bytes        > 0; rounded up to granules
 *   align_pages  a power of two
 *   page_flags   enum page_flags
 * otherwise as span_create_slots
 */
struct span *span_create_large(size_t bytes, size_t align_pages, unsigned page_flags);

/*
 * span_destroy -- give the pages back.  The caller has seen to it that nothing in it is in use and
 * that it is on no list.
 *   returns  false when it is no span any more: another CPU has destroyed it meanwhile (possible
 *            only for large objects, freed twice at once); nothing is done then
 *   context  irq
 */
bool span_destroy(struct span *span);

/* Take up to n free slots, lowest first; returns how many stand in out[].  Owner's lock held. */
unsigned span_take_slots(struct span *span, unsigned n, void **out);
bool span_slot_is_free(const struct span *span, unsigned index); /* exact with the owner's lock */

/*
 * span_last_slot -- what an address was before its span was destroyed, as far as the table knows.
 *   returns  false if no span of a size class or large object began its slot there
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

void span_init(void);  /* mm_init, before the page heap opens: the table */
void span_drain(void); /* empty pages of the descriptor pool back to the page heap; irq */
void span_check(const struct span *span); /* S1 to S4; owner's lock held */
void span_check_all(void);                /* every span there is; nothing else running */
