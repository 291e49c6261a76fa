/*
 * The depot of a central, full magazines; and the checks of all of a central.  The theory stands in
 * mm/slab/central.h.
 */
#include "mm/slab/central.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab_impl.h"

_Atomic size_t central_depot_bytes;

PORT_STAT(slab, depot_refused);

/*
 * All CPUs write the sum of all depots.  So a shard tells what it holds when that has changed by
 * much, or to nothing.  The lock is held.
 */
static void depot_tell(const struct central *central, struct central_shard *shard)
{
    size_t holds = shard->full_slots * central->owner.layout.slot_bytes +
                   shard->full_count * sizeof(struct seq_magazine);

    if (LIKELY(holds - shard->full_told + DEPOT_UNTOLD <= 2 * DEPOT_UNTOLD) && holds != 0)
        return;
    atomic_fetch_add_explicit(&central_depot_bytes, holds - shard->full_told, memory_order_relaxed);
    shard->full_told = holds;
}

magazine_t central_take_full(struct central *central, unsigned shard_number)
{
    struct central_shard *shard = &central->shards[shard_number];
    unsigned long irq = port_lock(&shard->lock);
    magazine_t magazine = shard->full;

    if (magazine != 0) {
        shard->full = depot_next(magazine);
        shard->full_count--;
        shard->full_slots -= magazine_count(magazine);
        shard->full_low = MIN(shard->full_low, shard->full_count);
        depot_tell(central, shard);
    }
    port_unlock(&shard->lock, irq);
    return magazine;
}

bool central_give_full(struct central *central, unsigned shard_number, magazine_t magazine)
{
    struct central_shard *shard = &central->shards[shard_number];

    if (atomic_load_explicit(&central_depot_bytes, memory_order_relaxed) >=
        atomic_load_explicit(&slab_limits.depot_bytes, memory_order_relaxed)) {
        port_stat_inc(slab, depot_refused);
        return false;
    }

    unsigned long irq = port_lock(&shard->lock);

    magazine_block(magazine)->words[0] = (void *)shard->full;
    shard->full = magazine;
    shard->full_count++;
    shard->full_slots += magazine_count(magazine);
    depot_tell(central, shard);
    port_unlock(&shard->lock, irq);
    return true;
}

/* Up to so many magazines of one shard to their spans; returns how many. */
static size_t depot_trim_shard(struct central *central, unsigned shard, size_t magazines)
{
    size_t trimmed = 0;
    magazine_t magazine;

    while (trimmed < magazines && (magazine = central_take_full(central, shard)) != 0) {
        central_give(central, magazine_count(magazine), magazine_slots(magazine));
        magazine_free(magazine_block(magazine));
        trimmed++;
    }
    return trimmed;
}

size_t central_trim_depot(struct central *central, size_t magazines)
{
    size_t trimmed = 0;

    for (unsigned shard = 0; shard < CENTRAL_SHARDS; shard++)
        trimmed += depot_trim_shard(central, shard, magazines - trimmed);
    return trimmed;
}

/*
 * full_low is how many have not been needed for as long as it has been watched.  These go, a few at a
 * time; when the last has gone, the watch begins anew.
 */
void central_age(struct central *central, size_t magazines)
{
    for (unsigned i = 0; i < CENTRAL_SHARDS; i++) {
        struct central_shard *shard = &central->shards[i];
        unsigned long irq = port_lock(&shard->lock);
        size_t idle = MIN(shard->full_low, shard->full_count);
        size_t trim = MIN(idle, magazines);

        if (idle <= magazines)
            shard->full_low = shard->full_count;
        port_unlock(&shard->lock, irq);
        magazines -= depot_trim_shard(central, i, trim);
    }
}

struct central_sums central_sums(struct central *central)
{
    struct central_sums sums = {0};

    for (unsigned i = 0; i < CENTRAL_SHARDS; i++) {
        struct central_shard *shard = &central->shards[i];
        unsigned long irq = port_lock(&shard->lock);

        sums.spans += shard->span_count;
        sums.free_slots += shard->free_slots;
        sums.full_slots += shard->full_slots;
        sums.full_count += shard->full_count;
        port_unlock(&shard->lock, irq);
    }
    return sums;
}

/* ---- Checks ---- */

static void central_require(bool holds, const struct central *central, const char *invariant)
{
    if (!holds)
        port_panic("central_check: %s broken in %s", invariant, central->name);
}

static void check_span(const struct central *central, unsigned shard, const struct span *span,
                       unsigned list)
{
    central_require(span->owner == &central->owner && span->list == list && span->shard == shard,
                    central, "C1");
    central_require(central_list_for(span) == list, central, "C2");
    span_check(span);
    for (unsigned i = 0; i < span_slot_count(span) && central->debug_flags != 0; i++)
        slab_debug_verify("slab_check", central,
                          (char *)span_slot(span, i) + central->object_shift);
    for (unsigned i = 0; i < span_slot_count(span); i++)
        central_require(!span_slot_is_free(span, i) || slab_has_token(span_slot(span, i)), central,
                        "C4");
}

void central_check_slots(const struct central *central, unsigned n, void *const *slots)
{
    for (unsigned i = 0; i < n; i++) {
        const struct span *span = span_of(slots[i]);

        central_require(span != NULL && span->owner == &central->owner &&
                            span_is_any_slot(span, slots[i]) &&
                            !span_slot_is_free(span, (unsigned)span_slot_index(span, slots[i])),
                        central, "C5");
        central_require(slab_has_token(slots[i]), central, "C4");
    }
}

static void check_shard(struct central *central, unsigned number)
{
    struct central_shard *shard = &central->shards[number];
    size_t spans = 0, free_slots = 0, full_count = 0, full_slots = 0;
    unsigned long irq = port_lock(&shard->lock);

    for (unsigned list = 0; list < CENTRAL_LISTS; list++) {
        for (struct span *span = shard->lists[list]; span != NULL; span = span->next) {
            check_span(central, number, span, list);
            spans++;
            free_slots += span->free_count;
        }
    }
    for (magazine_t full = shard->full; full != 0; full = depot_next(full)) {
        central_check_slots(central, magazine_count(full), magazine_slots(full));
        full_count++;
        full_slots += magazine_count(full);
    }
    central_require(spans == shard->span_count && free_slots == shard->free_slots &&
                        full_count == shard->full_count && full_slots == shard->full_slots,
                    central, "C3");
    port_unlock(&shard->lock, irq);
}

void central_check(struct central *central)
{
    for (unsigned shard = 0; shard < CENTRAL_SHARDS; shard++)
        check_shard(central, shard);
}
