/*
 * The quarantine (slab_debug=q): freed objects wait, oldest first out, before they can be handed out
 * again, so that who still uses one writes to poison and not to another's object.
 *
 *     slab_debug_free --> last ... first --> compared --> central
 *
 * One list for the machine, linked through the records of its objects: it allocates nothing.  It
 * holds at most quarantine= bytes of slots, by default 1/64 of memory and at most 4 MiB; when memory
 * runs out, when mm/ drains, and when a cache is destroyed, it gives its objects back.
 *
 * An object goes to its central under the lock, so that whoever has drained a cache's objects knows
 * that none is on its way.
 *
 * Locks: QUARANTINE, outside of CENTRAL.
 *
 * Source: AddressSanitizer's quarantine (Serebryany et al., USENIX ATC 2012).
 */
#include "mm/page/nodes.h"
#include "mm/slab/debug.h"

#define QUARANTINE_SHARE     64u       /* of memory, by default */
#define QUARANTINE_BYTES_MAX (4 * MIB) /* likewise */
#define QUARANTINE_BATCH     64u       /* objects given back in one hold of the lock */

static struct {
    port_lock_t lock;
    void *first, *last;               /* [L] oldest, youngest; NULL: none */
    struct slab_quarantine_stats now; /* [L] limit_bytes [C] */
} quarantine = {.lock = PORT_LOCK_INIT(QUARANTINE)};

void slab_quarantine_init(void)
{
    uint64_t limit = port_setting_quarantine();

    if (limit == PORT_SETTING_AUTO)
        limit = MIN(page_nodes_memory() * PAGE_BYTES / QUARANTINE_SHARE, QUARANTINE_BYTES_MAX);
    quarantine.now.limit_bytes = limit;
}

static void **quarantine_link(void *object)
{
    const struct central *central = central_of(span_of(object));

    return &slab_record(central, object)->next;
}

/* The object that comes after `before` (NULL: the first) goes to its central. */
static void quarantine_evict_locked(void *before)
{
    void **link = before == NULL ? &quarantine.first : quarantine_link(before);
    void *object = *link;
    struct central *central = central_of(span_of(object));
    struct slab_record *record = slab_record(central, object);
    void *slot;

    *link = record->next;
    if (quarantine.last == object)
        quarantine.last = before;
    quarantine.now.objects--;
    quarantine.now.bytes -= central->owner.layout.slot_bytes;
    atomic_fetch_sub_explicit(&central->quarantined, 1, memory_order_relaxed);

    slab_debug_verify("slab", central, object);
    atomic_store_explicit(&record->state, SLAB_STATE_FREED, memory_order_release);
    slot = slab_slot_of(central, object);
    central_give(central, 1, &slot);
}

void slab_quarantine_put(struct central *central, void *object)
{
    unsigned long irq = port_lock(&quarantine.lock);

    slab_record(central, object)->next = NULL;
    *(quarantine.last == NULL ? &quarantine.first : quarantine_link(quarantine.last)) = object;
    quarantine.last = object;
    quarantine.now.objects++;
    quarantine.now.bytes += central->owner.layout.slot_bytes;
    atomic_fetch_add_explicit(&central->quarantined, 1, memory_order_relaxed);
    while (quarantine.now.bytes > quarantine.now.limit_bytes)
        quarantine_evict_locked(NULL);
    port_unlock(&quarantine.lock, irq);
}

/* What there is now: others may be adding all the time. */
static void quarantine_drain_all(void)
{
    size_t left = slab_quarantine_stats().objects;

    while (left > 0) {
        unsigned long irq = port_lock(&quarantine.lock);

        left = MIN(left, quarantine.now.objects);
        for (unsigned i = 0; i < QUARANTINE_BATCH && left > 0; i++, left--)
            quarantine_evict_locked(NULL);
        port_unlock(&quarantine.lock, irq);
    }
}

static void quarantine_drain_central(const struct central *central)
{
    unsigned long irq = port_lock(&quarantine.lock);
    void *before = NULL, *object = quarantine.first;

    while (object != NULL) {
        void *next = *quarantine_link(object);

        if (central_of(span_of(object)) == central)
            quarantine_evict_locked(before);
        else
            before = object;
        object = next;
    }
    port_unlock(&quarantine.lock, irq);
}

void slab_quarantine_drain(struct central *central)
{
    if (central == NULL)
        quarantine_drain_all();
    else if (central->debug_flags & SLAB_DEBUG_QUARANTINE)
        quarantine_drain_central(central);
}

struct slab_quarantine_stats slab_quarantine_stats(void)
{
    unsigned long irq = port_lock(&quarantine.lock);
    struct slab_quarantine_stats stats = quarantine.now;

    port_unlock(&quarantine.lock, irq);
    return stats;
}
