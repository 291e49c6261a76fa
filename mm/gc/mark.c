/*
 * Marking: from an address to its object's bit, from a span to the pointers in its objects.
 *
 * The unit of work is the span.  An object that is marked and not scanned is work, and its span stands
 * in a queue, or somebody has just taken it off and will see the bit:
 *
 *     who marks     sets the bit (locked), then reads is_queued; 0: exchanges it for 1, and puts the
 *                   span into a queue if it was 0 still
 *     who scans     takes the span, exchanges is_queued for 0, then reads the bits
 *
 * Both have a locked instruction between their write and their read, so one of the two sees what the other
 * has written: a bit is never left behind.  An object is scanned by who sets its bit in `scanned`.
 *
 * Spans collect marks while they wait in a queue (queue.c), and objects side by side are scanned together
 * (Green Tea).
 *
 * An address may be any word at all where it comes from a stack.  Then it counts if it lies in a slot
 * that is an object (gc_impl.h says how one tells).  A span cannot go away meanwhile: none of the
 * collected heap is destroyed during a mark.  Of others nothing is read but span_class, and a descriptor
 * of theirs stays one: pools keep their pages while a mark is on.
 *
 * What GC_PTRs hold is taken at its word, up to being an address of the collected heap.
 *
 * Who scans is not preempted: a flow that has taken a span and does not run would be waited for by others
 * of higher priority.
 *
 * Locks: none.  Source: Go 1.25's Green Tea collector (issue 73581).
 */
#include "kernel/base/bits.h"
#include "mm/gc/gc_impl.h"

/* Words are read as they stand, whoever writes them at the moment. */
#define GC_READER __attribute__((no_sanitize("address"), no_sanitize("thread")))

static _Atomic uint64_t gc_marked_bytes; /* [A] relaxed */
static _Atomic unsigned gc_scanning;     /* [A] seq_cst: flows that mark or scan now */

bool gc_mark_is_idle(void)
{
    return gc_queue_is_empty() && atomic_load_explicit(&gc_scanning, memory_order_seq_cst) == 0;
}

/* ---- To an object ---- */

/* Of what is not scanned; what is counts then. */
static NOINLINE void mark_count(const struct gc_span *gc)
{
    size_t bytes = gc->span.owner != NULL ? span_slot_bytes(&gc->span) : span_bytes(&gc->span);

    atomic_fetch_add_explicit(&port_this_cpu(gc_cpu)->marked_bytes, bytes, memory_order_relaxed);
}

/* Its bit is set; if that was news, its span will be looked at. */
static ALWAYS_INLINE void mark_slot(struct gc_span *gc, size_t slot)
{
    _Atomic uint64_t *word = &gc->marked[slot / 64];
    uint64_t bit = 1ull << slot % 64;

    if ((atomic_load_explicit(word, memory_order_relaxed) >> slot % 64 & 1) != 0 ||
        (atomic_fetch_or_explicit(word, bit, memory_order_seq_cst) & bit) != 0)
        return;

    uint32_t is_queued = atomic_load_explicit(&gc->is_queued, memory_order_relaxed);

    if (UNLIKELY(is_queued == GC_NEVER_QUEUED))
        mark_count(gc);
    else if (is_queued == 0 &&
             atomic_exchange_explicit(&gc->is_queued, 1, memory_order_seq_cst) == 0)
        gc_queue_put(gc);
}

/* A type whose objects have pointers where these have them; NULL: not known.  Large ones have a kind's layout. */
static const struct gc_type *type_of(const struct gc_span *gc)
{
    if (!gc_has_pointers(&gc->span) || gc->layout->is_conservative)
        return NULL;
    return atomic_load_explicit(&CONTAINER_OF(gc->layout, struct gc_kind, layout)->type,
                                memory_order_relaxed);
}

void gc_stray_print(uintptr_t address, uintptr_t holder, const char *what)
{
    const struct span *span = span_of((void *)holder);

    if (holder == 0)
        port_print("gc: pointer %p, which a store has put or taken away, is %s\n", (void *)address,
                   what);
    else
        port_print("gc: pointer %p, found at %p, is %s\n", (void *)address, (void *)holder, what);
    if (span != NULL && span_class_is_collected(span->span_class)) {
        size_t slot = span_slot_index(span, (void *)holder);
        uintptr_t object =
            span->owner != NULL ? (uintptr_t)span_slot(span, (unsigned)slot) : span->base;
        const struct gc_type *type = type_of(gc_span_of(span));

        port_print("gc: that is offset %zu of the object %p, %zu bytes%s%s\n",
                   (size_t)(holder - object), (void *)object,
                   span->owner != NULL ? span_slot_bytes(span) : span_bytes(span),
                   type != NULL ? ", as of type " : "", type != NULL ? type->name : "");
    } else if (holder - (uintptr_t)__start_gc_roots <
               (uintptr_t)__stop_gc_roots - (uintptr_t)__start_gc_roots) {
        port_print("gc: that is a root\n");
    }
}

/* What refers to a slot that is no object, and has been looked at all the same. */
static void stray_print_holders(uintptr_t address)
{
    struct span *span = span_of((void *)address);

    if (span == NULL || !span_class_is_collected(span->span_class))
        return;

    size_t slot = span_slot_index(span, (void *)address);

    if (!gc_slot_is_object(span, slot))
        gc_report_holders(gc_span_of(span), (uintptr_t)span_slot(span, (unsigned)slot),
                          span_slot_bytes(span));
}

NOINLINE COLD void gc_stray(uintptr_t address, uintptr_t holder, const char *what)
{
    gc_stray_print(address, holder, what);
    stray_print_holders(holder);
    port_panic("gc: a pointer to %p, which is %s", (void *)address, what);
}

/* Of a pointer that a GC_PTR at `holder` has. */
static ALWAYS_INLINE void mark_exact(uintptr_t address, uintptr_t holder)
{
    const struct span *span;

    if (UNLIKELY(!span_near((const void *)address, &span) ||
                 !span_class_is_collected(span->span_class)))
        gc_stray(address, holder, "not of the collected heap");
    mark_slot(gc_span_of(span), span_slot_index(span, (const void *)address));
}

void gc_mark_enter(void)
{
    atomic_fetch_add_explicit(&gc_scanning, 1, memory_order_seq_cst);
}

void gc_mark_leave(void)
{
    atomic_fetch_sub_explicit(&gc_scanning, 1, memory_order_seq_cst);
}

void gc_mark_pointer(uintptr_t object, uintptr_t holder)
{
    mark_exact(object, holder);
}

/* Is that slot an object?  See gc_impl.h; large ones always are. */
GC_READER bool gc_slot_is_object(const struct span *span, size_t slot)
{
    if (span->owner == NULL)
        return true;
    if (slot >= span_slot_count(span))
        return false;

    const uint64_t *map = &span_free_map((struct span *)span)[slot / 64];

    if ((__atomic_load_n(map, __ATOMIC_ACQUIRE) >> slot % 64 & 1) != 0)
        return false;

    const volatile uint64_t *first = span_slot(span, (unsigned)slot);

    return *first != seq_token((const void *)first);
}

/*
 * A slot has its token still and is in no magazine any more: its thread was interrupted between the commit
 * and the store that clears the token.  While its kind is black, those in magazines are marked; so what is not
 * free, has its token and is not marked is such a one.  It becomes black, as new objects are: all but the
 * token is zero, and what its thread will store there goes by the barrier.
 */
static NOINLINE GC_READER void mark_handed_out(struct gc_span *gc, size_t slot)
{
    uint64_t bit = 1ull << slot % 64;

    if (slot >= span_slot_count(&gc->span) || span_slot_is_free(&gc->span, (unsigned)slot) ||
        !atomic_load_explicit(&gc_kind_of(&gc->span)->is_black, memory_order_relaxed))
        return;
    atomic_fetch_or_explicit(&gc->scanned[slot / 64], bit, memory_order_relaxed);
    atomic_fetch_or_explicit(&gc->marked[slot / 64], bit, memory_order_release);
}

static ALWAYS_INLINE void mark_word(uintptr_t word)
{
    const struct span *span = span_of((const void *)word);

    if (LIKELY(span == NULL) || !span_class_is_collected(span->span_class))
        return;

    size_t slot = span_slot_index(span, (const void *)word);

    if (gc_slot_is_object(span, slot))
        mark_slot(gc_span_of(span), slot);
    else
        mark_handed_out(gc_span_of(span), slot);
}

GC_READER void gc_mark_words(uintptr_t start, uintptr_t end)
{
    const uintptr_t *at = (const uintptr_t *)ALIGN_UP(start, sizeof(uintptr_t));
    const uintptr_t *stop = (const uintptr_t *)ALIGN_DOWN(end, sizeof(uintptr_t));

    for (; at < stop; at++)
        mark_word(*at);
}

void gc_mark_prepared(void)
{
    gc_mark_prepared_of(port_this_cpu(gc_cpu));
}

void gc_mark_prepared_of(struct gc_cpu *cpu)
{
    unsigned count = gc_kind_count();

    cpu->tiny = 0;

    for (unsigned index = 1; index < count; index++) {
        if (cpu->tops[index] == 0)
            continue;
        for (void **word = seq_top_word(cpu->tops[index]); *word != &seq_nothing; word--) {
            struct gc_span *gc = gc_span_of(span_of(*word));
            size_t slot = span_slot_index(&gc->span, *word);
            uint64_t bit = 1ull << slot % 64;

            atomic_fetch_or_explicit(&gc->scanned[slot / 64], bit, memory_order_relaxed);
            atomic_fetch_or_explicit(&gc->marked[slot / 64], bit, memory_order_release);
        }
    }
}

/* ---- From an object ---- */

static ALWAYS_INLINE void scan_word(const uintptr_t *word)
{
    uintptr_t value = __atomic_load_n(word, __ATOMIC_ACQUIRE);

    if (value != 0)
        mark_exact(value, (uintptr_t)word);
}

/* The span whose objects are scanned, and what they refer to in it that has not been told to others. */
struct scan_own {
    uintptr_t base;
    uintptr_t bytes; /* of all slots */
    uint64_t magic;
    size_t slots; /* scanned by this scan, and counted */
    uint64_t found[GC_SLOTS_MAX / 64];
};

/* The same; near objects, as most are, cost no atomic instruction, and no look at a descriptor. */
static ALWAYS_INLINE void scan_near(struct scan_own *own, uintptr_t value, const uintptr_t *word)
{
    if (LIKELY(value - own->base < own->bytes)) {
        size_t slot = (size_t)((unsigned __int128)(value - own->base) * own->magic >> 64);

        own->found[slot / 64] |= 1ull << slot % 64;
    } else if (value != 0) {
        mark_exact(value, (uintptr_t)word);
    }
}

static ALWAYS_INLINE void scan_mask(struct scan_own *own, uintptr_t object, uint64_t mask)
{
    for (; mask != 0; mask &= mask - 1) {
        const uintptr_t *word = (const uintptr_t *)object + __builtin_ctzll(mask);

        scan_near(own, __atomic_load_n(word, __ATOMIC_ACQUIRE), word);
    }
}

/* The first so many bytes. */
static ALWAYS_INLINE void scan_front(struct scan_own *own, uintptr_t object, size_t bytes)
{
    const uintptr_t *word = (const uintptr_t *)object;
    const uintptr_t *end = (const uintptr_t *)(object + bytes);

    do {
        uintptr_t value = __atomic_load_n(word++, __ATOMIC_ACQUIRE);

        scan_near(own, value, word - 1);
    } while (word != end);
}

/* Pointers in [start, end) of an object whose elements begin at `object`. */
static GC_READER void scan_runs(const struct gc_layout *layout, uintptr_t object, uintptr_t start,
                                uintptr_t end)
{
    uintptr_t element = object + (start - object) / layout->stride * layout->stride;

    for (; element < end; element += layout->stride) {
        for (unsigned i = 0; i < layout->run_count; i++) {
            uintptr_t at = element + layout->runs[i].offset;
            uintptr_t stop = MIN(at + layout->runs[i].words * sizeof(void *), end);

            for (at = MAX(at, start); at < stop; at += sizeof(void *))
                scan_word((const uintptr_t *)at);
        }
    }
}

GC_READER void gc_each_pointer(const struct gc_span *gc, uintptr_t object,
                               void (*fn)(uintptr_t address, uintptr_t holder, void *arg),
                               void *arg)
{
    const struct gc_layout *layout = gc->layout;
    size_t bytes = gc->span.owner != NULL ? span_slot_bytes(&gc->span) : span_bytes(&gc->span);

    for (size_t element = 0; element < bytes; element += layout->stride) {
        for (unsigned i = 0; i < layout->run_count; i++) {
            size_t at = element + layout->runs[i].offset;
            size_t end = MIN(at + layout->runs[i].words * sizeof(void *), bytes);

            for (; at < end; at += sizeof(void *)) {
                uintptr_t address = __atomic_load_n((uintptr_t *)(object + at), __ATOMIC_RELAXED);

                if (address != 0)
                    fn(address, object + at, arg);
            }
        }
    }
}

static void scan_part(const struct gc_layout *layout, uintptr_t object, uintptr_t start,
                      uintptr_t end)
{
    if (layout->is_conservative)
        gc_mark_words(start, end);
    else
        scan_runs(layout, object, start, end);
}

/*
 * Scan those of 64 slots that are marked or found, and not scanned; and those that are found meanwhile.  What
 * is found is marked when all is done, what is scanned is said so when it has been: if two scan the same
 * object, one of them counts it.  Returns false: there was none.
 */
static GC_READER bool scan_slots(struct gc_span *gc, unsigned word, struct scan_own *own)
{
    const struct gc_layout *layout = gc->layout;
    size_t slot_bytes = gc->span.owner->layout.slot_bytes;
    uintptr_t first = own->base + word * 64 * slot_bytes;
    size_t front = layout->front * sizeof(void *);
    uint64_t mask = layout->mask, *found = &own->found[word];
    uint64_t before = atomic_load_explicit(&gc->scanned[word], memory_order_relaxed);
    uint64_t marked = atomic_load_explicit(&gc->marked[word], memory_order_acquire);
    uint64_t left = ~before, todo;

    while ((todo = (marked | *found) & left) != 0) {
        uintptr_t object = first + (unsigned)__builtin_ctzll(todo) * slot_bytes;

        left ^= todo & -todo;
        if (LIKELY(front != 0))
            scan_front(own, object, front);
        else if (LIKELY(mask != 0))
            scan_mask(own, object, mask);
        else
            scan_part(layout, object, object, object + slot_bytes);
    }
    if ((*found & ~marked) != 0)
        atomic_fetch_or_explicit(&gc->marked[word], *found, memory_order_relaxed);
    *found = 0;
    if (left == ~before)
        return false;
    before = atomic_fetch_or_explicit(&gc->scanned[word], ~left, memory_order_relaxed);
    own->slots += bit_count(~left & ~before);
    return true;
}

/* Scan what is marked and not scanned, and what that leads to in the same span; returns bytes. */
static size_t scan_span(struct gc_span *gc)
{
    size_t slot_bytes = gc->span.owner->layout.slot_bytes;
    unsigned words = gc_map_words(&gc->span);
    struct scan_own own = {.base = gc->span.base,
                           .bytes = span_slot_count(&gc->span) * slot_bytes,
                           .magic = gc->span.magic};

    bool is_more;

    do {
        is_more = false;
        for (unsigned word = 0; word < words; word++)
            is_more |= scan_slots(gc, word, &own);
    } while (is_more && words > 1);
    return own.slots * slot_bytes;
}

/* The next piece of a large object, whose span stands in a queue again if there is more. */
static size_t scan_large(struct gc_span *gc)
{
    size_t bytes = span_bytes(&gc->span);
    size_t start = atomic_fetch_add_explicit(&gc->words[1], GC_PIECE_BYTES, memory_order_relaxed);

    if (start >= bytes)
        return 0;

    size_t end = MIN(start + GC_PIECE_BYTES, bytes);

    if (end < bytes && atomic_exchange_explicit(&gc->is_queued, 1, memory_order_seq_cst) == 0)
        gc_queue_put(gc);
    scan_part(gc->layout, gc->span.base, gc->span.base + start, gc->span.base + end);
    return end - start;
}

size_t gc_mark_some(size_t bytes)
{
    size_t done = 0;

    port_preempt_disable();
    gc_mark_enter();
    while (done < bytes) {
        struct gc_span *gc = gc_queue_take();

        if (gc == NULL)
            break;
        atomic_exchange_explicit(&gc->is_queued, 0, memory_order_seq_cst);
        done += gc->span.owner == NULL ? scan_large(gc) : scan_span(gc);
    }
    atomic_fetch_add_explicit(&gc_marked_bytes, done, memory_order_relaxed);
    gc_mark_leave();
    port_preempt_enable();
    return done;
}

void gc_mark_begin(void)
{
    atomic_store_explicit(&gc_marked_bytes, 0, memory_order_relaxed);
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        atomic_store_explicit(&port_cpu(gc_cpu, cpu)->marked_bytes, 0, memory_order_relaxed);
}

uint64_t gc_mark_bytes(void)
{
    uint64_t bytes = atomic_load_explicit(&gc_marked_bytes, memory_order_relaxed);

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        bytes += atomic_load_explicit(&port_cpu(gc_cpu, cpu)->marked_bytes, memory_order_relaxed);
    return bytes;
}
