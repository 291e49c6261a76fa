/*
 * Spans and the table that finds them.  The theory stands in mm/span/span.h, the descriptors' pool
 * in mm/span/pool.c, the slots in mm/span/slots.c.
 *
 * A span becomes findable by its table entries, stored with release order as the last step of its
 * creation, and ceases to be by the first step of its destruction.  That step is one atomic
 * exchange of the first granule's entry, so of two CPUs that destroy a span at once (a large object
 * freed twice) exactly one goes on.
 *
 * Table entries of a destroyed span are not cleared but made to lead to a descriptor that says of
 * which span class the last one was.
 */
#include "mm/page/arena.h"
#include "mm/span/pool.h"
#include "mm/span/span_impl.h"

#define SPAN_ARENA_GRANULES (ARENA_BYTES / GRANULE_BYTES)
#define SPAN_TABLE_HALF     (1ul << (SPAN_ADDRESS_BITS - 1 - SPAN_GRANULE_SHIFT)) /* entries */

_Static_assert(1ul << SPAN_GRANULE_SHIFT == GRANULE_BYTES, "an entry for a granule");
_Static_assert(sizeof(struct span) == 64, "a descriptor is one cache line");

PORT_STAT(span, create_failed);

_Atomic uint64_t *span_table;

#define SPAN_WITHOUT_SLOTS(class)         \
    {                                     \
        .bias = 1, .span_class = (class), \
    }

const struct span span_none = SPAN_WITHOUT_SLOTS(SPAN_CLASS_NONE);

/* What the table leads to where a span was, by its class; filled by span_init. */
static struct span span_freed[SPAN_CLASS_CACHE + 1];

/* Descriptors of the collected heap are longer, so they are never taken for others, or others for them. */
static struct pool span_pool = POOL_INIT(SPAN_DESC, sizeof(struct span));
static struct pool span_collected_pool = POOL_INIT(SPAN_DESC, SPAN_COLLECTED_BYTES);

static struct pool *span_pool_for(unsigned span_class)
{
    return span_class_is_collected(span_class) ? &span_collected_pool : &span_pool;
}

static _Atomic size_t span_live_bytes; /* [A] relaxed: bytes of all spans */

/* The entry that leads to a descriptor. */
static uint64_t span_entry(const struct span *span)
{
    return (uintptr_t)span - (uintptr_t)&span_none;
}

static _Atomic uint64_t *span_entries(uintptr_t start)
{
    return &span_table[(intptr_t)start >> SPAN_GRANULE_SHIFT];
}

void span_init(void)
{
    char *table = port_table_reserve(2 * SPAN_TABLE_HALF * sizeof(*span_table));

    if (table == NULL)
        port_panic("span_init: no addresses for the table of spans");
    span_table = (_Atomic uint64_t *)table + SPAN_TABLE_HALF;
    for (unsigned class = 0; class < ARRAY_COUNT(span_freed); class ++) {
        span_freed[class] = (struct span)SPAN_WITHOUT_SLOTS(SPAN_CLASS_FREED);
        span_freed[class].index = (uint16_t) class;
    }
    page_arena_table_at("spans", (void *)span_entries(port_direct_base()),
                        SPAN_ARENA_GRANULES * sizeof(*span_table));
}

/* A span whose pages and descriptor are there and that nobody can find yet. */
static struct span *span_acquire(unsigned span_class, size_t granules, size_t align_pages,
                                 uintptr_t limit, unsigned page_flags)
{
    struct span *span = pool_take(span_pool_for(span_class));
    if (span == NULL)
        goto fail;

    void *run = page_alloc_aligned(granules * GRANULE_PAGES, align_pages, limit, page_flags);
    if (run == NULL)
        goto give_desc;

    *span = (struct span){.base = (uintptr_t)run, .bias = 1, .span_class = (uint8_t)span_class};
    return span;

give_desc:
    pool_give(span_pool_for(span_class), span);
fail:
    port_stat_inc(span, create_failed);
    return NULL;
}

void span_publish(struct span *span)
{
    _Atomic uint64_t *entries = span_entries(span->base);
    uint64_t entry = span_entry(span);
    size_t granules = span_granules(span);

    for (size_t i = 0; i < granules; i++)
        atomic_store_explicit(&entries[i], entry, memory_order_release);
    atomic_fetch_add_explicit(&span_live_bytes, granules * GRANULE_BYTES, memory_order_relaxed);
}

struct span *span_new_slots(const struct span_owner *owner, unsigned page_flags, uintptr_t limit)
{
    const struct slot_layout *layout = &owner->layout;
    struct span *span =
        span_acquire(owner->span_class, layout->granules, GRANULE_PAGES, limit, page_flags);

    if (span == NULL)
        return NULL;
    span->magic = layout->slot_magic;
    span->bias = span->base * layout->slot_magic + owner->key;
    span->index = owner->index;
    span->owner = owner;
    span_free_all_slots(span);
    return span;
}

struct span *span_new_large(unsigned span_class, size_t bytes, size_t align_pages,
                            unsigned page_flags)
{
    size_t granules = bytes / GRANULE_BYTES + (bytes % GRANULE_BYTES != 0);

    if (granules > PAGE_RUN_MAX / GRANULE_PAGES)
        return NULL;

    struct span *span =
        span_acquire(span_class, granules, MAX(align_pages, GRANULE_PAGES), 0, page_flags);

    if (span != NULL)
        span->free_word = granules;
    return span;
}

struct span *span_create_slots(const struct span_owner *owner, unsigned page_flags, uintptr_t limit)
{
    struct span *span = span_new_slots(owner, page_flags, limit);

    if (span != NULL)
        span_publish(span);
    return span;
}

struct span *span_create_large(size_t bytes, size_t align_pages, unsigned page_flags)
{
    struct span *span = span_new_large(SPAN_CLASS_LARGE, bytes, align_pages, page_flags);

    if (span != NULL)
        span_publish(span);
    return span;
}

bool span_extend_large(struct span *span, size_t granules)
{
    size_t had = span_granules(span), more = granules - had;
    _Atomic uint64_t *entries = span_entries(span->base);

    if (granules > PAGE_RUN_MAX / GRANULE_PAGES ||
        !page_extend((void *)span->base, had * GRANULE_PAGES, more * GRANULE_PAGES))
        return false;
    span->free_word = granules;
    for (size_t i = had; i < granules; i++)
        atomic_store_explicit(&entries[i], span_entry(span), memory_order_release);
    atomic_fetch_add_explicit(&span_live_bytes, more * GRANULE_BYTES, memory_order_relaxed);
    return true;
}

bool span_withdraw(struct span *span)
{
    size_t granules = span_granules(span);
    _Atomic uint64_t *entries = span_entries(span->base);
    uint64_t expected = span_entry(span);
    uint64_t freed = span_entry(&span_freed[span->span_class]);

    if (!atomic_compare_exchange_strong_explicit(&entries[0], &expected, freed,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    for (size_t i = 1; i < granules; i++)
        atomic_store_explicit(&entries[i], freed, memory_order_release);
    return true;
}

void span_release(struct span *span)
{
    uintptr_t start = span->base;
    size_t granules = span_granules(span);

    atomic_fetch_sub_explicit(&span_live_bytes, granules * GRANULE_BYTES, memory_order_relaxed);
    pool_give(span_pool_for(span->span_class), span);
    page_free((void *)start, granules * GRANULE_PAGES);
}

bool span_destroy(struct span *span)
{
    if (!span_withdraw(span))
        return false;
    span_release(span);
    return true;
}

bool span_last_slot(const void *addr, unsigned *span_class)
{
    const struct span *span;

    if (!span_is_canonical(addr) || !span_near(addr, &span))
        return false;
    *span_class = span->index;
    return span->span_class == SPAN_CLASS_FREED;
}

void span_hold_descriptors(bool are_held)
{
    pool_hold(&span_pool, are_held);
    pool_hold(&span_collected_pool, are_held);
}

void span_drain(void)
{
    pool_drain(&span_pool);
    pool_drain(&span_collected_pool);
}

struct span_stats span_stats(void)
{
    return (struct span_stats){
        .spans = pool_live(&span_pool) + pool_live(&span_collected_pool),
        .span_bytes = span_bytes_now(),
        .desc_bytes = pool_bytes(&span_pool) + pool_bytes(&span_collected_pool),
        .table_bytes = page_arena_table_bytes((const void *)span_entries(port_direct_base())),
    };
}

size_t span_bytes_now(void)
{
    return atomic_load_explicit(&span_live_bytes, memory_order_relaxed);
}

/* ---- Checks ---- */

static void span_require(bool holds, const struct span *span, const char *invariant)
{
    if (holds)
        return;
    port_print("span %p: base 0x%zx, %zu granules, class %u, %u slots of %zu bytes, %u free\n",
               (const void *)span, (size_t)span->base, span_granules(span), span->span_class,
               span_slot_count(span), span_slot_bytes(span), span->free_count);
    port_panic("span_check: %s broken", invariant);
}

/* The magic and bias that a span shall have. */
static bool span_is_tuned(const struct span *span)
{
    if (span->owner == NULL)
        return span->magic == 0 && span->bias == 1;
    return span->magic == span->owner->layout.slot_magic &&
           span->bias == span->base * span->magic + span->owner->key;
}

void span_check(const struct span *span)
{
    size_t map_bytes = slot_map_words(span_slot_count(span)) * sizeof(uint64_t);
    size_t slot_bytes = span_slot_count(span) * span_slot_bytes(span);

    span_require(IS_ALIGNED(span->base, GRANULE_BYTES) && span_granules(span) > 0, span, "S1");
    span_require(slot_bytes + map_bytes <= span_bytes(span), span, "S2");
    span_require(span->owner == NULL || span_count_free_slots(span) == span->free_count, span,
                 "S3");
    span_require(span_is_tuned(span), span, "S5");

    _Atomic uint64_t *entries = span_entries(span->base);
    bool all_lead_here = true;

    for (size_t i = 0; i < span_granules(span); i++)
        all_lead_here &= atomic_load(&entries[i]) == span_entry(span);
    span_require(all_lead_here, span, "S4");
}

void span_check_all(void)
{
    size_t spans = 0, bytes = 0, limit = page_arena_limit() * ARENA_BYTES;

    for (size_t offset = 0; offset < limit;) {
        uintptr_t start = port_direct_base() + offset;
        struct span *span = span_of((void *)start);

        if (span == NULL) {
            offset += GRANULE_BYTES;
            continue;
        }
        span_require(span->base == start, span, "S4");
        span_check(span);
        spans++;
        bytes += span_bytes(span);
        offset += span_bytes(span);
    }
    CHECK(spans == pool_live(&span_pool) + pool_live(&span_collected_pool));
    CHECK(bytes == atomic_load(&span_live_bytes));
}
