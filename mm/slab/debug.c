/*
 * Debugging of slots: what is laid into one, and compared, at each step of its life.
 *
 *     new span    red zones, poison or sum           slab_debug_new
 *        |
 *     handed out  compared; red zone from the last byte asked for to the object's end
 *        |
 *     resized     compared; that part of the red zone anew
 *        |
 *     freed       compared; poison or sum, token    slab_debug_free
 *        |
 *     quarantine  compared when it ends; then free in its span, handed out again or its span goes
 *                 back to the page heap: compared
 *
 * The red zone before an object and the one behind its last byte are laid once: nobody writes there.
 *
 * The theory stands in mm/slab/debug.h, reports in debug_report.c, the quarantine in quarantine.c.
 */
#include "mm/slab/debug.h"
#include "kernel/base/string.h"
#include "mm/slab/sites.h"

#define DEBUG_TOKEN_BYTES sizeof(uint64_t) /* at a slot's start */
#define DEBUG_OWN_FRAMES  8u               /* of a backtrace: the slab allocator's, at most */

static const char debug_letters[] = {'r', 'p', 'q', 't', 's'}; /* by bit of enum slab_debug */

_Static_assert(SLAB_DEBUG_SITES == 1 << (ARRAY_COUNT(debug_letters) - 1), "a letter for each");

static unsigned debug_large_flags; /* [C] enum slab_debug, of large objects */

/* ---- Where a central is made ---- */

unsigned slab_debug_flags(const char *name)
{
    unsigned flags = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(debug_letters); i++) {
        if (port_setting_slab_debug(debug_letters[i], name))
            flags |= 1u << i;
    }
    return flags;
}

void slab_debug_init(void)
{
    debug_large_flags = slab_debug_flags("kmalloc-large");
    slab_quarantine_init();
    if (slab_debug_flags(NULL) & SLAB_DEBUG_SITES)
        slab_sites_init();
}

static size_t debug_record_bytes(unsigned flags)
{
    return flags & SLAB_DEBUG_TRACE ? sizeof(struct slab_record)
                                    : offsetof(struct slab_record, alloc);
}

struct slot_layout slab_debug_layout(unsigned flags, size_t object_bytes, size_t align,
                                     uint32_t *object_shift, uint32_t *record_offset)
{
    size_t red_bytes = flags & SLAB_DEBUG_REDZONE ? SLAB_RED_BYTES : 0;
    size_t record_bytes = debug_record_bytes(flags);
    size_t shift = ALIGN_UP(DEBUG_TOKEN_BYTES + red_bytes, align);
    size_t used = shift + ALIGN_UP(object_bytes + red_bytes, sizeof(uint64_t)) + record_bytes;
    size_t slot_bytes = ALIGN_UP(used, align);

    *object_shift = (uint32_t)shift;
    *record_offset = (uint32_t)(slot_bytes - shift - record_bytes);
    return slot_layout_of(slot_bytes);
}

void slab_debug_setup(struct central *central, size_t align)
{
    unsigned flags = slab_debug_flags(central->name);

    if (flags == 0)
        return;
    central->debug_flags = (uint8_t)flags;
    central->owner.layout = slab_debug_layout(flags, central->object_bytes, align,
                                              &central->object_shift, &central->record_offset);
    central->owner.key = CENTRAL_NUMBERLESS_KEY;
    central->magazine_max = 0;
}

/* ---- What is compared ---- */

/* Bytes first .. last of an object, some of them, are not as they should be. */
struct debug_damage {
    ptrdiff_t first, last;
};

/* Are bytes [from, to) of an object `value`, each? */
static bool debug_is_filled(const void *object, ptrdiff_t from, ptrdiff_t to, uint8_t value,
                            struct debug_damage *damage)
{
    const uint8_t *at = object;

    if (from >= to || (at[from] == value && memcmp(at + from, at + from + 1, to - from - 1) == 0))
        return true;
    while (at[from] == value)
        from++;
    while (at[to - 1] == value)
        to--;
    *damage = (struct debug_damage){.first = from, .last = to - 1};
    return false;
}

/* From an object's start: the first byte behind the token. */
static ptrdiff_t debug_red_start(const struct central *central)
{
    return (ptrdiff_t)DEBUG_TOKEN_BYTES - (ptrdiff_t)central->object_shift;
}

/* The red zones of an object of `bytes`. */
static bool debug_has_red_zones(const struct central *central, const void *object, size_t bytes,
                                struct debug_damage *damage)
{
    if (!(central->debug_flags & SLAB_DEBUG_REDZONE))
        return true;
    return debug_is_filled(object, debug_red_start(central), 0, SLAB_RED, damage) &&
           debug_is_filled(object, (ptrdiff_t)bytes, central->record_offset, SLAB_RED, damage);
}

static bool debug_has_poison(const struct central *central, const void *object,
                             struct debug_damage *damage)
{
    ptrdiff_t end = central->object_bytes;

    return debug_is_filled(object, 0, end - 1, SLAB_POISON, damage) &&
           debug_is_filled(object, end - 1, end, SLAB_POISON_END, damage);
}

/* FNV-1a */
static uint64_t debug_sum(const struct central *central, const void *object)
{
    const uint8_t *at = object;
    uint64_t sum = 0xcbf29ce484222325ull;

    for (uint32_t i = 0; i < central->object_bytes; i++)
        sum = (sum ^ at[i]) * 0x100000001b3ull;
    return sum;
}

/* An object in use, of `bytes`. */
static void debug_verify_live(const char *name, const struct central *central, const void *object,
                              size_t bytes)
{
    struct debug_damage damage;

    if (!debug_has_red_zones(central, object, bytes, &damage))
        slab_report_bounds(name, object, bytes, damage.first, damage.last);
}

static void debug_verify_free(const char *name, const struct central *central, const void *object)
{
    struct debug_damage damage;

    if (!debug_has_red_zones(central, object, central->object_bytes, &damage))
        slab_report_written(name, object, damage.first, damage.last);
    if (!(central->debug_flags & SLAB_DEBUG_POISON))
        return;
    if (central->ctor == NULL && !debug_has_poison(central, object, &damage))
        slab_report_written(name, object, damage.first, damage.last);
    if (central->ctor != NULL && slab_record(central, object)->sum != debug_sum(central, object))
        slab_report_changed(name, object);
}

void slab_debug_verify(const char *name, const struct central *central, const void *object)
{
    const struct slab_record *record = slab_record(central, object);

    switch (atomic_load_explicit(&record->state, memory_order_acquire)) {
    case SLAB_STATE_LIVE:
        debug_verify_live(name, central, object, record->bytes);
        break;
    case SLAB_STATE_NEW:
    case SLAB_STATE_FREED:
    case SLAB_STATE_HELD:
        debug_verify_free(name, central, object);
        break;
    default: /* whoever wrote there may have come by way of the red zone; what was asked for is lost */
        debug_verify_live(name, central, object, central->object_bytes);
        slab_report_record(name, central, object);
    }
}

/* ---- What is laid ---- */

static void debug_fill(void *object, ptrdiff_t from, ptrdiff_t to, uint8_t value)
{
    memset((uint8_t *)object + from, value, (size_t)(to - from));
}

/* A free object's own bytes. */
static void debug_lay_free(struct central *central, void *object)
{
    ptrdiff_t end = central->object_bytes;

    if (!(central->debug_flags & SLAB_DEBUG_POISON))
        return;
    if (central->ctor != NULL) {
        slab_record(central, object)->sum = debug_sum(central, object);
        return;
    }
    debug_fill(object, 0, end - 1, SLAB_POISON);
    debug_fill(object, end - 1, end, SLAB_POISON_END);
}

/* The object has so many bytes; those behind are red zone. */
static void debug_lay_end(struct central *central, void *object, size_t bytes)
{
    slab_record(central, object)->bytes = (uint32_t)bytes;
    if (central->debug_flags & SLAB_DEBUG_REDZONE)
        debug_fill(object, (ptrdiff_t)bytes, central->object_bytes, SLAB_RED);
}

/* The callers, from `caller` on; all of them if it is not there. */
static NOINLINE void debug_trace(struct slab_trace *trace, uintptr_t caller)
{
    uintptr_t pcs[DEBUG_OWN_FRAMES + SLAB_TRACE_FRAMES];
    size_t count = port_backtrace(pcs, ARRAY_COUNT(pcs)), first = 0;

    while (first < count && pcs[first] != caller)
        first++;
    if (first == count)
        first = 0;
    for (size_t i = 0; i < SLAB_TRACE_FRAMES; i++)
        trace->pcs[i] = first + i < count ? pcs[first + i] : 0;
}

/* ---- The steps of a slot's life ---- */

void slab_debug_new(struct central *central, void *object)
{
    struct slab_record *record = slab_record(central, object);

    memset(record, 0, debug_record_bytes(central->debug_flags));
    if (central->debug_flags & SLAB_DEBUG_REDZONE) {
        debug_fill(object, debug_red_start(central), 0, SLAB_RED);
        debug_fill(object, central->object_bytes, central->record_offset, SLAB_RED);
    }
    debug_lay_free(central, object);
    atomic_store_explicit(&record->state, SLAB_STATE_NEW, memory_order_release);
}

void slab_debug_alloc(struct central *central, void *object, size_t bytes, uintptr_t caller)
{
    struct slab_record *record = slab_record(central, object);

    slab_debug_verify("slab", central, object);
    debug_lay_end(central, object, bytes);
    record->alloc_cpu = (uint16_t)port_cpu_id();
    if (central->debug_flags & SLAB_DEBUG_TRACE) {
        debug_trace(&record->alloc, caller);
        record->free.pcs[0] = 0;
    }
    if (central->debug_flags & SLAB_DEBUG_SITES) {
        record->site = slab_site_of(caller);
        slab_site_add(record->site, bytes);
    }
    atomic_store_explicit(&record->state, SLAB_STATE_LIVE, memory_order_release);
}

/* Not live: a free that came before, or a record that was written over. */
static COLD void debug_free_misuse(const char *name, const struct central *central,
                                   const void *object, uint32_t state)
{
    if (state == SLAB_STATE_NEW || state == SLAB_STATE_FREED || state == SLAB_STATE_HELD)
        slab_misuse(name, object, SLAB_DOUBLE_FREE);
    slab_debug_verify(name, central, object);
}

void slab_debug_free(const char *name, struct central *central, void *object, uintptr_t caller)
{
    struct slab_record *record = slab_record(central, object);
    bool is_held = central->debug_flags & SLAB_DEBUG_QUARANTINE;
    uint32_t state = SLAB_STATE_LIVE;
    unsigned long irq;

    if (!atomic_compare_exchange_strong_explicit(&record->state, &state,
                                                 is_held ? SLAB_STATE_HELD : SLAB_STATE_FREED,
                                                 memory_order_acq_rel, memory_order_acquire))
        debug_free_misuse(name, central, object, state);
    debug_verify_live(name, central, object, record->bytes);

    irq = port_irq_save();
    record->free_cpu = (uint16_t)port_cpu_id();
    port_irq_restore(irq);
    if (central->debug_flags & SLAB_DEBUG_TRACE)
        debug_trace(&record->free, caller);
    if (central->debug_flags & SLAB_DEBUG_SITES)
        slab_site_sub(record->site, record->bytes);
    debug_lay_free(central, object);

    void *slot = slab_slot_of(central, object);

    slab_set_token(slot);
    if (is_held)
        slab_quarantine_put(central, object);
    else
        central_give(central, 1, &slot);
}

void slab_debug_resize(const char *name, struct central *central, void *object, size_t bytes)
{
    struct slab_record *record = slab_record(central, object);

    slab_debug_verify(name, central, object);
    if (central->debug_flags & SLAB_DEBUG_SITES)
        slab_site_resize(record->site, record->bytes, bytes);
    debug_lay_end(central, object, bytes);
}

/* ---- Large objects: the site stands in the link of the list that they are not on ---- */

void slab_debug_large_alloc(struct span *span, uintptr_t caller)
{
    if (!(debug_large_flags & SLAB_DEBUG_SITES))
        return;

    struct slab_site *site = slab_site_of(caller);

    span->next = (struct span *)site;
    slab_site_add(site, span_bytes(span));
}

struct slab_site *slab_debug_large_site(const struct span *span)
{
    return (struct slab_site *)span->next;
}

void slab_debug_large_free(struct slab_site *site, size_t span_bytes)
{
    if (site != NULL)
        slab_site_sub(site, span_bytes);
}

void slab_debug_large_resize(struct span *span, size_t bytes_before)
{
    struct slab_site *site = slab_debug_large_site(span);

    if (site != NULL)
        slab_site_resize(site, bytes_before, span_bytes(span));
}
