/*
 * Debugging of slots, by command line: slab_debug=CHECKS[,NAME...] (off by default).
 *
 *     r redzone     bytes around the object that must not change: before it, and from the last byte
 *                   asked for on; compared when it is freed, resized, handed out
 *     p poison      a free object holds a pattern, which is compared when it is handed out, leaves
 *                   the quarantine, or its span goes back.  An object with a constructor stands as
 *                   its user left it, so that it has a sum of its bytes compared instead
 *     q quarantine  a freed object waits before it can be handed out (mm/slab/quarantine.c)
 *     t trace       backtraces of an object's allocation and free, for reports
 *     s sites       objects and bytes by place of allocation (mm/slab/sites.h)
 *
 * A class or cache with any of these has slots of its own making:
 *
 *     slot                                                                             next slot
 *     | token | red zone, at least 16 | object | red zone, at least 16 | record        |
 *     0       8            object_shift        object + asked for      object + record_offset
 *
 * The object is as aligned as without: so the red zone before it is longer where that wants it, and
 * what alignment leaves between its end and the record is red zone too.  The record stands at the
 * slot's end, outside of what a small overrun reaches.  All of a free object is poison: its token is
 * elsewhere.
 *
 * Cost when off: none on a fast path.  A debugged central has no magazine, so all of its operations
 * come by the slow paths, which ask for `debug_flags`.
 *
 * Locks: an object's record belongs to whom the object belongs: its user, the quarantine (its lock),
 * or the central.  Its state is atomic, so that of two frees at once exactly one goes on.
 */
#pragma once

#include "mm/slab/slab_impl.h"

enum slab_debug {
    SLAB_DEBUG_REDZONE = 1 << 0,
    SLAB_DEBUG_POISON = 1 << 1,
    SLAB_DEBUG_QUARANTINE = 1 << 2,
    SLAB_DEBUG_TRACE = 1 << 3,
    SLAB_DEBUG_SITES = 1 << 4,
};

#define SLAB_RED_BYTES    16u  /* of a red zone, at least */
#define SLAB_RED          0xbb /* each byte of it */
#define SLAB_POISON       0x6b /* each byte of a free object but */
#define SLAB_POISON_END   0xa5 /* its last */
#define SLAB_TRACE_FRAMES 8u

/* Unlikely as anything else, so that a record that was written over is seen to be. */
enum slab_debug_state {
    SLAB_STATE_NEW = 0x6e65774e,   /* not handed out since its span was made */
    SLAB_STATE_LIVE = 0x6c69764c,  /* its user's */
    SLAB_STATE_FREED = 0x66726546, /* free, in its span */
    SLAB_STATE_HELD = 0x68656c48,  /* free, in the quarantine */
};

struct slab_trace {
    uintptr_t pcs[SLAB_TRACE_FRAMES]; /* return addresses, innermost first; 0: no more */
};

/* At object + record_offset.  [O] whom the object belongs to. */
struct slab_record {
    _Atomic uint32_t state;  /* [A] enum slab_debug_state; acq_rel */
    uint32_t bytes;          /* [O] asked for */
    uint16_t alloc_cpu;      /* [O] the CPU of the last allocation */
    uint16_t free_cpu;       /* [O] likewise */
    struct slab_site *site;  /* [O] while live: where it is counted; NULL: nowhere */
    void *next;              /* [quarantine] the object that came next */
    uint64_t sum;            /* [O] while free: of the bytes of one with constructor */
    struct slab_trace alloc; /* [O] of the last allocation: only with SLAB_DEBUG_TRACE, as is */
    struct slab_trace free;  /* [O] that of the free since; empty: none */
};

static inline struct slab_record *slab_record(const struct central *central, const void *object)
{
    return (struct slab_record *)((char *)object + central->record_offset);
}

/* ---- At start-up and where a central is made ---- */

void slab_debug_init(void); /* from slab_init, before the first slab_debug_setup */

/* enum slab_debug: what is on for the class or cache of that name; constant from start-up on. */
unsigned slab_debug_flags(const char *name);

/*
 * slab_debug_layout -- the slot of a debugged class or cache.
 *   flags          enum slab_debug, not 0
 *   object_bytes   1 .. SIZE_CLASS_MAX_BYTES
 *   align          of the object, a power of two, 8 .. PAGE_BYTES
 *   object_shift   out: bytes from a slot's start, its token, to its object
 *   record_offset  out: bytes from an object's start to its record
 */
struct slot_layout slab_debug_layout(unsigned flags, size_t object_bytes, size_t align,
                                     uint32_t *object_shift, uint32_t *record_offset);

/*
 * slab_debug_setup -- after central_init, with object_bytes set: if anything is on for its name, the
 * central gets flags, slots and offsets for that, no magazine, and a key that no fast path knows.
 */
void slab_debug_setup(struct central *central, size_t align);

/* ---- Only where central->debug_flags is not 0; irq ---- */

void slab_debug_new(struct central *central, void *object); /* a slot of a new span, constructed */

/*
 * slab_debug_alloc -- a slot is handed out: compare what its last free left, then note who has it.
 *   bytes   asked for, 1 .. object_bytes
 *   caller  return address of the public function
 */
void slab_debug_alloc(struct central *central, void *object, size_t bytes, uintptr_t caller);

/*
 * slab_debug_free -- an object is freed: compare its red zones, note by whom, poison, and give it to
 * the quarantine or to its central.
 *   name    of the public function, for reports
 *   caller  its return address
 */
void slab_debug_free(const char *name, struct central *central, void *object, uintptr_t caller);

/* krealloc stays in place: the object has `bytes` from now on, and stays counted at its site. */
void slab_debug_resize(const char *name, struct central *central, void *object, size_t bytes);

/* Bytes asked for of a live object: what is its user's. */
static inline size_t slab_debug_bytes(const struct central *central, const void *object)
{
    return slab_record(central, object)->bytes;
}

/*
 * slab_debug_verify -- compare all that must hold for a slot in its state, live or free; report and
 * panic.  Nobody else is at it: name as for slab_debug_free.
 */
void slab_debug_verify(const char *name, const struct central *central, const void *object);

/* Is it in the quarantine?  For reports. */
static inline bool slab_debug_is_held(const struct central *central, const void *object)
{
    return central->debug_flags != 0 &&
           atomic_load_explicit(&slab_record(central, object)->state, memory_order_acquire) ==
               SLAB_STATE_HELD;
}

/* What the record knows of an object, its backtraces too.  Any context; for reports. */
void slab_debug_print(const struct central *central, const void *object);

/* ---- Large objects, which have no slot: sites only, under the name kmalloc-large; irq ---- */

void slab_debug_large_alloc(struct span *span, uintptr_t caller);
struct slab_site *slab_debug_large_site(const struct span *span); /* NULL: not counted */
void slab_debug_large_free(struct slab_site *site, size_t span_bytes);
void slab_debug_large_resize(struct span *span, size_t bytes_before); /* the site stays */

/* ---- The quarantine, mm/slab/quarantine.c ---- */

/* slab_quarantine_put -- keep a free object; what is too much by that goes to its central, oldest first. */
void slab_quarantine_init(void);
void slab_quarantine_put(struct central *central, void *object);
void slab_quarantine_drain(struct central *central); /* its objects; NULL: all */

struct slab_quarantine_stats {
    size_t objects;
    size_t bytes;       /* of their slots */
    size_t limit_bytes; /* of these, at most */
};
struct slab_quarantine_stats slab_quarantine_stats(void); /* irq */

/* ---- Reports, mm/slab/debug_report.c ---- */

/* Bytes first .. last of a live object of `bytes`, some of them, were written, out of its bounds. */
NORETURN COLD void slab_report_bounds(const char *name, const void *object, size_t bytes,
                                      ptrdiff_t first, ptrdiff_t last);

/* Bytes first .. last of a free object, some of them, were written. */
NORETURN COLD void slab_report_written(const char *name, const void *object, ptrdiff_t first,
                                       ptrdiff_t last);
NORETURN COLD void slab_report_changed(const char *name, const void *object); /* another sum */
NORETURN COLD void slab_report_record(const char *name, const struct central *central,
                                      const void *object); /* its record is none */
