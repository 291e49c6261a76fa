/*
 * Spans and the table that finds them.  The theory stands in mm/span/span.h, the descriptors' pool
 * in mm/span/desc.c, the slots in mm/span/slots.c.
 *
 * A span becomes findable by its table entries, stored with release order as the last step of its
 * creation, and ceases to be by the first step of its destruction.  That step is one atomic
 * exchange of the first granule's entry, so of two CPUs that destroy a span at once (a large object
 * freed twice) exactly one goes on.
 *
 * Table entries of a destroyed span are not cleared but made tombstones:
 *
 *     | SPAN_CLASS_FREED | granule's index in the span, 40 bits | unused | span class |
 *      63              56 55                                  16 15     8 7          0
 */
#include "mm/page/arena.h"
#include "mm/span/span_impl.h"

#define SPAN_ARENA_GRANULES (ARENA_BYTES / GRANULE_BYTES)

PORT_STAT(span, create_failed);

_Atomic uint64_t *span_table;
size_t span_table_count;

static _Atomic size_t span_live_bytes; /* [A] relaxed: bytes of all spans */

void span_init(void)
{
    span_table = page_arena_table("spans", SPAN_ARENA_GRANULES * sizeof(uint64_t));
    span_table_count = page_arena_limit() * SPAN_ARENA_GRANULES;
}

static _Atomic uint64_t *span_entries(const struct span *span)
{
    return &span_table[(span->base - port_direct_base()) / GRANULE_BYTES];
}

static uint64_t span_pack(const struct span *span)
{
    return (uint64_t)span->span_class << SPAN_ENTRY_SHIFT |
           ((uintptr_t)span & ((1ull << SPAN_ENTRY_SHIFT) - 1));
}

static uint64_t span_tombstone(unsigned span_class, size_t granule_idx)
{
    return (uint64_t)SPAN_CLASS_FREED << SPAN_ENTRY_SHIFT |
           (granule_idx << 16 & ((1ull << SPAN_ENTRY_SHIFT) - 1)) | span_class;
}

/* A span whose pages and descriptor are there and that nobody can find yet. */
static struct span *span_acquire(size_t granules, size_t align_pages, unsigned page_flags)
{
    struct span *span = span_desc_take();
    if (span == NULL)
        goto fail;

    void *run = page_alloc_aligned(granules * GRANULE_PAGES, align_pages, 0, page_flags);
    if (run == NULL)
        goto give_desc;

    *span = (struct span){.base = (uintptr_t)run, .granules = (uint32_t)granules};
    return span;

give_desc:
    span_desc_give(span);
fail:
    port_stat_inc(span, create_failed);
    return NULL;
}

static void span_publish(struct span *span)
{
    _Atomic uint64_t *entries = span_entries(span);
    uint64_t entry = span_pack(span);

    for (size_t i = 0; i < span->granules; i++)
        atomic_store_explicit(&entries[i], entry, memory_order_release);
    atomic_fetch_add_explicit(&span_live_bytes, span_bytes(span), memory_order_relaxed);
}

struct span *span_create_slots(const struct slot_layout *layout, unsigned span_class, void *owner)
{
    struct span *span = span_acquire(layout->granules, GRANULE_PAGES, 0);

    if (span == NULL)
        return NULL;
    span->slot_magic = layout->slot_magic;
    span->slot_bytes = layout->slot_bytes;
    span->slot_limit = (uint64_t)layout->slot_count << 32;
    span->span_class = (uint8_t)span_class;
    span->owner = owner;
    span_free_all_slots(span);
    span_publish(span);
    return span;
}

struct span *span_create_large(size_t bytes, size_t align_pages, unsigned page_flags)
{
    size_t granules = bytes / GRANULE_BYTES + (bytes % GRANULE_BYTES != 0);

    if (granules > MIN(UINT32_MAX, PAGE_RUN_MAX / GRANULE_PAGES))
        return NULL;

    struct span *span = span_acquire(granules, MAX(align_pages, GRANULE_PAGES), page_flags);

    if (span != NULL)
        span_publish(span);
    return span;
}

bool span_destroy(struct span *span)
{
    _Atomic uint64_t *entries = span_entries(span);
    uint64_t expected = span_pack(span);
    unsigned span_class = span->span_class;
    size_t granules = span->granules;
    void *base = (void *)span->base;

    if (!atomic_compare_exchange_strong_explicit(&entries[0], &expected,
                                                 span_tombstone(span_class, 0),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    for (size_t i = 1; i < granules; i++)
        atomic_store_explicit(&entries[i], span_tombstone(span_class, i), memory_order_release);
    atomic_fetch_sub_explicit(&span_live_bytes, granules * GRANULE_BYTES, memory_order_relaxed);
    span_desc_give(span);
    page_free(base, granules * GRANULE_PAGES);
    return true;
}

bool span_last_slot(const void *addr, unsigned *span_class)
{
    uint64_t entry = span_entry(addr);
    unsigned last = entry & 0xff;

    if (span_entry_class(entry) != SPAN_CLASS_FREED || last >= SIZE_CLASS_COUNT)
        return false;

    size_t granule_idx = entry << 8 >> 24;
    size_t offset = granule_idx * GRANULE_BYTES + (uintptr_t)addr % GRANULE_BYTES;
    const struct slot_layout *layout = &size_class_layout[last];

    *span_class = last;
    if (last == SPAN_CLASS_LARGE)
        return offset == 0;
    return offset % layout->slot_bytes == 0 && offset / layout->slot_bytes < layout->slot_count;
}

struct span_stats span_stats(void)
{
    return (struct span_stats){
        .spans = span_desc_live(),
        .span_bytes = span_bytes_now(),
        .desc_bytes = span_desc_bytes(),
        .table_bytes = page_arena_table_bytes((const void *)span_table),
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
    port_print("span %p: base 0x%zx, %u granules, class %u, %u slots of %u bytes, %u free\n",
               (const void *)span, (size_t)span->base, span->granules, span->span_class,
               span_slot_count(span), span->slot_bytes, span->free_count);
    port_panic("span_check: %s broken", invariant);
}

void span_check(const struct span *span)
{
    size_t map_bytes = slot_map_words(span_slot_count(span)) * sizeof(uint64_t);
    size_t slot_bytes = (size_t)span_slot_count(span) * span->slot_bytes;

    span_require(IS_ALIGNED(span->base, GRANULE_BYTES) && span->granules > 0, span, "S1");
    span_require(slot_bytes + map_bytes <= span_bytes(span), span, "S2");
    span_require(span_count_free_slots(span) == span->free_count, span, "S3");

    _Atomic uint64_t *entries = span_entries(span);
    bool all_lead_here = true;

    for (size_t i = 0; i < span->granules; i++)
        all_lead_here &= atomic_load(&entries[i]) == span_pack(span);
    span_require(all_lead_here, span, "S4");
}

void span_check_all(void)
{
    size_t spans = 0, bytes = 0;

    for (size_t i = 0; i < span_table_count;) {
        struct span *span = span_of((void *)(port_direct_base() + i * GRANULE_BYTES));

        if (span == NULL) {
            i++;
            continue;
        }
        span_require(span->base == port_direct_base() + i * GRANULE_BYTES, span, "S4");
        span_check(span);
        spans++;
        bytes += span_bytes(span);
        i += span->granules;
    }
    CHECK(spans == span_desc_live());
    CHECK(bytes == atomic_load(&span_live_bytes));
}
