/*
 * Allocation in the collected heap: what gc_new and its family come to.
 *
 * A magazine holds slots that are zero but for their tokens, so the fast path takes one and is done: 14
 * instructions on x86_64 with call and return.  It is the same whether a mark is on or not: slots that
 * are in a magazine while one is on are marked (gc_impl.h).
 *
 * The slow path fills the magazine, with interrupts off from the first slot that leaves its span to
 * where all stand in the magazine.
 *
 * Small objects without pointers are packed into blocks of GC_TINY_BLOCK bytes.  A CPU's block is where
 * its next one goes; the mark begins by dropping it, so that blocks live as long as an object in them is
 * found, by an address anywhere in it.
 *
 * Locks: none; takes a kind's.
 */
#include "mm/gc/gc_impl.h"
#include "mm/slab/slab.h"
#include "mm/span/pool.h"

PORT_PERCPU(struct gc_cpu, gc_cpu);

struct gc_heap gc_heap = {.lock = PORT_LOCK_INIT(GC_HEAP),
                          .large = {.lock = PORT_LOCK_INIT(GC_KIND)}};

static struct pool gc_magazines = POOL_INIT(MAGAZINES, sizeof(struct seq_magazine));

static const struct gc_layout alloc_no_pointers = {.stride = sizeof(void *)};
static const struct gc_layout alloc_conservative = {.stride = sizeof(void *),
                                                    .is_conservative = true};

/* ---- Magazines; interrupts are off ---- */

/* This CPU's of that kind, without slots; NULL: there is no memory for one. */
static struct seq_magazine *magazine_here(struct gc_cpu *cpu, unsigned index)
{
    uintptr_t top = cpu->tops[index];

    if (LIKELY(top != 0))
        return (struct seq_magazine *)ALIGN_DOWN((uintptr_t)seq_top_word(top),
                                                 sizeof(struct seq_magazine));
    return pool_take(&gc_magazines);
}

/* Slots stand in it up to its end, the first to go out last. */
static void magazine_fill(struct gc_cpu *cpu, struct seq_magazine *magazine, struct gc_kind *kind)
{
    void **end = magazine->words + SEQ_MAGAZINE_WORDS;
    unsigned count = gc_kind_take(kind, kind->capacity, end);

    end[-1 - (int)count] = (void *)&seq_nothing;
    cpu->tops[kind->owner.index] = seq_top_of(end - 1);
}

static void *slot_of_magazine(struct gc_cpu *cpu, unsigned index)
{
    return cpu->tops[index] != 0 ? seq_magazine_pop(&cpu->tops[index]) : NULL;
}

/* One slot, with no magazine. */
static void *alloc_single(struct gc_kind *kind)
{
    void *slot;

    if (gc_kind_take(kind, 1, &slot + 1) == 0)
        return NULL;
    *(uint64_t *)slot = 0; /* its token */
    return slot;
}

/* What this CPU has meanwhile, or a slot of a magazine that is filled for it. */
static void *alloc_refill(struct gc_kind *kind)
{
    unsigned index = kind->owner.index;
    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    void *slot = slot_of_magazine(cpu, index);

    if (slot == NULL) {
        struct seq_magazine *magazine = magazine_here(cpu, index);

        if (magazine == NULL) {
            slot = alloc_single(kind);
        } else {
            magazine_fill(cpu, magazine, kind);
            slot = slot_of_magazine(cpu, index);
        }
    }
    port_irq_restore(irq);
    return slot;
}

/* Wait for memory by what the collector can do; false: it can do no more. */
static void *alloc_or_collect(struct gc_kind *kind)
{
    void *slot;

    gc_pay(kind->capacity * kind->owner.layout.slot_bytes);
    for (unsigned tries = 0; (slot = alloc_refill(kind)) == NULL; tries++) {
        if (!gc_make_room(tries, kind->owner.layout.granules * GRANULE_BYTES))
            return NULL;
    }
    return slot;
}

/* ---- Kinds of a type ---- */

/* Of `type` for objects of a class; NULL: memory is exhausted. */
static struct gc_kind *kind_of_type(struct gc_type *type, unsigned class)
{
    struct gc_layout layout;

    gc_layout_of(type, &layout);

    struct gc_kind *kind = gc_kind_for(class, &layout);

    if (kind == NULL)
        return gc_kind_for(class, &alloc_conservative);
    if (atomic_load_explicit(&kind->type, memory_order_relaxed) == NULL)
        atomic_store_explicit(&kind->type, type, memory_order_relaxed);
    return kind;
}

/* Objects of 8 bytes get 16. */
static unsigned class_of(size_t bytes)
{
    return size_class_of(MAX(bytes, 16u));
}

static void *large_or_collect(const struct gc_layout *layout, size_t bytes)
{
    void *object;

    gc_pay(bytes);
    for (unsigned tries = 0; (object = gc_large_alloc(layout, bytes)) == NULL; tries++) {
        if (!gc_make_room(tries, bytes))
            return NULL;
    }
    return object;
}

static NOINLINE void *alloc_typed_slow(struct gc_type *type, size_t bytes)
{
    bool is_small = bytes <= SIZE_CLASS_MAX_BYTES;
    struct gc_kind *kind = kind_of_type(type, is_small ? class_of(bytes) : SIZE_CLASS_COUNT - 1);

    if (kind == NULL)
        return NULL;
    if (!is_small)
        return large_or_collect(&kind->layout, bytes);
    if (bytes == type->bytes)
        atomic_store_explicit(&type->index, kind->owner.index, memory_order_relaxed);
    return alloc_or_collect(kind);
}

PORT_RESTARTABLE void *gc_alloc_typed(struct gc_type *type)
{
    void *slot;

    if (LIKELY(port_magazine_pop(gc_cpu, atomic_load_explicit(&type->index, memory_order_relaxed),
                                 &slot)))
        return slot;
    return alloc_typed_slow(type, type->bytes);
}

static PORT_RESTARTABLE void *alloc_of_kind(struct gc_kind *kind)
{
    void *slot;

    if (LIKELY(port_magazine_pop(gc_cpu, kind->owner.index, &slot)))
        return slot;
    return alloc_or_collect(kind);
}

void *gc_alloc_array(struct gc_type *type, size_t n)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, (size_t)type->bytes, &bytes) || bytes == 0)
        return NULL;
    if (bytes > SIZE_CLASS_MAX_BYTES)
        return alloc_typed_slow(type, bytes);

    struct gc_kind *kind = kind_of_type(type, class_of(bytes));

    return kind != NULL ? alloc_of_kind(kind) : NULL;
}

/* ---- Without a type ---- */

/* Aligned as an object of that size may have to be. */
static uintptr_t tiny_align(uintptr_t address, size_t bytes)
{
    return ALIGN_UP(address, MIN(bytes & -bytes, sizeof(uint64_t)));
}

/* In this CPU's block; NULL: it has no room for so many. */
static void *tiny_take(size_t bytes)
{
    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    uintptr_t at = tiny_align(cpu->tiny, bytes), end = ALIGN_UP(cpu->tiny, GC_TINY_BLOCK);
    bool has_room = at + bytes <= end;

    if (has_room)
        cpu->tiny = at + bytes;
    port_irq_restore(irq);
    return has_room ? (void *)at : NULL;
}

/*
 * What is behind `bytes` of a new block is the CPU's from here on, if it is more than it has.  But not if a
 * mark has begun since the block was taken: it is white, and nobody would find it by the next object in it.
 */
static void tiny_keep(void *block, size_t bytes)
{
    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    bool may_stay =
        !atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire) || gc_is_marked(block);

    if (may_stay && GC_TINY_BLOCK - bytes > ALIGN_UP(cpu->tiny, GC_TINY_BLOCK) - cpu->tiny)
        cpu->tiny = (uintptr_t)block + bytes;
    port_irq_restore(irq);
}

static NOINLINE void *tiny_alloc(size_t bytes)
{
    void *object = tiny_take(bytes);

    if (object == NULL && (object = alloc_of_kind(gc_kind_at(GC_TINY_KIND))) != NULL)
        tiny_keep(object, bytes);
    return object;
}

PORT_RESTARTABLE void *gc_alloc_noscan(size_t bytes)
{
    void *slot;

    if (bytes - 1 < GC_TINY_BLOCK - 1)
        return tiny_alloc(bytes);
    if (LIKELY(bytes - 1 < SIZE_CLASS_MAX_BYTES)) {
        unsigned class = class_of(bytes);

        if (LIKELY(port_magazine_pop(gc_cpu, class, &slot)))
            return slot;
        return alloc_or_collect(gc_kind_at(class));
    }
    return bytes != 0 ? large_or_collect(&alloc_no_pointers, bytes) : NULL;
}

void *gc_alloc_conservative(size_t bytes)
{
    if (bytes == 0)
        return NULL;
    if (bytes > SIZE_CLASS_MAX_BYTES)
        return large_or_collect(&alloc_conservative, bytes);

    struct gc_kind *kind = gc_kind_for(class_of(bytes), &alloc_conservative);

    return kind != NULL ? alloc_of_kind(kind) : NULL;
}

/* ---- Giving back ---- */

void gc_free(void *object)
{
    if (object == NULL)
        return;

    struct span *span = span_of(object);

    if (span == NULL || !span_class_is_collected(span->span_class))
        port_panic("gc_free: %p is not of the collected heap", object);
    if (span->owner == NULL ? span->base != (uintptr_t)object : !span_is_any_slot(span, object))
        port_panic("gc_free: %p is not the start of an object", object);
    if (span->owner != NULL && *(const volatile uint64_t *)object == seq_token(object))
        port_panic("gc_free: %p is free: it waits in a magazine", object);
    if (span->index != GC_TINY_KIND) /* which others may share */
        gc_free_object(span, object);
}

static void alloc_drain_here(void *unused)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    unsigned count = gc_kind_count();

    (void)unused;
    if (gc_may_mark())
        return; /* spans stay until the mark is over */
    cpu->tiny = 0;
    for (unsigned index = 1; index < count; index++) {
        if (cpu->tops[index] == 0)
            continue;

        struct seq_magazine *magazine = magazine_here(cpu, index);

        for (void **word = seq_top_word(cpu->tops[index]); *word != &seq_nothing; word--)
            gc_kind_give(gc_kind_at(index), *word);
        cpu->tops[index] = 0;
        pool_give(&gc_magazines, magazine);
    }
}

void gc_drain(void)
{
    gc_owning_hold(gc_spans_disown);
    port_call_all(alloc_drain_here, NULL);
    gc_owning_release();
    pool_drain(&gc_magazines);
}

void gc_count_objects(uint64_t *allocs, uint64_t *frees)
{
    *allocs = gc_heap.large.made;
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        *allocs += port_cpu(gc_cpu, cpu)->allocs;
    *frees = atomic_load_explicit(&gc_heap.freed, memory_order_relaxed);
}

void gc_init(void)
{
    gc_kinds_init();
}
