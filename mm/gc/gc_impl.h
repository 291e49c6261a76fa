/*
 * What the files of mm/gc/ share: the structures of the collected heap.
 *
 *     type, class --> kind --> spans: partial, full, unswept         kind.c, heap.c
 *                      |         | slots, zeroed
 *                      |       magazines of each CPU                  alloc.c
 *                      `-- layout: which words are pointers           mark.c
 *
 * A slot of the collected heap is always one of these:
 *
 *   free       its bit in the span's map of free slots is 1; its contents mean nothing; not marked
 *   prepared   in a CPU's magazine: it holds its token, else zero; marked and scanned, if the mark
 *              has begun for its kind (kind->is_black).  Or just taken from there: then not marked (mark.c)
 *   an object  no token, bit 0
 *
 * so whoever finds an address in a stack can tell: it looks at the bit first, then for the token.  The
 * change from free to prepared stores the token before the bit, and x86-TSO keeps that order.
 *
 * Lock letters: [C] constant, [K] the kind's lock, [A] atomic, [P] this CPU's, interrupts off.
 */
#pragma once

#include "mm/gc/gc.h"
#include "mm/gc/pacer.h"
#include "kernel/base/seq_log.h"
#include "mm/span/span.h"

#define GC_CLASS_NOSCAN ((unsigned)SIZE_CLASS_COUNT)       /* span classes without pointers begin */
#define GC_CLASS_SCAN   ((unsigned)(2 * SIZE_CLASS_COUNT)) /* and those with */

#define GC_SLOTS_MAX     512u /* of a span, at most; see kind.c */
#define GC_TINY_BLOCK    16u  /* bytes of a block of small objects without pointers */
#define GC_TINY_KIND     1u   /* the kind of these blocks, and of nothing else */
#define GC_KIND_MAX      256u /* kinds; the first SIZE_CLASS_COUNT have no pointers */
#define GC_CLOBBER       0xdeadbeefdeadbeefull /* what freed objects hold, clobberfree=1 */
#define GC_PIECE_BYTES   (128 * KIB)           /* of a large object, scanned at once */
#define GC_MASK_WORDS    64u                   /* words of a slot whose layout is a mask, at most */
#define GC_BARRIER_WORDS 256u                  /* of a CPU's barrier buffer */
#define GC_ASSIST_PIECE  (8 * KIB)             /* scanned between two looks at the clock */
#define GC_RING_SPANS    1024u                 /* of a CPU's queue; a power of two */

/*
 * Which words of an object are pointers.  Objects of up to GC_MASK_WORDS: mask.  Larger ones: the runs,
 * again every `stride` bytes.
 */
struct gc_layout {
    uint64_t mask;             /* bit i: word i */
    uint32_t front;            /* the mask is so many words, the first ones; 0: it is not */
    uint32_t stride;           /* bytes, > 0 */
    uint32_t run_count;        /* 0: no pointers */
    bool is_conservative;      /* any word may be a pointer, to anywhere in an object */
    const struct gc_run *runs; /* each within the stride */
};

/* What a descriptor of the collected heap is; `span` comes first. */
struct gc_span {
    struct span span;
    _Atomic uint64_t *marked;       /* [C] bits by slot */
    _Atomic uint64_t *scanned;      /* [C] likewise; a slot is scanned by who sets its bit */
    _Atomic uint64_t words[2];      /* [A] these, of up to 64 slots; large: [0] marked, [1] the
                                         bytes that have been given out to be scanned */
    struct gc_span *next;           /* [A] in the list of what the queues had no room for */
    const struct gc_layout *layout; /* [C] */
    _Atomic uint32_t is_queued;     /* [A] in a queue, or about to be; without
                                pointers: GC_NEVER_QUEUED */
    uint32_t epoch;                 /* [K] the kind's when it was swept: else it is unswept */
    uint32_t first_free;            /* [K] no word of the map before it has a bit */
    uint32_t pad;
};

_Static_assert(sizeof(struct gc_span) == SPAN_COLLECTED_BYTES, "what mm/span makes room for");

#define GC_NEVER_QUEUED 2u

struct gc_list {
    struct span *first, *last;
};

enum gc_list_name { GC_PARTIAL, GC_FULL, GC_UNSWEPT, GC_OWNED, GC_LISTS };

/* One size class and layout: spans of equal slots with pointers at the same places. */
struct gc_kind {
    struct span_owner owner;            /* [C] index: of the magazines; 0: it has none */
    struct gc_layout layout;            /* [C] */
    const struct gc_type *_Atomic type; /* [A] relaxed: one that it is for; NULL: no type */
    uint32_t capacity;                  /* [C] slots that a magazine is filled with */
    port_lock_t lock;
    _Atomic bool is_black;          /* [A] relaxed: slots that leave spans are marked */
    uint32_t epoch;                 /* [K] marks that have ended */
    struct gc_list lists[GC_LISTS]; /* [K] */
    size_t span_count;              /* [K] */
};

/* A CPU's part of the heap. */
struct gc_cpu {
    uintptr_t
        tiny; /* [P] where the next small object without pointers goes; at a block's end: none */
    uintptr_t tops[GC_KIND_MAX];     /* [P] its magazines, kernel/base/seq_magazine.h */
    struct span *owned[GC_KIND_MAX]; /* [P] where it takes slots without a lock; NULL: none */
    struct gc_debt debt;             /* [P] */
    _Atomic uint64_t held_ns;        /* [A] relaxed: the longest in this cycle */
    uint64_t allocs;                 /* [P] slots prepared so far */
    struct seq_log log;              /* [P] of stores; its words: */
    void *barrier[GC_BARRIER_WORDS]; /* [P] values that stores have taken away and put, in pairs */
    _Atomic uint64_t pushes;         /* [A] spans put into queues by this CPU */
    _Atomic uint32_t head, tail;     /* [A] of the ring: taken by all, put by this CPU */
    struct gc_span *_Atomic ring[GC_RING_SPANS];
    _Atomic uint64_t marked_bytes; /* [A] relaxed: without pointers, in this cycle */
};

extern PORT_PERCPU(struct gc_cpu, gc_cpu);

/* Objects that are spans of their own, of all layouts. */
struct gc_large {
    port_lock_t lock;              /* [K] here */
    bool is_black;                 /* [K] new ones are marked and scanned */
    size_t pages;                  /* [K] of all */
    uint64_t made;                 /* [K] since start */
    uint32_t epoch;                /* [K] marks that have ended */
    struct gc_list swept, unswept; /* [K] */
};

struct gc_heap {
    port_lock_t lock;                           /* kinds that are made, ranges that are roots */
    struct gc_kind *_Atomic kinds[GC_KIND_MAX]; /* [A] by index, below kind_count; [0]: NULL */
    _Atomic unsigned kind_count;                /* [A] release / acquire */
    struct gc_large large;
    _Atomic unsigned owning_held; /* [A] while it is not 0, no CPU takes a span for its own */
    _Atomic int64_t
        live_bytes; /* [A] relaxed: objects, as of the last mark, and slots prepared since */
    _Atomic int64_t span_bytes;    /* [A] relaxed: of all spans */
    _Atomic int64_t trigger_bytes; /* [A] relaxed: of live_bytes, at which a cycle begins */
    _Atomic int64_t goal_bytes;    /* [A] relaxed: at which it shall be over */
    _Atomic uint64_t freed;        /* [A] relaxed: objects */
};

extern struct gc_heap gc_heap;

static inline struct gc_span *gc_span_of(const struct span *span)
{
    return (struct gc_span *)span;
}

static inline bool gc_is_marked(const void *object)
{
    const struct span *span = span_of(object);
    size_t slot = span_slot_index(span, object);

    return (atomic_load_explicit(&gc_span_of(span)->marked[slot / 64], memory_order_relaxed) >>
                slot % 64 &
            1) != 0;
}

static inline struct gc_kind *gc_kind_of(const struct span *span)
{
    return CONTAINER_OF((struct span_owner *)span->owner, struct gc_kind, owner);
}

static inline bool gc_has_pointers(const struct span *span)
{
    return span->span_class >= GC_CLASS_SCAN;
}

static inline unsigned gc_map_words(const struct span *span)
{
    return MAX((span_slot_count(span) + 63) / 64, 1u);
}

/* ---- kind.c ---- */

extern _Atomic bool gc_is_black; /* [A] relaxed; set under gc_heap.lock: of kinds that are made */

void gc_kinds_init(void);
/* The kind for objects of a size class; NULL: memory is exhausted.  irq */
struct gc_kind *gc_kind_for(unsigned class, const struct gc_layout *layout);
void gc_layout_of(const struct gc_type *type, struct gc_layout *layout);

/* New objects are marked from when this returns; and are not, and all spans are unswept. */
void gc_kinds_blacken(void);
size_t gc_kinds_flip(void); /* returns pages */

static inline unsigned gc_kind_count(void)
{
    return atomic_load_explicit(&gc_heap.kind_count, memory_order_acquire);
}

static inline struct gc_kind *gc_kind_at(unsigned index)
{
    return atomic_load_explicit(&gc_heap.kinds[index], memory_order_relaxed);
}

/* ---- heap.c ---- */

void gc_list_add(struct gc_list *list, struct span *span);
void gc_list_remove(struct gc_list *list, struct span *span);
void gc_list_splice(struct gc_list *to, struct gc_list *from);

void gc_span_init(struct gc_span *gc, const struct gc_layout *layout); /* of a new span */
void gc_span_destroy(struct span *span);

/*
 * gc_kind_take -- up to n slots, prepared, for a magazine, down from end[-1]; returns how many, 0:
 * memory is exhausted.  irq, and with
 * interrupts off from before the call until they stand in the magazine: else the beginning of a mark
 * could pass them by.
 */
unsigned gc_kind_take(struct gc_kind *kind, unsigned n, void **end);
void gc_kind_give(struct gc_kind *kind,
                  void *object); /* free a live object, no mark being on; irq */
/*
 * gc_owning_hold -- no CPU owns a span, from when this has returned to gc_owning_release.  They nest.
 *   answer   what each CPU does, in a handshake; calls gc_spans_disown
 *   context  ordinary
 */
void gc_owning_hold(void (*answer)(void));
void gc_owning_release(void);
void gc_spans_disown(void);                               /* those of this CPU; interrupts off */
void gc_spans_disown_of(struct gc_cpu *cpu);              /* of one that is stopped */
bool gc_kind_sweep(struct gc_kind *kind, unsigned spans); /* up to so many; false: all are swept */
void gc_kind_blacken(struct gc_kind *kind);               /* a mark begins; irq */
size_t gc_kind_flip(struct gc_kind *kind); /* it has ended: all spans are unswept; pages; irq */

/* ---- large.c ---- */

/*
 * An object of at least so many bytes, zero; layout: constant, stays.  NULL: no memory.  irq
 */
void *gc_large_alloc(const struct gc_layout *layout, size_t bytes);
void gc_large_give(struct span *span, void *object);
bool gc_large_sweep(unsigned spans);
void gc_large_blacken(void);
size_t gc_large_flip(void); /* returns pages */
/* Objects made and found dead since start, about. */
void gc_count_objects(uint64_t *allocs, uint64_t *frees);

/* ---- queue.c ---- */

void gc_queue_put(struct gc_span *gc); /* of which nobody else has set is_queued; irq */
struct gc_span *gc_queue_take(void);   /* NULL: there is none; irq */
uint64_t gc_queue_puts(void);          /* by all CPUs so far; any context */
bool gc_queue_is_empty(void);          /* about; any context */

/* ---- mark.c ---- */

/*
 * Who marks does it between these, unless the collector waits for him: from before a bit is set to behind
 * its span's being queued there is somebody who marks (gc_mark_is_idle).  Preemption off.
 */
void gc_mark_enter(void);
void gc_mark_leave(void);
/* Of an object, or into it; holder: where it was found, 0: a store has put it or taken it away.  irq */
void gc_mark_pointer(uintptr_t object, uintptr_t holder);
void gc_mark_words(uintptr_t start, uintptr_t end); /* any words of a range; likewise */
void gc_mark_prepared(void);                  /* the slots in this CPU's magazines, which stay;
                                                      its block of small objects is dropped */
void gc_mark_prepared_of(struct gc_cpu *cpu); /* of one that stands still */
/* Scan about so many bytes of what is queued, preemption off; returns how many, 0: nothing is.  irq */
size_t gc_mark_some(size_t bytes);
/* Nothing is queued and nobody scans, unless something has been queued since gc_queue_puts was read. */
bool gc_mark_is_idle(void);
void gc_mark_begin(void);     /* counters to 0 */
uint64_t gc_mark_bytes(void); /* marked since, but for what was made meanwhile; about */

/* Is that slot of a collected span an object?  Large ones: 0, which always is. */
bool gc_slot_is_object(const struct span *span, size_t slot);
/* Call fn for each pointer of an object that is not NULL; not of conservative ones. */
void gc_each_pointer(const struct gc_span *gc, uintptr_t object,
                     void (*fn)(uintptr_t address, uintptr_t holder, void *arg), void *arg);
/* Say that a pointer at `holder` is not what it should be, and of what object that is a field; panic. */
void gc_stray_print(uintptr_t address, uintptr_t holder, const char *what);
NORETURN void gc_stray(uintptr_t address, uintptr_t holder, const char *what);

/* ---- check.c ---- */

/* All else stands still. */
void gc_check_marked(void *unused);
void gc_check_stopped(void *unused); /* gc_check */
/* Before a panic: what refers to an object of a span, which may be on no list. */
void gc_report_holders(struct gc_span *of, uintptr_t object, size_t bytes);
/* Slots of a word of the map are marked, and no objects: say the first one's holders, and panic. */
NORETURN void gc_zombie(struct span *span, unsigned word, uint64_t bits);

/*
 * May marks be set, by any CPU?  Interrupts are off, from before this to behind what relies on it.  The flag is
 * not enough: when it goes off, others that saw it on mark until they have answered; that is over when new
 * objects are white.
 */
static inline bool gc_may_mark(void)
{
    return atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire) ||
           atomic_load_explicit(&gc_is_black, memory_order_acquire);
}

/* ---- barrier.c; interrupts off ---- */

void gc_barrier_flush(void);   /* mark what this CPU's buffer holds */
void gc_barrier_discard(void); /* forget it */

/* ---- handshake.c ---- */

void gc_handshake(
    void (*fn)(void)); /* on every CPU, one after another, in interrupt context; ordinary */
void gc_hold_note(uint64_t ticks); /* this CPU has been held for so long; interrupts off */
void gc_hold_begin(void);          /* of a cycle: none has been held in it */
uint64_t gc_hold_max_ns(void);
uint64_t gc_hold_p99_ns(void);
uint64_t gc_ticks_to_ns(uint64_t ticks);
uint64_t gc_ns_to_ticks(uint64_t ns); /* of up to seconds */

/* ---- work.c ---- */

/* CPU time spent marking, since start. */
struct gc_work_ns {
    uint64_t worker, idle, assist;
};

void gc_work_init(const struct gc_threads *threads);
bool gc_work_make_threads(void); /* false: no memory; what is missing is made by the next call */
void gc_work_begin(bool is_concurrent);       /* workers mark, from now on */
void gc_work_wait(void);                      /* until nothing is queued and nobody scans */
void gc_work_end(struct gc_pacer_mark *mark); /* and no more; fills in what it knows */
void gc_work_flipped(const struct gc_pacer_mark *mark, size_t pages); /* so many are to be swept */
void gc_swept(size_t pages);
struct gc_work_ns gc_work_ns(void);
const struct gc_pacer *gc_pacer_now(void); /* the collector's thread */

/* Bytes are about to be allocated: pay for what is on, and begin a cycle if it is time.  irq */
void gc_pay(size_t bytes);

/* ---- trace.c ---- */

/* A cycle, as gctrace= tells of it.  Times are ticks, sizes bytes. */
struct gc_cycle {
    uint64_t number;
    uint64_t begin; /* of all cycles */
    uint64_t start, marking, marked, end;
    int64_t start_bytes, end_bytes;
    struct gc_work_ns work; /* when it began */
    size_t unswept_pages;   /* when it had marked */
    unsigned rounds;        /* of handshakes, until it was over */
    bool is_forced;         /* somebody asked for it */
};

void gc_trace(const struct gc_cycle *cycle);

/* ---- cycle.c ---- */

/*
 * Can there be cycles?  The collector's threads are made when somebody first asks, which is when he
 * allocates or collects where he may wait: a kernel that has no collected objects has none of them.  irq
 */
bool gc_is_running(void);
void gc_sweep_all(void);
/* For tests: gc_collect, in which the collector's thread calls fn(arg) while the mark is on. */
void gc_collect_during(void (*fn)(void *arg), void *arg);

bool gc_sweep_some(unsigned spans); /* false: there was nothing to sweep; irq */
void gc_want(void);                 /* a cycle shall begin, if none is on; irq */
/* There was no memory: collect, if this context may wait.  tries: calls so far; false: give up. */
bool gc_make_room(unsigned tries, size_t bytes);
void gc_free_object(struct span *span, void *object); /* if no mark is on */

/* ---- roots.c ---- */

uint64_t gc_mark_roots(void); /* returns bytes; globals, ranges, pins; any CPU */
