/* What the guard pool holds, and checks of it.  Figures are exact when nothing else runs. */
#include "mm/slab/guard_impl.h"

static void guard_require(bool holds, size_t slot, const char *invariant)
{
    if (!holds)
        port_panic("guard_check: %s broken in slot %zu", invariant, slot);
}

static void guard_check_live(size_t slot)
{
    const struct guard_record *record = &guard_pool.records[slot];
    uintptr_t offset = record->object.addr - guard_page(slot);

    guard_require(record->state == GUARD_LIVE || record->state == GUARD_FREEING, slot, "G2");
    guard_require(offset < PAGE_BYTES && record->object.bytes <= PAGE_BYTES - offset, slot, "G3");
    if (record->state == GUARD_LIVE)
        guard_require(guard_object_damage(&record->object) == NULL, slot, "G4");
}

void guard_check(void)
{
    uint64_t in_ring[ALIGN_UP(GUARD_OBJECTS_MAX, 64) / 64] = {0};
    unsigned long irq = port_lock(&guard_pool.lock);

    for (size_t i = 0; i < guard_pool.ring_count; i++) {
        size_t slot = guard_pool.ring[(guard_pool.ring_first + i) % guard_pool.slots];
        enum guard_state state = guard_pool.records[slot].state;

        guard_require((state == GUARD_UNUSED || state == GUARD_FREED) &&
                          (in_ring[slot / 64] & 1ull << slot % 64) == 0,
                      slot, "G1");
        in_ring[slot / 64] |= 1ull << slot % 64;
    }
    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        if ((in_ring[slot / 64] & 1ull << slot % 64) == 0)
            guard_check_live(slot);
    }
    port_unlock(&guard_pool.lock, irq);
}

struct guard_stats guard_stats(void)
{
    unsigned long irq = port_lock(&guard_pool.lock);
    struct guard_stats stats = {
        .slots = guard_pool.slots,
        .bytes = (guard_pool.slots + guard_pool.record_pages) * PAGE_BYTES,
        .rate = guard_pool.rate,
        .seed = guard_pool.seed,
        .taken = guard_pool.taken,
        .covered = guard_pool.covered,
        .exhausted = guard_pool.exhausted,
    };

    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        stats.live += guard_pool.records[slot].state == GUARD_LIVE;
        stats.freed += guard_pool.records[slot].state == GUARD_FREED;
    }
    port_unlock(&guard_pool.lock, irq);
    return stats;
}

bool guard_object_at(size_t slot, struct guard_object *out)
{
    unsigned long irq = port_lock(&guard_pool.lock);
    bool is_known = slot < guard_pool.slots && guard_pool.records[slot].state != GUARD_UNUSED;

    if (is_known)
        *out = guard_pool.records[slot].object;
    port_unlock(&guard_pool.lock, irq);
    return is_known;
}

void guard_each_live(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        const struct guard_record *record = &guard_pool.records[slot];

        if (record->state == GUARD_LIVE)
            fn(record->object.addr, record->object.addr + record->object.bytes, arg);
    }
}

void guard_each_page(void (*fn)(uintptr_t start, uintptr_t end, void *arg), void *arg)
{
    uintptr_t pages = (uintptr_t)guard_pool.pages;

    if (guard_pool.slots != 0)
        fn(pages, pages + guard_pool.slots * PAGE_BYTES, arg);
}

size_t guard_live_count(const void *owner)
{
    size_t count = 0;
    unsigned long irq = port_lock(&guard_pool.lock);

    for (size_t slot = 0; slot < guard_pool.slots; slot++)
        count += guard_record_is_live_of(&guard_pool.records[slot], owner);
    port_unlock(&guard_pool.lock, irq);
    return count;
}

void guard_forget(const void *owner)
{
    unsigned long irq = port_lock(&guard_pool.lock);

    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        struct guard_object *object = &guard_pool.records[slot].object;

        if (object->owner == owner) {
            object->owner = NULL;
            object->cache = "a destroyed cache";
        }
    }
    port_unlock(&guard_pool.lock, irq);
}
