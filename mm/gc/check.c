/*
 * Checks of the collected heap.
 *
 *     gc_check            bits against lists against counters, for every span and every large object; with
 *                         gccheckmark=1 after each cycle
 *     gc_check_marked     gccheckmark=1, after each mark: what a marked object refers to is marked.  So nothing
 *                         is missing but what only a stack refers to; and there any stale word may look like
 *                         a pointer, which says nothing
 *     gc_report_holders   who refers to an object that is free
 *
 * The first two look while all CPUs stand still, in interrupts, so with no lock held and in the middle of
 * no change: what is said of bits and counters is exact then, whatever goes on.  `is_marking` is from before
 * the barrier's flag is set to behind the flip.
 *
 * Invariants:
 *   G1  a span on a kind's list is of that kind, and of the list that its free slots, its epoch and
 *       the CPU that owns it say; links lead back
 *   G2  its count of free slots is that of the bits in its map
 *   G3  no slot is marked and free, none is scanned and not marked.  Unless a mark is on, none of a swept
 *       span is marked; of one that is not swept all that are marked are scanned, if it has pointers; and no
 *       span is queued
 *   G4  the kind's count of spans is that of its lists
 *   G5  what stands in a magazine is of its kind, holds its token, is zero behind that, is not free in its
 *       span, and marked if that is not swept.  A CPU's barrier buffer is empty, unless a mark is on
 *   G6  a large object is on the list that its epoch says, marked and scanned as G3 has it; their count of pages
 *       is that of the list
 *   G7  the heap's bytes are those of all spans; and objects made less objects freed are what is not free
 */
#include "kernel/base/bits.h"
#include "mm/gc/gc_impl.h"

/* ---- Every object ---- */

typedef void object_fn(struct gc_span *gc, uintptr_t object, void *arg);

/* Objects that are marked, or all that are not free. */
static void each_object_of(struct gc_span *gc, bool only_marked, object_fn *fn, void *arg)
{
    for (unsigned slot = 0; slot < MAX(span_slot_count(&gc->span), 1u); slot++) {
        uint64_t word = atomic_load_explicit(&gc->marked[slot / 64], memory_order_relaxed);

        if ((!only_marked || (word >> slot % 64 & 1) != 0) && gc_slot_is_object(&gc->span, slot))
            fn(gc, gc->span.owner != NULL ? (uintptr_t)span_slot(&gc->span, slot) : gc->span.base,
               arg);
    }
}

static void each_object_in(const struct gc_list *list, bool only_marked, object_fn *fn, void *arg)
{
    for (struct span *span = list->first; span != NULL; span = span->next)
        each_object_of(gc_span_of(span), only_marked, fn, arg);
}

/* No locks are taken: all else stands still, or it is the end. */
static void each_object(bool only_marked, object_fn *fn, void *arg)
{
    each_object_in(&gc_heap.large.swept, only_marked, fn, arg);
    each_object_in(&gc_heap.large.unswept, only_marked, fn, arg);
    for (unsigned index = 1; index < gc_kind_count(); index++) {
        for (unsigned list = 0; list < GC_LISTS; list++)
            each_object_in(&gc_kind_at(index)->lists[list], only_marked, fn, arg);
    }
}

/* ---- gccheckmark ---- */

static void check_pointer(uintptr_t address, uintptr_t holder, void *unused)
{
    const struct span *span = span_of((const void *)address);
    size_t slot = span != NULL ? span_slot_index(span, (const void *)address) : 0;

    (void)unused;
    if (span == NULL || !span_class_is_collected(span->span_class) ||
        !gc_slot_is_object(span, slot))
        gc_stray(address, holder, "no object");
    if (!gc_is_marked((const void *)address))
        gc_stray(address, holder, "an object that the mark has missed");
}

static void check_object(struct gc_span *gc, uintptr_t object, void *unused)
{
    if (gc_has_pointers(&gc->span) && !gc->layout->is_conservative)
        gc_each_pointer(gc, object, check_pointer, unused);
}

void gc_check_marked(void *unused)
{
    each_object(true, check_object, unused);
    for (void **root = __start_gc_roots; root < __stop_gc_roots; root++) {
        if (*root != NULL)
            check_pointer((uintptr_t)*root, (uintptr_t)root, unused);
    }
}

/* ---- Who refers to what is free ---- */

struct check_target {
    uintptr_t start, end;
};

static void report_if_holder(uintptr_t address, uintptr_t holder, void *arg)
{
    const struct check_target *target = arg;

    if (address >= target->start && address < target->end)
        gc_stray_print(address, holder, "free");
}

/* Of a conservative one any word may be the pointer. */
static void report_object(struct gc_span *gc, uintptr_t object, void *arg)
{
    size_t bytes = gc->span.owner != NULL ? span_slot_bytes(&gc->span) : span_bytes(&gc->span);

    if (!gc_has_pointers(&gc->span))
        return;
    if (!gc->layout->is_conservative) {
        gc_each_pointer(gc, object, report_if_holder, arg);
        return;
    }
    for (uintptr_t at = object; at < object + bytes; at += sizeof(at))
        report_if_holder(*(const uintptr_t *)at, at, arg);
}

void gc_report_holders(struct gc_span *of, uintptr_t object, size_t bytes)
{
    struct check_target target = {object, object + bytes};

    each_object_of(of, false, report_object, &target);
    each_object(false, report_object, &target);
    for (void **root = __start_gc_roots; root < __stop_gc_roots; root++)
        report_if_holder((uintptr_t)*root, (uintptr_t)root, &target);
}

NOINLINE COLD void gc_zombie(struct span *span, unsigned word, uint64_t bits)
{
    unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);

    port_print("span %p: base 0x%zx, slots of %zu bytes, slot %u is no object, and marked\n",
               (const void *)span, (size_t)span->base, span_slot_bytes(span), slot);
    gc_report_holders(gc_span_of(span), (uintptr_t)span_slot(span, slot), span_slot_bytes(span));
    port_panic("gc: object %p was reached after it had been freed", span_slot(span, slot));
}

/* ---- Structure ---- */

/* What all spans come to. */
struct check_sum {
    size_t span_bytes;
    uint64_t objects; /* that are not free */
};

static void check_require(bool holds, const struct span *span, const char *invariant)
{
    if (holds)
        return;
    port_print("span %p: base 0x%zx, class %u, %u slots of %zu bytes, %u free, list %u\n",
               (const void *)span, (size_t)span->base, span->span_class, span_slot_count(span),
               span_slot_bytes(span), span->free_count, span->list);
    port_panic("gc_check: %s broken", invariant);
}

/* is_black: of its kind, which stays so until the flip. */
static bool check_is_marking(bool is_black)
{
    return is_black || atomic_load_explicit(&gc_barrier_is_on, memory_order_relaxed);
}

static bool is_linked(const struct gc_list *list, const struct span *span)
{
    return (span->prev != NULL ? span->prev->next : list->first) == span &&
           (span->next != NULL ? span->next->prev : list->last) == span;
}

static bool is_queued(struct gc_span *gc)
{
    return atomic_load_explicit(&gc->is_queued, memory_order_relaxed) == 1;
}

/* G2, G3 */
static void check_bits(struct span *span, bool is_swept, bool is_marking)
{
    struct gc_span *gc = gc_span_of(span);
    unsigned free_count = 0;
    bool is_whole = is_marking || !is_queued(gc);

    for (unsigned word = 0; word < gc_map_words(span); word++) {
        uint64_t map = span_free_map(span)[word];
        uint64_t marked = atomic_load_explicit(&gc->marked[word], memory_order_relaxed);
        uint64_t scanned = atomic_load_explicit(&gc->scanned[word], memory_order_relaxed);

        free_count += bit_count(map);
        is_whole &= (map & marked) == 0 && (scanned & ~marked) == 0;
        is_whole &= !is_swept || is_marking || marked == 0;
        is_whole &= is_swept || !gc_has_pointers(span) || scanned == marked;
    }
    check_require(free_count == span->free_count, span, "G2");
    check_require(is_whole, span, "G3");
}

/* Which takes slots without a lock, and so has some. */
static bool is_owned(const struct gc_kind *kind, const struct span *span)
{
    unsigned owners = 0;

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        owners += port_cpu(gc_cpu, cpu)->owned[kind->owner.index] == span;
    return owners == 1 && span->free_count != 0;
}

static bool is_listed(const struct gc_kind *kind, unsigned list, const struct span *span)
{
    if (gc_span_of(span)->epoch != kind->epoch)
        return list == GC_UNSWEPT;
    if (span->list != list)
        return false;
    return list == GC_OWNED ? is_owned(kind, span)
                            : list == (span->free_count == 0 ? GC_FULL : GC_PARTIAL);
}

static void check_span(const struct gc_kind *kind, unsigned list, struct span *span)
{
    check_require(gc_kind_of(span) == kind && is_listed(kind, list, span) &&
                      is_linked(&kind->lists[list], span),
                  span, "G1");
    check_bits(span, gc_span_of(span)->epoch == kind->epoch, check_is_marking(kind->is_black));
    span_check(span);
}

static void check_kind(const struct gc_kind *kind, struct check_sum *sum)
{
    size_t spans = 0;

    for (unsigned list = 0; list < GC_LISTS; list++) {
        for (struct span *span = kind->lists[list].first; span != NULL; span = span->next) {
            check_span(kind, list, span);
            spans++;
            sum->span_bytes += span_bytes(span);
            sum->objects += span_slot_count(span) - span->free_count;
        }
    }
    if (spans != kind->span_count)
        port_panic("gc_check: G4 broken");
}

/* G5 */
static void check_slot(const struct gc_kind *kind, const void *slot)
{
    struct span *span = span_of(slot);
    unsigned index = (unsigned)span_slot_index(span, slot);
    const uint64_t *words = slot;
    bool is_whole = words[0] == seq_token(slot) && span->owner == &kind->owner;

    for (size_t i = 1; i < span_slot_bytes(span) / sizeof(*words); i++)
        is_whole &= words[i] == 0;
    is_whole &= !span_slot_is_free(span, index);
    is_whole &= gc_span_of(span)->epoch == kind->epoch || gc_is_marked(slot);
    check_require(is_whole, span, "G5");
}

static void check_cpu(const struct gc_cpu *cpu)
{
    if (cpu->log.next > cpu->barrier && !gc_may_mark())
        port_panic("gc_check: G5 broken: %zu words in a barrier's buffer",
                   (size_t)(cpu->log.next - cpu->barrier));
    for (unsigned index = 1; index < gc_kind_count(); index++) {
        if (cpu->tops[index] == 0)
            continue;
        for (void **word = seq_top_word(cpu->tops[index]); *word != &seq_nothing; word--)
            check_slot(gc_kind_at(index), *word);
    }
}

/* G6 */
static void check_large_object(const struct gc_large *large, const struct gc_list *list,
                               struct span *span)
{
    struct gc_span *gc = gc_span_of(span);
    uint64_t marked = atomic_load_explicit(&gc->words[0], memory_order_relaxed);
    uint64_t scanned = atomic_load_explicit(&gc->words[1], memory_order_relaxed);
    bool is_swept = gc->epoch == large->epoch, is_marking = check_is_marking(large->is_black);
    bool is_whole = marked <= 1 && (marked != 0 || scanned == 0);

    is_whole &= !is_swept || is_marking || marked == 0;
    is_whole &= is_swept || !gc_has_pointers(span) || marked == 0 || scanned >= span_bytes(span);
    is_whole &= is_marking || !is_queued(gc);
    check_require(is_whole && list == (is_swept ? &large->swept : &large->unswept) &&
                      is_linked(list, span),
                  span, "G6");
    span_check(span);
}

static void check_large(const struct gc_large *large, const struct gc_list *list,
                        struct check_sum *sum)
{
    for (struct span *span = list->first; span != NULL; span = span->next) {
        check_large_object(large, list, span);
        sum->span_bytes += span_bytes(span);
        sum->objects++;
    }
}

void gc_check_stopped(void *unused)
{
    struct check_sum sum = {0};
    uint64_t made, freed;

    (void)unused;
    check_large(&gc_heap.large, &gc_heap.large.swept, &sum);
    check_large(&gc_heap.large, &gc_heap.large.unswept, &sum);
    if (sum.span_bytes != gc_heap.large.pages * PAGE_BYTES)
        port_panic("gc_check: G6 broken: %zu pages", gc_heap.large.pages);
    for (unsigned index = 1; index < gc_kind_count(); index++)
        check_kind(gc_kind_at(index), &sum);
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        check_cpu(port_cpu(gc_cpu, cpu));
    gc_count_objects(&made, &freed);
    if ((int64_t)sum.span_bytes !=
            atomic_load_explicit(&gc_heap.span_bytes, memory_order_relaxed) ||
        sum.objects != made - freed)
        port_panic("gc_check: G7 broken: %zu bytes of spans, %lu objects of %lu - %lu",
                   sum.span_bytes, sum.objects, made, freed);
}

void gc_check(void)
{
    port_stop_others(gc_check_stopped, NULL);
}
