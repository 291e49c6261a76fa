/*
 * The guard pool: its slots, what goes in and comes out, and when (mm/slab/guard.h).
 *
 * Free slots stand in a ring and go out in the order in which they came back, so that a freed object's
 * page stays away as long as it can.  A slot's page is always backed by the same page of memory,
 * taken at start-up: nothing here can run out of memory later, and a stale translation reaches no
 * one else's.  There is one slot for each chunk of memory, up to GUARD_OBJECTS_MAX: 0.2 % of it.
 *
 * The lock protects ring and records, and a LIVE slot's page is mapped for as long as it is held.  A
 * free does what is long outside of it: it makes the slot FREEING, so that a second free finds it not
 * LIVE, looks at the pattern, unmaps the page and only then takes the lock again.
 *
 * Locks: GUARD, innermost but for what prints.
 */
#include "kernel/base/random.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/slab/guard_impl.h"

uintptr_t guard_base = GUARD_NO_BASE;
struct guard_pool guard_pool = {.lock = PORT_LOCK_INIT(GUARD)};
PORT_PERCPU(struct guard_countdown, guard_countdown);

/* ---- Sampling ---- */

bool guard_sample_slow(struct guard_countdown *countdown)
{
    bool has_begun = countdown->random != 0;

    if (guard_pool.slots == 0) {
        countdown->left = INT64_MAX;
        return false;
    }
    if (port_fault_is_armed()) {
        countdown->left = 0; /* later */
        return false;
    }
    if (!has_begun)
        countdown->random = random_start(guard_pool.seed, 1 + port_cpu_id());

    int64_t left = countdown->left +
                   (int64_t)(1 + random_next(&countdown->random) % (2 * guard_pool.rate - 1));

    if (!has_begun && left > 0) {
        countdown->left = left;
        return false;
    }
    countdown->left = MAX(left, (int64_t)0);
    return true;
}

void guard_reseed(uint64_t seed)
{
    unsigned long irq = port_lock(&guard_pool.lock);

    guard_pool.random = random_start(seed, 0);
    *port_this_cpu(guard_countdown) = (struct guard_countdown){
        .random = random_start(seed, 1 + port_cpu_id()),
    };
    port_unlock(&guard_pool.lock, irq);
}

/* ---- The ring ---- */

/* Has a slot in use been allocated by the same callers? */
static bool guard_site_is_covered(uint64_t site)
{
    for (size_t slot = 0; slot < guard_pool.slots; slot++) {
        if (guard_pool.records[slot].state == GUARD_LIVE && guard_pool.records[slot].site == site)
            return true;
    }
    return false;
}

static bool guard_is_crowded(void)
{
    return (guard_pool.slots - guard_pool.ring_count) * 4 > guard_pool.slots * 3;
}

/* The slot that has been free for longest; GUARD_OBJECTS_MAX: none, or not for this site. */
static size_t guard_ring_take_locked(uint64_t site)
{
    if (guard_pool.ring_count == 0) {
        guard_pool.exhausted++;
        return GUARD_OBJECTS_MAX;
    }
    if (guard_is_crowded() && guard_site_is_covered(site)) {
        guard_pool.covered++;
        return GUARD_OBJECTS_MAX;
    }

    size_t slot = guard_pool.ring[guard_pool.ring_first];

    guard_pool.ring_first = (guard_pool.ring_first + 1) % guard_pool.slots;
    guard_pool.ring_count--;
    return slot;
}

static void guard_ring_give_locked(struct guard_record *record, enum guard_state state)
{
    size_t last = (guard_pool.ring_first + guard_pool.ring_count) % guard_pool.slots;

    record->state = state;
    guard_pool.ring[last] = (uint16_t)(record - guard_pool.records);
    guard_pool.ring_count++;
}

/* ---- Pages ---- */

/* Four words a round: of what a sample costs, these two loops are the larger part. */
static void guard_fill(void *page)
{
    uint64_t *words = page, *end = words + PAGE_BYTES / sizeof(*words);

    for (; words < end; words += 4) {
        words[0] = GUARD_PATTERN;
        words[1] = GUARD_PATTERN;
        words[2] = GUARD_PATTERN;
        words[3] = GUARD_PATTERN;
    }
}

/* Past the whole words from an aligned address on that hold the pattern. */
static const uint8_t *guard_skip_words(const uint8_t *from, const uint8_t *to)
{
    const uint64_t *word = (const uint64_t *)from, *end = word + (to - from) / 8;

    while (end - word >= 4 && word[0] == GUARD_PATTERN && word[1] == GUARD_PATTERN &&
           word[2] == GUARD_PATTERN && word[3] == GUARD_PATTERN)
        word += 4;
    while (word < end && *word == GUARD_PATTERN)
        word++;
    return (const uint8_t *)word;
}

/* The first byte of [from, to) that does not hold the pattern; NULL: all do. */
static const uint8_t *guard_find_damage(const uint8_t *from, const uint8_t *to)
{
    for (; from < to; from++) {
        if (IS_ALIGNED((uintptr_t)from, 8))
            from = guard_skip_words(from, to);
        if (from < to && *from != (uint8_t)(GUARD_PATTERN >> 8 * ((uintptr_t)from % 8)))
            return from;
    }
    return NULL;
}

const uint8_t *guard_object_damage(const struct guard_object *object)
{
    uintptr_t page = ALIGN_DOWN(object->addr, PAGE_BYTES);
    const uint8_t *damage = guard_find_damage((const uint8_t *)page, (const uint8_t *)object->addr);

    if (damage != NULL)
        return damage;
    return guard_find_damage((const uint8_t *)(object->addr + object->bytes),
                             (const uint8_t *)(page + PAGE_BYTES));
}

/* ---- Events ---- */

/* Who called guard_alloc or guard_free, which call this. */
static NOINLINE void guard_event_note(struct guard_event *event)
{
    uintptr_t pcs[2 + GUARD_FRAMES]; /* this function and its caller are not wanted */
    size_t count = port_backtrace(pcs, ARRAY_COUNT(pcs));

    event->frame_count = (uint32_t)(count - MIN(count, 2ul));
    for (size_t i = 0; i < event->frame_count; i++)
        event->frames[i] = pcs[2 + i];
}

/* FNV-1a over the callers, by words: the same for objects of one cache and one site. */
static uint64_t guard_site(const struct guard_object *object)
{
    uint64_t hash = 0xcbf29ce484222325ull ^ (uintptr_t)object->cache;

    for (size_t i = 0; i < object->alloc.frame_count; i++)
        hash = (hash ^ object->alloc.frames[i]) * 0x100000001b3ull;
    return hash;
}

static void guard_event_number_locked(struct guard_event *event)
{
    event->number = ++guard_pool.events;
    event->cpu = port_cpu_id();
}

/* ---- Alloc and free ---- */

/* Give the object a slot and so an address, and map its page; NULL: none. */
static void *guard_place_locked(struct guard_object *object, size_t align, uint64_t site)
{
    size_t slot = guard_ring_take_locked(site);

    if (slot == GUARD_OBJECTS_MAX)
        return NULL;

    bool is_right = (random_next(&guard_pool.random) & 1ull << 63) != 0;
    struct guard_record *record = &guard_pool.records[slot];
    void *page = (void *)guard_page(slot);

    if (!port_guard_map(page, guard_pool.pages + slot * PAGE_BYTES)) {
        guard_ring_give_locked(record, record->state);
        return NULL;
    }
    guard_fill(page);
    object->addr =
        guard_page(slot) + (is_right ? ALIGN_DOWN(PAGE_BYTES - object->bytes, align) : 0);
    guard_event_number_locked(&object->alloc);
    record->object = *object;
    record->site = site;
    record->state = GUARD_LIVE;
    guard_pool.taken++;
    return (void *)object->addr;
}

void *guard_alloc(const char *cache_name, const void *owner, size_t bytes, size_t align)
{
    struct guard_object object = {.bytes = bytes, .cache = cache_name, .owner = owner};

    if (bytes - 1 >= PAGE_BYTES || !is_pow2(align) || align > PAGE_BYTES || guard_pool.slots == 0)
        return NULL;
    if (port_fault())
        return NULL;
    guard_event_note(&object.alloc);

    uint64_t site = guard_site(&object);
    unsigned long irq = port_lock(&guard_pool.lock);
    void *p = guard_place_locked(&object, align, site);

    port_unlock(&guard_pool.lock, irq);
    return p;
}

/* What is wrong with p as the start of an object in use? */
static enum guard_kind guard_refusal_locked(const struct guard_record *record, const void *p,
                                            enum guard_kind if_freed)
{
    if (record == NULL || record->object.addr != (uintptr_t)p)
        return GUARD_INVALID_FREE;
    return record->state == GUARD_LIVE ? GUARD_FINE : if_freed;
}

void guard_free(const char *caller, const void *owner, void *p)
{
    struct guard_record *record = guard_record_of((uintptr_t)p);
    struct guard_event event;
    unsigned long irq = port_lock(&guard_pool.lock);
    enum guard_kind kind = guard_refusal_locked(record, p, GUARD_DOUBLE_FREE);

    if (kind == GUARD_FINE && owner != NULL && owner != record->object.owner)
        kind = GUARD_WRONG_CACHE;
    if (kind == GUARD_FINE)
        record->state = GUARD_FREEING;
    port_unlock(&guard_pool.lock, irq);
    if (kind != GUARD_FINE)
        guard_misuse(caller, kind, p);

    const uint8_t *damage = guard_object_damage(&record->object);

    if (damage != NULL)
        guard_misuse(caller, GUARD_CORRUPTION, damage);
    port_guard_unmap((void *)ALIGN_DOWN((uintptr_t)p, PAGE_BYTES));
    guard_event_note(&event);

    irq = port_lock(&guard_pool.lock);
    guard_event_number_locked(&event);
    record->object.free = event;
    guard_ring_give_locked(record, GUARD_FREED);
    port_unlock(&guard_pool.lock, irq);
}

static struct guard_object guard_live_object(const char *caller, const void *p)
{
    const struct guard_record *record = guard_record_of((uintptr_t)p);
    struct guard_object object = {0};
    unsigned long irq = port_lock(&guard_pool.lock);
    enum guard_kind kind = guard_refusal_locked(record, p, GUARD_USE_AFTER_FREE);

    if (kind == GUARD_FINE)
        object = record->object;
    port_unlock(&guard_pool.lock, irq);
    if (kind != GUARD_FINE)
        guard_misuse(caller, kind == GUARD_INVALID_FREE ? GUARD_WILD : kind, p);
    return object;
}

size_t guard_object_bytes(const char *caller, const void *p)
{
    return guard_live_object(caller, p).bytes;
}

const void *guard_owner(const char *caller, const void *p)
{
    return guard_live_object(caller, p).owner;
}

/* ---- Start-up ---- */

/* All of the memory that the pool ever has; false: there is not so much. */
static bool guard_take_memory(size_t slots)
{
    size_t record_pages = ALIGN_UP(slots * sizeof(struct guard_record), PAGE_BYTES) / PAGE_BYTES;

    guard_pool.records = page_alloc(record_pages, PAGE_ZERO);
    if (guard_pool.records == NULL)
        return false;
    guard_pool.pages = page_alloc(slots, 0);
    if (guard_pool.pages == NULL) {
        page_free(guard_pool.records, record_pages);
        return false;
    }
    guard_pool.record_pages = record_pages;
    return true;
}

void guard_init(void)
{
    size_t slots = MIN(page_nodes_memory() / CHUNK_PAGES, GUARD_OBJECTS_MAX);

    if (port_setting_guard_rate() == 0 || slots == 0)
        return;

    void *base = port_guard_reserve();

    if (base == NULL || !guard_take_memory(slots)) {
        port_print("guard: off: no memory for %zu objects\n", slots);
        return;
    }
    guard_base = (uintptr_t)base;
    guard_pool.rate = port_setting_guard_rate();
    guard_pool.seed = port_setting_guard_seed() != 0 ? port_setting_guard_seed() : port_seed();
    guard_pool.random = random_start(guard_pool.seed, 0);
    for (size_t slot = 0; slot < slots; slot++)
        guard_pool.ring[slot] = (uint16_t)slot;
    guard_pool.ring_count = slots;
    guard_pool.slots = slots;
    port_explain_faults(guard_explain_fault);
}
