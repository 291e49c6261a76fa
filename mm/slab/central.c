/* The central of a span class; the theory stands in mm/slab/central.h. */
#include "mm/slab/central.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab_impl.h"

/* A magazine holds about so many bytes, and at least two slots. */
#define CENTRAL_MAGAZINE_BYTES 32768u

#define CENTRAL_MAGAZINE_FIRST 8u /* of these to begin with, one part of so many */

#define CENTRAL_WAITS 32u /* for one shard's lock, after which there shall be more */

PORT_STAT(slab, shards_doubled);
PORT_STAT(slab, spans_made);
PORT_STAT(slab, spans_returned);

void central_init(struct central *central, const char *name, unsigned span_class, unsigned index,
                  const struct slot_layout *layout)
{
    uint32_t most = MIN(MAX(CENTRAL_MAGAZINE_BYTES / layout->slot_bytes, 2u), MAGAZINE_SLOTS);

    central->owner = (struct span_owner){
        .layout = *layout,
        .key = span_class != SPAN_CLASS_CACHE ? 0
               : index != 0                   ? index * SPAN_KEY_UNIT
                                              : CENTRAL_NUMBERLESS_KEY,
        .index = (uint16_t)index,
        .span_class = (uint8_t)span_class,
    };
    central->name = name;
    central->object_bytes = layout->slot_bytes;
    if (index != 0 && !slab_sample_is_dense()) {
        central->magazine_max = (uint8_t)most;
        central->magazine_min = (uint8_t)MAX(most / CENTRAL_MAGAZINE_FIRST, 2u);
    }
    for (unsigned i = 0; i < CENTRAL_SHARDS; i++)
        central->shards[i].lock = (port_lock_t)PORT_LOCK_INIT(CENTRAL);
}

unsigned central_shard_here(struct central *central)
{
    unsigned mask = atomic_load_explicit(&central->shard_mask, memory_order_relaxed);
    unsigned shard = port_cpu_id() & mask;

    if (UNLIKELY(port_lock_waits(&central->shards[shard].lock) > CENTRAL_WAITS << mask) &&
        mask < CENTRAL_SHARDS - 1) {
        port_stat_inc(slab, shards_doubled);
        atomic_compare_exchange_strong_explicit(&central->shard_mask, &mask, 2 * mask + 1,
                                                memory_order_relaxed, memory_order_relaxed);
    }
    return shard;
}

/* ---- Lists ---- */

unsigned central_list_for(const struct span *span)
{
    if (span->free_count == 0)
        return CENTRAL_FULL;
    if (span->free_count == span_slot_count(span))
        return CENTRAL_EMPTY;
    return CENTRAL_FULLEST + span->free_count * 4u / span_slot_count(span);
}

static void central_list_add(struct central_shard *shard, struct span *span)
{
    struct span **head = &shard->lists[central_list_for(span)];

    span->list = (uint8_t)(head - shard->lists);
    span->prev = NULL;
    span->next = *head;
    if (*head != NULL)
        (*head)->prev = span;
    *head = span;
}

static void central_list_remove(struct central_shard *shard, struct span *span)
{
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        shard->lists[span->list] = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
}

/* After a change of free_count. */
static void central_relist(struct central_shard *shard, struct span *span)
{
    if (central_list_for(span) == span->list)
        return;
    central_list_remove(shard, span);
    central_list_add(shard, span);
}

/* ---- Slots out ---- */

unsigned central_take(struct central *central, unsigned shard_number, unsigned n, void **out)
{
    struct central_shard *shard = &central->shards[shard_number];
    unsigned taken = 0;
    unsigned long irq = port_lock(&shard->lock);

    for (unsigned list = CENTRAL_FULLEST; list < CENTRAL_LISTS; list++) {
        while (taken < n && shard->lists[list] != NULL) {
            struct span *span = shard->lists[list];

            taken +=
                span_take_slots(span, slab_random(span_slot_count(span)), n - taken, out + taken);
            central_relist(shard, span);
        }
    }
    shard->free_slots -= taken;
    port_unlock(&shard->lock, irq);
    if (taken > 0) {
        atomic_fetch_add_explicit(&central->taken, taken, memory_order_relaxed);
        slab_shuffle(taken, out);
    }
    return taken;
}

bool central_grow(struct central *central, unsigned shard_number)
{
    struct central_shard *shard = &central->shards[shard_number];
    struct span *span = span_create_slots(&central->owner, 0, central->limit);

    if (span == NULL)
        return false;
    span->shard = (uint8_t)shard_number;
    for (unsigned i = 0; i < span_slot_count(span); i++) {
        char *slot = span_slot(span, i);

        if (central->ctor != NULL)
            central->ctor(slot + central->object_shift);
        if (UNLIKELY(central->debug_flags != 0))
            slab_debug_new(central, slot + central->object_shift);
        slab_set_token(slot);
    }

    unsigned long irq = port_lock(&shard->lock);

    central_list_add(shard, span);
    shard->span_count++;
    shard->free_slots += span_slot_count(span);
    port_stat_inc(slab, spans_made);
    port_unlock(&shard->lock, irq);
    return true;
}

/* ---- Slots in ---- */

/* All slots of an empty span are as their frees have left them. */
static void central_verify_empty(const struct central *central, const struct span *span)
{
    for (unsigned i = 0; i < span_slot_count(span); i++) {
        void *slot = span_slot(span, i);

        if (!slab_has_token(slot))
            slab_misuse("slab", slot, SLAB_CORRUPT);
        if (UNLIKELY(central->debug_flags != 0))
            slab_debug_verify("slab", central, (char *)slot + central->object_shift);
    }
}

/*
 * Consume the tokens of empty spans that are on no list, and give their pages back.  Nobody finds a
 * span any more when its tokens go: else a second free of one of its slots would be taken for a first.
 */
static void central_retire(struct span *span)
{
    while (span != NULL) {
        struct span *next = span->next;

        central_verify_empty(central_of(span), span);
        CHECK(span_withdraw(span));
        for (unsigned i = 0; i < span_slot_count(span); i++)
            slab_clear_token(span_slot(span, i));
        span_release(span);
        port_stat_inc(slab, spans_returned);
        span = next;
    }
}

/*
 * A span of the shard has got a slot back.  True: it is empty and another is, so it has been taken
 * off and shall be retired.
 */
static bool central_settle(struct central_shard *shard, struct span *span)
{
    if (span->free_count < span_slot_count(span) || shard->lists[CENTRAL_EMPTY] == NULL) {
        central_relist(shard, span);
        return false;
    }
    central_list_remove(shard, span);
    shard->span_count--;
    shard->free_slots -= span_slot_count(span);
    return true;
}

/* The span of a slot that may be given to `central`; reports and panics on anything else. */
static struct span *central_span(const struct central *central, void *slot)
{
    struct span *span = span_of(slot);

    if (span == NULL || span->owner != &central->owner ||
        !span_is_slot(span, slot, central->owner.key) || !slab_has_token(slot))
        slab_misuse("slab", slot, SLAB_CORRUPT);
    return span;
}

/* Give slots that all belong to one shard. */
static void central_give_shard(struct central_shard *shard, unsigned n, void *const *slots)
{
    struct span *retired = NULL;
    unsigned given = 0;
    unsigned long irq = port_lock(&shard->lock);

    for (; given < n; given++) {
        struct span *span = span_of(slots[given]);

        if (!span_give_slot(span, span_slot_index(span, slots[given])))
            break;
        shard->free_slots++;
        if (central_settle(shard, span)) {
            span->next = retired;
            retired = span;
        }
    }
    port_unlock(&shard->lock, irq);
    if (given < n)
        slab_misuse("slab", slots[given], SLAB_CORRUPT);
    central_retire(retired);
}

/* Each shard's lock is taken once.  While a slot is not given, its span stays. */
void central_give(struct central *central, unsigned n, void *const *slots)
{
    uint8_t shards[MAGAZINE_SLOTS];
    unsigned waiting = 0;

    CHECK(n <= MAGAZINE_SLOTS);
    for (unsigned i = 0; i < n; i++) {
        shards[i] = central_span(central, slots[i])->shard;
        waiting |= 1u << shards[i];
    }
    atomic_fetch_add_explicit(&central->given, n, memory_order_relaxed);
    for (; waiting != 0; waiting &= waiting - 1) {
        unsigned shard = (unsigned)__builtin_ctz(waiting), count = 0;
        void *own[MAGAZINE_SLOTS];

        for (unsigned i = 0; i < n; i++) {
            if (shards[i] == shard)
                own[count++] = slots[i];
        }
        central_give_shard(&central->shards[shard], count, own);
    }
}

void central_trim(struct central *central)
{
    for (unsigned i = 0; i < CENTRAL_SHARDS; i++) {
        struct central_shard *shard = &central->shards[i];
        unsigned long irq = port_lock(&shard->lock);
        struct span *empty = shard->lists[CENTRAL_EMPTY];

        for (struct span *span = empty; span != NULL; span = span->next) {
            shard->span_count--;
            shard->free_slots -= span_slot_count(span);
        }
        shard->lists[CENTRAL_EMPTY] = NULL;
        port_unlock(&shard->lock, irq);
        central_retire(empty);
    }
}
