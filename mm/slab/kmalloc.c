/*
 * kmalloc and its family: a size to a size class, the class to this CPU's magazine; requests above
 * KMALLOC_SMALL_MAX to spans of their own.
 *
 * Every free is checked against the span that holds the address: that it is the first byte of a
 * slot, and that the slot holds no canary (mm/slab/magazine.h says why that finds every double
 * free).  Whatever is odd leaves the fast path for kfree_slow, which finds out and reports.
 *
 * The fast paths call nothing.  Cost on x86_64, switching interrupts included: kmalloc 31 instructions,
 * kfree 45.
 */
#include "kernel/base/string.h"
#include "mm/slab/slab_impl.h"

static struct {
    _Atomic size_t live;       /* [A] relaxed: objects */
    _Atomic size_t live_bytes; /* [A] relaxed: bytes of their spans */
    _Atomic uint64_t allocs;   /* [A] relaxed: since start */
} kmalloc_large_count;

PORT_STAT(slab, large_failed);

/* ---- Large objects ---- */

static COLD void *kmalloc_large(size_t bytes, size_t align_pages, unsigned page_flags)
{
    struct span *span = NULL;

    if (bytes == 0 || bytes > MM_PHYS_BYTES)
        return NULL;
    if (!port_fault()) {
        span = span_create_large(bytes, align_pages, page_flags);
        if (span == NULL) {
            slab_reclaim();
            span = span_create_large(bytes, align_pages, page_flags);
        }
    }
    if (span == NULL) {
        port_stat_inc(slab, large_failed);
        return NULL;
    }
    atomic_fetch_add_explicit(&kmalloc_large_count.live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&kmalloc_large_count.live_bytes, span_bytes(span),
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&kmalloc_large_count.allocs, 1, memory_order_relaxed);
    return (void *)span->base;
}

static void kfree_large(struct span *span, void *p)
{
    size_t bytes = span_bytes(span);

    if (!span_destroy(span))
        slab_misuse("kfree", p, SLAB_DOUBLE_FREE);
    atomic_fetch_sub_explicit(&kmalloc_large_count.live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&kmalloc_large_count.live_bytes, bytes, memory_order_relaxed);
}

struct slab_large_stats slab_large_stats(void)
{
    return (struct slab_large_stats){
        .live = atomic_load_explicit(&kmalloc_large_count.live, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&kmalloc_large_count.live_bytes, memory_order_relaxed),
        .allocs = atomic_load_explicit(&kmalloc_large_count.allocs, memory_order_relaxed),
    };
}

/* ---- The fast paths ---- */

static ALWAYS_INLINE void *kmalloc_class(unsigned class)
{
    unsigned long irq = port_irq_save();
    void *slot = magazine_pop(magazine_of_class(class), 0);

    port_irq_restore(irq);
    return LIKELY(slot != NULL) ? slot : slab_alloc_slow(&slab_centrals[class]);
}

void *kmalloc(size_t bytes)
{
    unsigned class;

    if (LIKELY(bytes - 1 < SIZE_CLASS_STEP8_MAX))
        class = size_class_of_step8[(bytes - 1) / 8];
    else if (bytes - 1 < KMALLOC_SMALL_MAX)
        class = size_class_of(bytes);
    else
        return kmalloc_large(bytes, 1, 0);
    return kmalloc_class(class);
}

static NOINLINE void kfree_slow(void *p)
{
    if (p == NULL)
        return;

    struct span *span = slab_live_span("kfree", p, SLAB_DOUBLE_FREE);

    if (span->span_class == SPAN_CLASS_LARGE)
        kfree_large(span, p);
    else
        slab_free_slow(span->owner, p);
}

/* Not by way of kfree_slow: what it looks at might have changed meanwhile. */
static COLD void kfree_double(void *p)
{
    slab_misuse("kfree", p, SLAB_DOUBLE_FREE);
}

void kfree(void *p)
{
    uint64_t entry = span_entry(p);
    unsigned class = span_entry_class(entry);

    if (UNLIKELY(class - 1 >= SIZE_CLASS_COUNT - 1))
        return kfree_slow(p);

    const struct span *span = span_entry_span(entry);

    if (UNLIKELY(!span_product_is_slot(span, span_slot_product(span, p))))
        return kfree_slow(p);

    unsigned long irq = port_irq_save();
    bool is_free = slab_has_canary(p, 0);
    bool is_done = !is_free && magazine_push(magazine_of_class(class), p, 0);

    port_irq_restore(irq);
    if (UNLIKELY(!is_done))
        is_free ? kfree_double(p) : kfree_slow(p);
}

/* ---- The family ---- */

void *kzalloc(size_t bytes)
{
    if (bytes > KMALLOC_SMALL_MAX)
        return kmalloc_large(bytes, 1, PAGE_ZERO);

    void *p = kmalloc(bytes);

    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void *kcalloc(size_t n, size_t bytes)
{
    size_t total;

    return __builtin_mul_overflow(n, bytes, &total) ? NULL : kzalloc(total);
}

/* Slots are as aligned as their size is, up to a granule, on which spans start. */
void *kmalloc_aligned(size_t bytes, size_t align)
{
    if (!is_pow2(align) || align > CHUNK_BYTES || bytes == 0)
        return NULL;
    if (bytes <= KMALLOC_SMALL_MAX && align <= GRANULE_BYTES) {
        for (unsigned class = size_class_of(bytes); class < SIZE_CLASS_COUNT; class ++) {
            if (IS_ALIGNED(size_class_layout[class].slot_bytes, align))
                return kmalloc_class(class);
        }
    }
    return kmalloc_large(bytes, MAX(align / PAGE_BYTES, 1ul), 0);
}

/* True if kmalloc(bytes) would give an object of that span class and size. */
static bool kmalloc_fits(const struct span *span, size_t bytes)
{
    if (bytes - 1 >= KMALLOC_SMALL_MAX)
        return span->span_class == SPAN_CLASS_LARGE && bytes <= span_bytes(span) &&
               bytes > span_bytes(span) - GRANULE_BYTES;
    return span->span_class == size_class_of(bytes);
}

static size_t kmalloc_usable(const struct span *span)
{
    const struct central *central = span->owner;

    return central == NULL ? span_bytes(span) : central->object_bytes;
}

size_t ksize(const void *p)
{
    return p == NULL ? 0 : kmalloc_usable(slab_live_span("ksize", p, SLAB_USE_AFTER_FREE));
}

void *krealloc(void *p, size_t bytes)
{
    if (p == NULL)
        return kmalloc(bytes);
    if (bytes == 0) {
        kfree(p);
        return NULL;
    }

    struct span *span = slab_live_span("krealloc", p, SLAB_USE_AFTER_FREE);

    if (kmalloc_fits(span, bytes))
        return p;

    void *moved = kmalloc(bytes);

    if (moved != NULL) {
        memcpy(moved, p, MIN(bytes, kmalloc_usable(span)));
        kfree(p);
    }
    return moved;
}

void kfree_sized(void *p, size_t bytes)
{
    if (p == NULL)
        return;

    const struct span *span = slab_live_span("kfree_sized", p, SLAB_DOUBLE_FREE);

    if (!kmalloc_fits(span, bytes))
        slab_misuse("kfree_sized", p, SLAB_WRONG_SIZE);
    kfree(p);
}

static size_t kmalloc_bulk_small(struct central *central, size_t n, void **out)
{
    size_t done = 0;

    while (done < n) {
        unsigned want = (unsigned)MIN(n - done, (size_t)MAGAZINE_SLOTS);
        unsigned got = slab_alloc_batch(central, want, out + done);

        done += got;
        if (got == want)
            continue;
        out[done] = slab_alloc_slow(central);
        if (out[done] == NULL)
            break;
        done++;
    }
    return done;
}

size_t kmalloc_bulk(size_t bytes, size_t n, void **out)
{
    size_t done = 0;

    if (bytes - 1 < KMALLOC_SMALL_MAX)
        return kmalloc_bulk_small(&slab_centrals[size_class_of(bytes)], n, out);
    while (done < n && (out[done] = kmalloc(bytes)) != NULL)
        done++;
    return done;
}

void kfree_bulk(size_t n, void **p)
{
    for (size_t i = 0; i < n; i++)
        kfree(p[i]);
}
