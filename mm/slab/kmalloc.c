/*
 * kmalloc and its family: a size to a size class, the class to this CPU's magazine.
 *
 * Every free is checked: that the address is the first byte of a slot (mm/span/span.h: one
 * multiplication, one comparison), and that the slot holds no token (mm/slab/magazine.h says why
 * that finds every double free).  Whatever is odd leaves the fast path for kfree_slow, which finds
 * out and reports.
 *
 * The fast paths call nothing, take no lock, and leave interrupts as they are: what they do to the
 * magazine is a restartable sequence (arch/sequence.h).  Cost on x86_64, with call and return:
 * kmalloc 14 instructions, of a constant size 9; kfree 21.
 */
#include "kernel/base/string.h"
#include "mm/slab/slab_impl.h"

/* ---- Allocation ---- */

static NOINLINE void *kmalloc_slow(size_t bytes)
{
    if (bytes > KMALLOC_SMALL_MAX)
        return slab_large_alloc(bytes, 1, 0);
    if (bytes == 0)
        return NULL;
    return slab_alloc_slow(&slab_centrals[size_class_of(bytes)]);
}

PORT_RESTARTABLE void *(kmalloc)(size_t bytes)
{
    void *slot;

    if (LIKELY(bytes <= KMALLOC_SMALL_MAX) &&
        LIKELY(port_magazine_pop(slab_cpu, size_class_of(bytes), &slot)))
        return slot;
    return kmalloc_slow(bytes);
}

PORT_RESTARTABLE void *kmalloc_of_class(size_t class)
{
    void *slot;

    if (LIKELY(port_magazine_pop(slab_cpu, class, &slot)))
        return slot;
    return slab_alloc_slow(&slab_centrals[class]);
}

void *kzalloc(size_t bytes)
{
    if (bytes > KMALLOC_SMALL_MAX)
        return slab_large_alloc(bytes, 1, PAGE_ZERO);

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
                return kmalloc_of_class(class);
        }
    }
    return slab_large_alloc(bytes, MAX(align / PAGE_BYTES, 1ul), 0);
}

/* ---- Free ---- */

/* Not by way of kfree_slow: what it looks at might have changed meanwhile. */
static COLD void kfree_double(void *p)
{
    slab_misuse("kfree", p, SLAB_DOUBLE_FREE);
}

/* A slot that the fast path has found to be one in use; its token may be there by now. */
static NOINLINE void kfree_full(void *p)
{
    slab_free_slow(central_of(span_of(p)), p);
}

static NOINLINE void kfree_slow(void *p)
{
    if (p == NULL)
        return;

    struct span *span = slab_live_span("kfree", p, SLAB_DOUBLE_FREE);

    if (span->span_class == SPAN_CLASS_LARGE)
        slab_large_free(span, p);
    else
        slab_free_slow(central_of(span), slab_slot_of(central_of(span), p));
}

/* The free itself, of what is a slot's first byte. */
static ALWAYS_INLINE void kfree_slot(const struct span *span, void *p)
{
    uint64_t token = seq_token(p);

    if (UNLIKELY(*(uint64_t *)p == token))
        return kfree_double(p);
    if (UNLIKELY(!port_magazine_push(slab_cpu, span->index, p, token)))
        kfree_full(p);
}

PORT_RESTARTABLE void kfree(void *p)
{
    const struct span *span;

    if (UNLIKELY(!span_near(p, &span) || !span_is_slot(span, p, 0)))
        return kfree_slow(p);
    kfree_slot(span, p);
}

/* True if kmalloc(bytes) would give an object of that span class and size. */
static bool kmalloc_fits(const struct span *span, size_t bytes)
{
    if (bytes - 1 >= KMALLOC_SMALL_MAX)
        return span->span_class == SPAN_CLASS_LARGE && bytes <= span_bytes(span) &&
               bytes > span_bytes(span) - GRANULE_BYTES;
    return span->span_class == size_class_of(bytes);
}

static NOINLINE void kfree_sized_slow(void *p, size_t bytes)
{
    if (p == NULL)
        return;

    const struct span *span = slab_live_span("kfree_sized", p, SLAB_DOUBLE_FREE);

    if (!kmalloc_fits(span, bytes))
        slab_misuse("kfree_sized", p, SLAB_WRONG_SIZE);
    kfree_slow(p);
}

PORT_RESTARTABLE void kfree_sized(void *p, size_t bytes)
{
    const struct span *span;

    if (UNLIKELY(bytes > KMALLOC_SMALL_MAX || !span_near(p, &span) ||
                 span->index != size_class_of(bytes) || !span_is_slot(span, p, 0)))
        return kfree_sized_slow(p, bytes);
    kfree_slot(span, p);
}

/* ---- Size ---- */

static size_t kmalloc_usable(const struct span *span)
{
    return span->owner == NULL ? span_bytes(span) : central_of(span)->object_bytes;
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

/* ---- Many at once ---- */

size_t kmalloc_bulk(size_t bytes, size_t n, void **out)
{
    size_t done = 0;

    while (done < n && (out[done] = kmalloc(bytes)) != NULL)
        done++;
    return done;
}

void kfree_bulk(size_t n, void **p)
{
    for (size_t i = 0; i < n; i++)
        kfree(p[i]);
}
