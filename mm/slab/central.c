/* The central of a span class; the theory stands in mm/slab/central.h. */
#include "mm/slab/central.h"
#include "mm/slab/slab_impl.h"

/* A magazine holds about so many bytes, and at least two slots. */
#define CENTRAL_MAGAZINE_BYTES 8192u

PORT_STAT(slab, spans_made);
PORT_STAT(slab, spans_returned);

void central_init(struct central *central, const char *name, unsigned span_class,
                  const struct slot_layout *layout)
{
    uint32_t limit = CENTRAL_MAGAZINE_BYTES / layout->slot_bytes;

    central->lock = (port_lock_t)PORT_LOCK_INIT(CENTRAL);
    central->name = name;
    central->layout = *layout;
    central->object_bytes = layout->slot_bytes;
    central->magazine_limit = (uint16_t)MIN(MAX(limit, 2u), MAGAZINE_SLOTS);
    central->span_class = (uint8_t)span_class;
}

/* ---- Lists ---- */

static unsigned central_list_for(const struct span *span)
{
    if (span->free_count == 0)
        return CENTRAL_FULL;
    if (span->free_count == span_slot_count(span))
        return CENTRAL_EMPTY;
    return CENTRAL_FULLEST + span->free_count * 4u / span_slot_count(span);
}

static void central_list_add(struct central *central, struct span *span)
{
    struct span **head = &central->lists[central_list_for(span)];

    span->list = (uint8_t)(head - central->lists);
    span->prev = NULL;
    span->next = *head;
    if (*head != NULL)
        (*head)->prev = span;
    *head = span;
}

static void central_list_remove(struct central *central, struct span *span)
{
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        central->lists[span->list] = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
}

/* After a change of free_count. */
static void central_relist(struct central *central, struct span *span)
{
    if (central_list_for(span) == span->list)
        return;
    central_list_remove(central, span);
    central_list_add(central, span);
}

/* Take an empty span off; it goes to central_retire when the lock is released. */
static void central_unlink(struct central *central, struct span *span)
{
    central_list_remove(central, span);
    central->span_count--;
    central->free_slots -= span_slot_count(span);
}

/* ---- Slots out ---- */

unsigned central_take(struct central *central, unsigned n, void **out)
{
    unsigned taken = 0;
    unsigned long irq = port_lock(&central->lock);

    for (unsigned list = CENTRAL_FULLEST; list < CENTRAL_LISTS; list++) {
        while (taken < n && central->lists[list] != NULL) {
            struct span *span = central->lists[list];

            taken += span_take_slots(span, n - taken, out + taken);
            central_relist(central, span);
        }
    }
    central->free_slots -= taken;
    port_unlock(&central->lock, irq);
    return taken;
}

bool central_grow(struct central *central)
{
    struct span *span = span_create_slots(&central->layout, central->span_class, central);

    if (span == NULL)
        return false;
    for (unsigned i = 0; i < span_slot_count(span); i++) {
        void *slot = span_slot(span, i);

        if (central->ctor != NULL)
            central->ctor(slot);
        *slab_canary(slot, central->canary_offset) = slab_canary_value(slot);
    }

    unsigned long irq = port_lock(&central->lock);

    central_list_add(central, span);
    central->span_count++;
    central->free_slots += span_slot_count(span);
    port_stat_inc(slab, spans_made);
    port_unlock(&central->lock, irq);
    return true;
}

/* ---- Slots in ---- */

/* Consume the canaries of an empty span that is on no list, and give its pages back. */
static void central_retire(struct central *central, struct span *span)
{
    for (unsigned i = 0; i < span_slot_count(span); i++) {
        void *slot = span_slot(span, i);

        if (!slab_has_canary(slot, central->canary_offset))
            slab_misuse("slab", slot, SLAB_CORRUPT);
        *slab_canary(slot, central->canary_offset) = 0;
    }
    CHECK(span_destroy(span));
    port_stat_inc(slab, spans_returned);
}

static void central_retire_list(struct central *central, struct span *span)
{
    while (span != NULL) {
        struct span *next = span->next;

        central_retire(central, span);
        span = next;
    }
}

/*
 * Mark a slot free.  Returns its span; NULL: the slot is none of ours, not a slot, free already, or
 * without canary.
 */
static struct span *central_give_slot(struct central *central, void *slot)
{
    struct span *span = span_of(slot);

    if (span == NULL || span->owner != central)
        return NULL;

    uint64_t product = span_slot_product(span, slot);

    if (!span_product_is_slot(span, product) || !slab_has_canary(slot, central->canary_offset) ||
        !span_give_slot(span, (unsigned)(product >> 32)))
        return NULL;
    central->free_slots++;
    return span;
}

void central_give(struct central *central, unsigned n, void *const *slots)
{
    struct span *retired = NULL, *span;
    unsigned given = 0;
    unsigned long irq = port_lock(&central->lock);

    for (; given < n && (span = central_give_slot(central, slots[given])) != NULL; given++) {
        if (span->free_count < span_slot_count(span) || central->lists[CENTRAL_EMPTY] == NULL) {
            central_relist(central, span);
            continue;
        }
        central_unlink(central, span);
        span->next = retired;
        retired = span;
    }
    port_unlock(&central->lock, irq);

    if (given < n)
        slab_misuse("slab", slots[given], SLAB_CORRUPT);
    central_retire_list(central, retired);
}

void central_trim(struct central *central)
{
    unsigned long irq = port_lock(&central->lock);
    struct span *empty = central->lists[CENTRAL_EMPTY];

    for (struct span *span = empty; span != NULL; span = span->next) {
        central->span_count--;
        central->free_slots -= span_slot_count(span);
    }
    central->lists[CENTRAL_EMPTY] = NULL;
    port_unlock(&central->lock, irq);
    central_retire_list(central, empty);
}

/* ---- Checks ---- */

static void central_require(bool holds, const struct central *central, const char *invariant)
{
    if (!holds)
        port_panic("central_check: %s broken in %s", invariant, central->name);
}

static void central_check_span(const struct central *central, const struct span *span,
                               unsigned list)
{
    central_require(span->owner == central && span->list == list, central, "C1");
    central_require(central_list_for(span) == list, central, "C2");
    span_check(span);
    for (unsigned i = 0; i < span_slot_count(span); i++)
        central_require(!span_slot_is_free(span, i) ||
                            slab_has_canary(span_slot(span, i), central->canary_offset),
                        central, "C4");
}

void central_check(struct central *central)
{
    size_t spans = 0, free_slots = 0;
    unsigned long irq = port_lock(&central->lock);

    for (unsigned list = 0; list < CENTRAL_LISTS; list++) {
        for (struct span *span = central->lists[list]; span != NULL; span = span->next) {
            central_check_span(central, span, list);
            spans++;
            free_slots += span->free_count;
        }
    }
    central_require(spans == central->span_count && free_slots == central->free_slots, central,
                    "C3");
    port_unlock(&central->lock, irq);
}
