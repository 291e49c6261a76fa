/*
 * Large objects: spans of their own.
 *
 * Whoever allocates one holds its address in a register or on its stack from before the span can be found
 * to behind that: so a mark that begins meanwhile finds it there.  It is zero before that, whatever was
 * there, so it may be scanned at once.
 *
 * Its layout stands in the kind that would have the largest slots of its type, which is never used
 * for slots.
 *
 * Locks: gc_heap.large.lock.
 */
#include "mm/gc/gc_impl.h"

void *gc_large_alloc(const struct gc_layout *layout, size_t bytes)
{
    struct gc_large *large = &gc_heap.large;
    bool has_pointers = layout->run_count != 0 || layout->is_conservative;
    struct span *span =
        span_new_large(has_pointers ? GC_CLASS_SCAN : GC_CLASS_NOSCAN, bytes, 1, PAGE_ZERO);

    if (span == NULL)
        return NULL;

    struct gc_span *gc = gc_span_of(span);
    void *object = (void *)span->base;

    gc_span_init(gc, layout);
    __asm__ volatile("" : "+r"(object) : : "memory");

    unsigned long irq = port_lock(&large->lock);

    if (large->is_black) {
        atomic_store_explicit(&gc->words[0], 1, memory_order_relaxed);
        atomic_store_explicit(&gc->words[1], span_bytes(span), memory_order_relaxed);
    }
    gc->epoch = large->epoch;
    large->pages += span_bytes(span) / PAGE_BYTES;
    large->made++;
    gc_list_add(&large->swept, span);
    span_publish(span);
    atomic_fetch_add_explicit(&gc_heap.span_bytes, (int64_t)span_bytes(span), memory_order_relaxed);
    atomic_fetch_add_explicit(&gc_heap.live_bytes, (int64_t)span_bytes(span), memory_order_relaxed);
    port_unlock(&large->lock, irq);
    __asm__ volatile("" : "+r"(object) : : "memory");
    return object;
}

/* The lock is held. */
static void large_destroy(struct gc_large *large, struct span *span)
{
    large->pages -= span_bytes(span) / PAGE_BYTES;
    atomic_fetch_add_explicit(&gc_heap.freed, 1, memory_order_relaxed);
    gc_span_destroy(span);
}

void gc_large_give(struct span *span, void *object)
{
    struct gc_large *large = &gc_heap.large;
    unsigned long irq = port_lock(&large->lock);
    bool is_swept = gc_span_of(span)->epoch == large->epoch;

    if (span_of(object) != span)
        port_panic("gc_free: %p is free", object);
    if (!is_swept && atomic_load_explicit(&gc_span_of(span)->words[0], memory_order_relaxed) == 0)
        port_panic("gc_free: nothing refers to %p", object);
    gc_list_remove(is_swept ? &large->swept : &large->unswept, span);
    if (!is_swept)
        gc_swept(span_bytes(span) / PAGE_BYTES);
    atomic_fetch_sub_explicit(&gc_heap.live_bytes, (int64_t)span_bytes(span), memory_order_relaxed);
    large_destroy(large, span);
    port_unlock(&large->lock, irq);
}

/* One of the unswept; false: there is none.  The lock is held: see gc_kind_sweep. */
static bool large_sweep_one(struct gc_large *large)
{
    struct span *span = large->unswept.first;

    if (span == NULL)
        return false;

    struct gc_span *gc = gc_span_of(span);

    gc_list_remove(&large->unswept, span);
    gc_swept(span_bytes(span) / PAGE_BYTES);
    if (atomic_load_explicit(&gc->words[0], memory_order_relaxed) == 0) {
        large_destroy(large, span);
        return true;
    }
    atomic_store_explicit(&gc->words[0], 0, memory_order_relaxed);
    atomic_store_explicit(&gc->words[1], 0, memory_order_relaxed);
    gc->epoch = large->epoch;
    gc_list_add(&large->swept, span);
    return true;
}

bool gc_large_sweep(unsigned spans)
{
    bool has_more = true;

    while (has_more && spans-- != 0) {
        unsigned long irq = port_lock(&gc_heap.large.lock);

        has_more = large_sweep_one(&gc_heap.large);
        port_unlock(&gc_heap.large.lock, irq);
    }
    return has_more;
}

void gc_large_blacken(void)
{
    unsigned long irq = port_lock(&gc_heap.large.lock);

    gc_heap.large.is_black = true;
    port_unlock(&gc_heap.large.lock, irq);
}

size_t gc_large_flip(void)
{
    unsigned long irq = port_lock(&gc_heap.large.lock);
    size_t pages = gc_heap.large.pages;

    gc_heap.large.is_black = false;
    gc_heap.large.epoch++;
    gc_list_splice(&gc_heap.large.unswept, &gc_heap.large.swept);
    port_unlock(&gc_heap.large.lock, irq);
    return pages;
}
