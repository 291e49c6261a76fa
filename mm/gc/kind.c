/*
 * Kinds: one for each size class and layout that is in use.
 *
 * Types whose slots are of one class and have pointers at the same places share a kind, so their objects
 * share spans and magazines.  The first SIZE_CLASS_COUNT kinds are those without pointers, one a class;
 * others are made at their first use and stay.  Where there is no room for more, the conservative kind of
 * the class does for any type: only more is kept alive.
 *
 * An object of 8 bytes has 16, or a part of a block with others: so a span has at most 500 slots.
 *
 * Locks: gc_heap.lock for making one; who has its index reads without.
 */
#include "kernel/base/bits.h"
#include "mm/gc/gc_impl.h"

#define GC_OWNER_KEY (0xfffdull * SPAN_KEY_UNIT) /* of no kmem_cache: kfree refuses */
#define GC_MAPS      3u                          /* free, marked, scanned */

#define KIND_SWEEP_SPANS 10u /* of one, before the next one is looked at */

#define GC_FILL_BYTES 8192u /* what a magazine is filled with, about */

static const struct gc_run kind_every_word[] = {{0, 1}};

static struct gc_kind kind_table[GC_KIND_MAX];
_Atomic bool gc_is_black;

/* Of a size class, with room for the maps behind the slots of the smaller ones. */
static struct slot_layout kind_slots(unsigned class)
{
    struct slot_layout layout = size_class_layout[class];
    size_t bytes = layout.granules * GRANULE_BYTES;
    size_t count = bytes / layout.slot_bytes;

    if (count > 64)
        count = (bytes - GC_MAPS * slot_map_words((unsigned)count) * sizeof(uint64_t)) /
                layout.slot_bytes;
    layout.slot_count = (uint16_t)count;
    layout.slot_magic = SLOT_MAGIC(layout.slot_bytes, count);
    return layout;
}

/* Bits for the words of a slot that hold pointers of elements. */
static uint64_t kind_mask(const struct gc_layout *layout, size_t slot_bytes)
{
    uint64_t mask = 0;

    for (size_t start = 0; layout->run_count != 0 && start < slot_bytes; start += layout->stride) {
        for (unsigned i = 0; i < layout->run_count; i++) {
            size_t word = (start + layout->runs[i].offset) / sizeof(void *);
            size_t end = MIN(word + layout->runs[i].words, slot_bytes / sizeof(void *));

            for (; word < end; word++)
                mask |= 1ull << word;
        }
    }
    return mask;
}

static bool kind_is_small(const struct gc_kind *kind)
{
    return kind->owner.layout.slot_bytes <= GC_MASK_WORDS * sizeof(void *);
}

static bool kind_has_layout(const struct gc_kind *kind, const struct gc_layout *layout)
{
    if (kind->layout.is_conservative || layout->is_conservative)
        return kind->layout.is_conservative == layout->is_conservative;
    if (kind_is_small(kind))
        return kind->layout.mask == kind_mask(layout, kind->owner.layout.slot_bytes);
    return kind->layout.stride == layout->stride && kind->layout.runs == layout->runs;
}

static unsigned kind_class(const struct gc_kind *kind)
{
    return kind->owner.span_class % SIZE_CLASS_COUNT;
}

static struct gc_kind *kind_find(unsigned class, const struct gc_layout *layout)
{
    unsigned count = atomic_load_explicit(&gc_heap.kind_count, memory_order_acquire);

    if (layout->run_count == 0 && !layout->is_conservative)
        return gc_kind_at(class);
    for (unsigned index = SIZE_CLASS_COUNT; index < count; index++) {
        if (kind_class(gc_kind_at(index)) == class && kind_has_layout(gc_kind_at(index), layout))
            return gc_kind_at(index);
    }
    return NULL;
}

/* gc_heap.lock is held, or it is start-up. */
static void kind_init(struct gc_kind *kind, unsigned index, unsigned class,
                      const struct gc_layout *layout)
{
    bool has_pointers = layout->run_count != 0 || layout->is_conservative;

    *kind = (struct gc_kind){
        .owner =
            {
                .layout = kind_slots(class),
                .key = GC_OWNER_KEY,
                .index = (uint16_t)index,
                .span_class = (uint8_t)((has_pointers ? GC_CLASS_SCAN : GC_CLASS_NOSCAN) + class),
            },
        .layout = *layout,
        .lock = PORT_LOCK_INIT(GC_KIND),
        .is_black = atomic_load_explicit(&gc_is_black, memory_order_relaxed),
    };
    kind->capacity =
        (unsigned)MIN(MAX(GC_FILL_BYTES / kind->owner.layout.slot_bytes, 1u), SEQ_MAGAZINE_SLOTS);
    if (kind_is_small(kind)) {
        kind->layout.mask = kind_mask(layout, kind->owner.layout.slot_bytes);
        if ((kind->layout.mask & (kind->layout.mask + 1)) == 0)
            kind->layout.front = bit_count(kind->layout.mask);
    }
    atomic_store_explicit(&gc_heap.kinds[index], kind, memory_order_relaxed);
}

static struct gc_kind *kind_make(unsigned class, const struct gc_layout *layout)
{
    unsigned long irq = port_lock(&gc_heap.lock);
    unsigned index = atomic_load_explicit(&gc_heap.kind_count, memory_order_relaxed);
    struct gc_kind *kind = kind_find(class, layout); /* another may have been faster */

    if (kind == NULL && index < GC_KIND_MAX) {
        kind = &kind_table[index];
        kind_init(kind, index, class, layout);
        atomic_store_explicit(&gc_heap.kind_count, index + 1, memory_order_release);
    }
    port_unlock(&gc_heap.lock, irq);
    return kind;
}

struct gc_kind *gc_kind_for(unsigned class, const struct gc_layout *layout)
{
    struct gc_kind *kind = kind_find(class, layout);

    return kind != NULL ? kind : kind_make(class, layout);
}

void gc_layout_of(const struct gc_type *type, struct gc_layout *layout)
{
    *layout = (struct gc_layout){
        .stride = type->bytes,
        .run_count = type->run_count,
        .runs = type->runs,
        .is_conservative = (type->flags & GC_CONSERVATIVE) != 0,
    };
    /* Of pointers only, as arrays of them are: the same whatever their number. */
    if (type->pointer_count != 0 && type->pointer_count == type->bytes / sizeof(void *)) {
        layout->stride = sizeof(void *);
        layout->run_count = 1;
        layout->runs = kind_every_word;
    }
}

/* At start-up: the kinds without pointers; no memory is needed. */
void gc_kinds_init(void)
{
    const struct gc_layout no_pointers = {.stride = sizeof(void *)};

    kind_init(&kind_table[GC_TINY_KIND], GC_TINY_KIND, size_class_of(GC_TINY_BLOCK), &no_pointers);
    for (unsigned class = GC_TINY_KIND + 1; class < SIZE_CLASS_COUNT; class ++)
        kind_init(&kind_table[class], class, class, &no_pointers);
    atomic_store_explicit(&gc_heap.kind_count, SIZE_CLASS_COUNT, memory_order_release);
    for (struct gc_type *const *type = __start_gc_types; type < __stop_gc_types; type++)
        atomic_store_explicit(&(*type)->index, 0, memory_order_relaxed);
}

void gc_kinds_blacken(void)
{
    unsigned long irq = port_lock(&gc_heap.lock);

    atomic_store_explicit(&gc_is_black, true, memory_order_relaxed);
    port_unlock(&gc_heap.lock, irq);
    for (unsigned index = 1; index < gc_kind_count(); index++)
        gc_kind_blacken(gc_kind_at(index));
    gc_large_blacken();
}

size_t gc_kinds_flip(void)
{
    unsigned long irq = port_lock(&gc_heap.lock);
    unsigned count =
        gc_kind_count(); /* those that are made from here on have white objects already */
    size_t pages;

    atomic_store_explicit(&gc_is_black, false, memory_order_relaxed);
    port_unlock(&gc_heap.lock, irq);
    pages = gc_large_flip();
    for (unsigned index = 1; index < count; index++)
        pages += gc_kind_flip(gc_kind_at(index));
    return pages;
}

/* ---- Sweeping ---- */

bool gc_sweep_some(unsigned spans)
{
    bool has_more = gc_large_sweep(spans);

    for (unsigned index = 1; index < gc_kind_count() && !has_more; index++)
        has_more = gc_kind_sweep(gc_kind_at(index), spans);
    return has_more;
}

void gc_sweep_all(void)
{
    for (unsigned index = 1; index < gc_kind_count(); index++) {
        while (gc_kind_sweep(gc_kind_at(index), KIND_SWEEP_SPANS))
            continue;
    }
    while (gc_large_sweep(KIND_SWEEP_SPANS))
        continue;
}
