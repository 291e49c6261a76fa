/*
 * The spans of a kind: where its slots come from, and where sweeping puts them back.
 *
 *              refill                      sweep, as the mark has left it
 *     partial --------> full         unswept --------> partial, full, or back to the page heap
 *        ^                |             ^
 *        '---- free ------'             '---- all spans, when a mark ends (gc_kind_flip)
 *
 * A slot leaves its span for a magazine zeroed and with its token; its bit of the map is cleared after
 * that.  While the kind is black it is marked and scanned before it leaves.  Nobody takes slots of a span
 * that has not been swept: sweeping makes free what is not marked.
 *
 * A CPU takes slots from a span that it owns, of each kind: so the lock is for spans, not for slots.  The
 * map, count of free slots and first_free of an owned span are its CPU's, with interrupts off.  All owned spans
 * go back before a mark ends (the handshake that turns the barrier off) and none is owned until
 * all spans are unswept: while owning is held, slots are taken under the lock.
 *
 * Marked and free cannot be: only what is handed out is marked, and what is freed loses its mark.  If it
 * is found, the heap is damaged, and the machine stops with what is known of the slot.
 *
 * Locks: the kind's for all else, with PAGE_HEAP's below it where a span is made or destroyed.
 */
#include "kernel/base/bits.h"
#include "kernel/base/string.h"
#include "mm/gc/gc_impl.h"

#define HEAP_SWEEP_SPANS 16u /* for a magazine, before a span is made: interrupts are off */

/* ---- Lists ---- */

static void list_add(struct gc_kind *kind, enum gc_list_name name, struct span *span)
{
    gc_list_add(&kind->lists[name], span);
    span->list = (uint8_t)name;
}

/* Where it is: on none but the list of those that a mark has left, if its sweep is still to come. */
static enum gc_list_name list_of(const struct gc_kind *kind, const struct span *span)
{
    return gc_span_of(span)->epoch == kind->epoch ? span->list : GC_UNSWEPT;
}

static void list_remove(struct gc_kind *kind, struct span *span)
{
    gc_list_remove(&kind->lists[list_of(kind, span)], span);
}

void gc_list_add(struct gc_list *list, struct span *span)
{
    span->next = list->first;
    span->prev = NULL;
    if (list->first != NULL)
        list->first->prev = span;
    else
        list->last = span;
    list->first = span;
}

void gc_list_remove(struct gc_list *list, struct span *span)
{
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        list->first = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
    else
        list->last = span->prev;
}

/* All of `from` behind what `to` has. */
void gc_list_splice(struct gc_list *to, struct gc_list *from)
{
    if (from->first == NULL)
        return;
    from->first->prev = to->last;
    if (to->last != NULL)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    *from = (struct gc_list){0};
}

/* ---- Making and destroying ---- */

void gc_span_init(struct gc_span *gc, const struct gc_layout *layout)
{
    unsigned words = slot_map_words(span_slot_count(&gc->span));
    _Atomic uint64_t *end = (_Atomic uint64_t *)(gc->span.base + span_bytes(&gc->span));

    gc->marked = words == 0 ? &gc->words[0] : end - 2 * words;
    gc->scanned = words == 0 ? &gc->words[1] : end - 3 * words;
    gc->layout = layout;
    gc->first_free = 0;
    atomic_store_explicit(&gc->is_queued, gc_has_pointers(&gc->span) ? 0 : GC_NEVER_QUEUED,
                          memory_order_relaxed);
    for (unsigned word = 0; word < MAX(words, 1u); word++) {
        atomic_store_explicit(&gc->marked[word], 0, memory_order_relaxed);
        atomic_store_explicit(&gc->scanned[word], 0, memory_order_relaxed);
    }
}

static struct span *gc_span_make(struct gc_kind *kind)
{
    struct span *span = span_new_slots(&kind->owner, 0, 0);

    if (span == NULL)
        return NULL;
    gc_span_init(gc_span_of(span), &kind->layout);
    span_publish(span);
    atomic_fetch_add_explicit(&gc_heap.span_bytes, span_bytes(span), memory_order_relaxed);
    return span;
}

void gc_span_destroy(struct span *span)
{
    atomic_fetch_sub_explicit(&gc_heap.span_bytes, span_bytes(span), memory_order_relaxed);
    span_destroy(span);
}

/* ---- Sweeping ---- */

/* clobberfree=1: who goes on using what is freed here sees it. */
static void sweep_clobber(const struct span *span, unsigned word, uint64_t bits)
{
    for (; bits != 0; bits &= bits - 1) {
        uint64_t *slot = span_slot(span, word * 64 + (unsigned)__builtin_ctzll(bits));

        for (size_t i = 0; i < span_slot_bytes(span) / sizeof(*slot); i++)
            slot[i] = GC_CLOBBER;
    }
}

/* What is not marked is free from here on; marks are gone.  Its kind's lock is held. */
static void sweep_slots(struct gc_kind *kind, struct span *span)
{
    struct gc_span *gc = gc_span_of(span);
    uint64_t *map = span_free_map(span);
    unsigned words = gc_map_words(span), slots = span_slot_count(span), free_count = 0;

    for (unsigned word = 0; word < words; word++, slots -= 64) {
        uint64_t all = slots >= 64 ? ~0ull : (1ull << slots) - 1;
        uint64_t marked = atomic_load_explicit(&gc->marked[word], memory_order_relaxed);

        if (UNLIKELY((marked & (map[word] | ~all)) != 0))
            gc_zombie(span, word, marked & (map[word] | ~all));
        if (UNLIKELY(port_setting_clobberfree()))
            sweep_clobber(span, word, all & ~marked & ~map[word]);
        map[word] = all & ~marked;
        free_count += bit_count(map[word]);
        atomic_store_explicit(&gc->marked[word], 0, memory_order_relaxed);
        atomic_store_explicit(&gc->scanned[word], 0, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&gc_heap.freed, free_count - span->free_count, memory_order_relaxed);
    span->free_count = (uint16_t)free_count;
    gc->first_free = 0;
    gc->epoch = kind->epoch;
}

/*
 * Sweep one span of the kind; false: there is none.  One that has no objects any more goes to the page
 * heap, unless it shall be used.  Before the lock is let go: so no mark begins with a span half gone.
 */
static bool sweep_one(struct gc_kind *kind, bool is_wanted)
{
    struct span *span = kind->lists[GC_UNSWEPT].first;

    if (span == NULL)
        return false;
    list_remove(kind, span);
    sweep_slots(kind, span);
    gc_swept(span_bytes(span) / PAGE_BYTES);
    if (span->free_count == span_slot_count(span) && !is_wanted) {
        kind->span_count--;
        gc_span_destroy(span);
    } else {
        list_add(kind, span->free_count == 0 ? GC_FULL : GC_PARTIAL, span);
    }
    return true;
}

bool gc_kind_sweep(struct gc_kind *kind, unsigned spans)
{
    bool has_more = true;

    while (has_more && spans-- != 0) {
        unsigned long irq = port_lock(&kind->lock);

        has_more = sweep_one(kind, false);
        port_unlock(&kind->lock, irq);
    }
    return has_more;
}

void gc_kind_blacken(struct gc_kind *kind)
{
    atomic_store_explicit(&kind->is_black, true, memory_order_relaxed);
}

size_t gc_kind_flip(struct gc_kind *kind)
{
    unsigned long irq = port_lock(&kind->lock);
    size_t pages = kind->span_count * kind->owner.layout.granules * GRANULE_PAGES;

    CHECK(kind->lists[GC_UNSWEPT].first == NULL && kind->lists[GC_OWNED].first == NULL);
    atomic_store_explicit(&kind->is_black, false, memory_order_relaxed);
    kind->epoch++;
    gc_list_splice(&kind->lists[GC_UNSWEPT], &kind->lists[GC_PARTIAL]);
    gc_list_splice(&kind->lists[GC_UNSWEPT], &kind->lists[GC_FULL]);
    port_unlock(&kind->lock, irq);
    return pages;
}

/* ---- Slots for a magazine ---- */

/*
 * Slots by their bits, zero but for their tokens, from *end downwards until it is `stop`; returns the
 * bits that are left.
 */
static NOINLINE uint64_t prepare_slots(uintptr_t first, size_t slot_bytes, uint64_t bits,
                                       void ***end, void **stop)
{
    void **out = *end;

    while (bits != 0 && out != stop) {
        uint64_t *slot = (uint64_t *)(first + (unsigned)__builtin_ctzll(bits) * slot_bytes);

        bits &= bits - 1;
        slot[1] = 0;
        if (slot_bytes > 2 * sizeof(*slot))
            memset(slot + 2, 0, slot_bytes - 2 * sizeof(*slot));
        *slot = seq_token(slot);
        *--out = slot;
    }
    *end = out;
    return bits;
}

/* Free slots of a span, from *end downwards until it is `stop`. */
static void take_slots(struct gc_kind *kind, struct span *span, void ***end, void **stop)
{
    struct gc_span *gc = gc_span_of(span);
    uint64_t *map = span_free_map(span);
    size_t slot_bytes = kind->owner.layout.slot_bytes;
    unsigned words = gc_map_words(span), word = gc->first_free;
    void **begin = *end;

    for (; word < words; word++) {
        uint64_t bits = map[word];

        if (bits == 0)
            continue;

        uint64_t left =
            prepare_slots(span->base + word * 64 * slot_bytes, slot_bytes, bits, end, stop);

        if (atomic_load_explicit(&kind->is_black, memory_order_relaxed)) {
            atomic_fetch_or_explicit(&gc->scanned[word], bits & ~left, memory_order_relaxed);
            atomic_fetch_or_explicit(&gc->marked[word], bits & ~left, memory_order_release);
        }
        /* Behind the tokens: who sees no bit looks for one. */
        __atomic_store_n(&map[word], left, __ATOMIC_RELEASE);
        if (left != 0)
            break;
    }
    gc->first_free = word;
    span->free_count = (uint16_t)(span->free_count - (unsigned)(begin - *end));
}

/*
 * A span with free slots, at the head of the partial ones; NULL: none among so many that are swept for it.
 * Interrupts are off: a heap that is full of live objects is not swept at one go.
 */
static struct span *find_span(struct gc_kind *kind, size_t spans)
{
    while (kind->lists[GC_PARTIAL].first == NULL && spans-- != 0 && sweep_one(kind, true))
        continue;
    return kind->lists[GC_PARTIAL].first;
}

/* The same, or a new span.  NULL: memory is exhausted.  Returns with the lock held. */
static struct span *find_or_make_span(struct gc_kind *kind, unsigned long *irq)
{
    *irq = port_lock(&kind->lock);

    struct span *span = find_span(kind, HEAP_SWEEP_SPANS);

    if (span != NULL)
        return span;
    port_unlock(&kind->lock, *irq);
    span = gc_span_make(kind);
    *irq = port_lock(&kind->lock);
    if (span != NULL) {
        gc_span_of(span)->epoch = kind->epoch;
        list_add(kind, GC_PARTIAL, span);
        kind->span_count++;
    }
    return find_span(kind, SIZE_MAX); /* or another's */
}

static void change_list(struct gc_kind *kind, struct span *span, enum gc_list_name name)
{
    list_remove(kind, span);
    list_add(kind, name, span);
}

/* Bytes of so many slots count as live. */
static void count_live(const struct gc_kind *kind, int64_t slots)
{
    atomic_fetch_add_explicit(&gc_heap.live_bytes, slots * kind->owner.layout.slot_bytes,
                              memory_order_relaxed);
}

/* Owning is held.  From one span, as from the next one only the next magazine takes. */
static void take_locked(struct gc_kind *kind, void ***end, void **stop)
{
    unsigned long irq;
    struct span *span = find_or_make_span(kind, &irq);
    void **begin = *end;

    if (span != NULL) {
        take_slots(kind, span, end, stop);
        if (span->free_count == 0)
            change_list(kind, span, GC_FULL);
    }
    port_unlock(&kind->lock, irq);
    count_live(kind, begin - *end);
}

/* All free slots of a span that is owned count as live, so that this is not done for each magazine. */
static struct span *own_span(struct gc_kind *kind)
{
    unsigned long irq;
    struct span *span = find_or_make_span(kind, &irq);

    if (span != NULL) {
        change_list(kind, span, GC_OWNED);
        count_live(kind, span->free_count);
    }
    port_unlock(&kind->lock, irq);
    return span;
}

static void disown_span(struct gc_kind *kind, struct span *span)
{
    unsigned long irq = port_lock(&kind->lock);

    change_list(kind, span, span->free_count == 0 ? GC_FULL : GC_PARTIAL);
    count_live(kind, -(int64_t)span->free_count);
    port_unlock(&kind->lock, irq);
}

unsigned gc_kind_take(struct gc_kind *kind, unsigned n, void **end)
{
    struct span **owned = &port_this_cpu(gc_cpu)->owned[kind->owner.index];
    void **begin = end, **stop = end - n;

    if (UNLIKELY(atomic_load_explicit(&gc_heap.owning_held, memory_order_relaxed) != 0)) {
        take_locked(kind, &end, stop);
        port_this_cpu(gc_cpu)->allocs += (unsigned)(begin - end);
        return (unsigned)(begin - end);
    }
    while (end != stop && (*owned != NULL || (*owned = own_span(kind)) != NULL)) {
        take_slots(kind, *owned, &end, stop);
        if ((*owned)->free_count == 0) {
            disown_span(kind, *owned);
            *owned = NULL;
        }
    }
    port_this_cpu(gc_cpu)->allocs += (unsigned)(begin - end);
    return (unsigned)(begin - end);
}

void gc_spans_disown_of(struct gc_cpu *cpu)
{
    for (unsigned index = 1; index < gc_kind_count(); index++) {
        if (cpu->owned[index] != NULL)
            disown_span(gc_kind_at(index), cpu->owned[index]);
        cpu->owned[index] = NULL;
    }
}

void gc_spans_disown(void)
{
    gc_spans_disown_of(port_this_cpu(gc_cpu));
}

void gc_owning_hold(void (*answer)(void))
{
    atomic_fetch_add_explicit(&gc_heap.owning_held, 1, memory_order_relaxed);
    gc_handshake(answer);
}

void gc_owning_release(void)
{
    atomic_fetch_sub_explicit(&gc_heap.owning_held, 1, memory_order_relaxed);
}

/* Its first word with a free slot, its count and its marks are as without that object. */
static void give_slot(struct span *span, size_t slot, const void *object)
{
    struct gc_span *gc = gc_span_of(span);
    uint64_t bit = 1ull << slot % 64;

    if (!span_give_slot(span, slot))
        port_panic("gc_free: %p is free, or nothing refers to it", object);
    if (UNLIKELY(port_setting_clobberfree()))
        sweep_clobber(span, (unsigned)(slot / 64), bit);
    atomic_fetch_add_explicit(&gc_heap.freed, 1, memory_order_relaxed);
    gc->first_free = MIN(gc->first_free, (uint32_t)(slot / 64));
    atomic_fetch_and_explicit(&gc->marked[slot / 64], ~bit, memory_order_relaxed);
    atomic_fetch_and_explicit(&gc->scanned[slot / 64], ~bit, memory_order_relaxed);
}

void gc_kind_give(struct gc_kind *kind, void *object)
{
    struct span *span = span_of(object);
    size_t slot = span_slot_index(span, object);
    unsigned long irq = port_lock(&kind->lock);
    enum gc_list_name list = list_of(kind, span);

    if (list == GC_OWNED) {
        /* Another CPU's, who alone writes its map, is left to the collector. */
        if (span_slot_is_free(span, (unsigned)slot) ||
            port_this_cpu(gc_cpu)->owned[kind->owner.index] == span)
            give_slot(span, slot, object);
        port_unlock(&kind->lock, irq);
        return;
    }
    list_remove(kind, span);
    if (list == GC_UNSWEPT) {
        sweep_slots(kind, span);
        gc_swept(span_bytes(span) / PAGE_BYTES);
    }
    give_slot(span, slot, object);
    if (span->free_count == span_slot_count(span)) {
        kind->span_count--;
        gc_span_destroy(span);
    } else {
        list_add(kind, GC_PARTIAL, span);
    }
    port_unlock(&kind->lock, irq);
    count_live(kind, -1);
}
