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
 * kmalloc 14 instructions, of a constant size 9; kfree 22.
 */
#include "kernel/base/string.h"
#include "mm/slab/debug.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab_impl.h"
#include "mm/span/large.h"

/* ---- Allocation ---- */

static NOINLINE void *kmalloc_slow(size_t bytes, uintptr_t caller)
{
    if (bytes > KMALLOC_SMALL_MAX)
        return slab_large_alloc(bytes, 1, 0, caller);
    if (bytes == 0)
        return NULL;
    return slab_alloc_slow(&slab_centrals[size_class_of(bytes)], bytes, caller);
}

/* As kmalloc, which by this would have an instruction more, for a member that `caller` has called. */
static PORT_RESTARTABLE void *kmalloc_for(size_t bytes, uintptr_t caller)
{
    void *slot;

    if (LIKELY(bytes <= KMALLOC_SMALL_MAX) &&
        LIKELY(port_magazine_pop(slab_cpu, size_class_of(bytes), &slot)))
        return slot;
    return kmalloc_slow(bytes, caller);
}

PORT_RESTARTABLE void *(kmalloc)(size_t bytes)
{
    void *slot;

    if (LIKELY(bytes <= KMALLOC_SMALL_MAX) &&
        LIKELY(port_magazine_pop(slab_cpu, size_class_of(bytes), &slot)))
        return slot;
    return kmalloc_slow(bytes, SLAB_CALLER);
}

PORT_RESTARTABLE void *kmalloc_of_class(size_t class, size_t bytes)
{
    void *slot;

    if (LIKELY(port_magazine_pop(slab_cpu, class, &slot)))
        return slot;
    return slab_alloc_slow(&slab_centrals[class], bytes, SLAB_CALLER);
}

static void *kzalloc_for(size_t bytes, uintptr_t caller)
{
    if (bytes > KMALLOC_SMALL_MAX)
        return slab_large_alloc(bytes, 1, PAGE_ZERO, caller);

    void *p = kmalloc_for(bytes, caller);

    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void *kzalloc(size_t bytes)
{
    return kzalloc_for(bytes, SLAB_CALLER);
}

void *kcalloc(size_t n, size_t bytes)
{
    size_t total;

    return __builtin_mul_overflow(n, bytes, &total) ? NULL : kzalloc_for(total, SLAB_CALLER);
}

/* A whole slot is asked for: if it is sampled (sample.c) it is then aligned as slots are. */
static NOINLINE void *kmalloc_aligned_slow(struct central *central, size_t bytes, uintptr_t caller)
{
    if (central->debug_flags == 0)
        bytes = central->object_bytes;
    return slab_alloc_slow(central, bytes, caller);
}

static PORT_RESTARTABLE void *kmalloc_aligned_class(unsigned class, size_t bytes, uintptr_t caller)
{
    void *slot;

    if (LIKELY(port_magazine_pop(slab_cpu, class, &slot)))
        return slot;
    return kmalloc_aligned_slow(&slab_centrals[class], bytes, caller);
}

/* Slots are as aligned as their size is, up to a page. */
void *kmalloc_aligned(size_t bytes, size_t align)
{
    if (!is_pow2(align) || align > CHUNK_BYTES || bytes == 0)
        return NULL;
    if (bytes <= KMALLOC_SMALL_MAX && align <= PAGE_BYTES) {
        for (unsigned class = size_class_of(bytes); class < SIZE_CLASS_COUNT; class ++) {
            if (IS_ALIGNED(size_class_layout[class].slot_bytes, align))
                return kmalloc_aligned_class(class, bytes, SLAB_CALLER);
        }
    }
    return slab_large_alloc(bytes, MAX(align / PAGE_BYTES, 1ul), 0, SLAB_CALLER);
}

/* ---- Free ---- */

/* The free of a live slot that its magazine has no room for, or of one that is free. */
static NOINLINE void kfree_full(const char *name, void *p, uintptr_t caller, bool is_free)
{
    if (is_free)
        slab_misuse(name, p, SLAB_DOUBLE_FREE);
    slab_free_slow(name, central_of(span_of(p)), p, caller);
}

static NOINLINE void kfree_slow(const char *name, void *p, uintptr_t caller)
{
    if (p == NULL)
        return;
    if (UNLIKELY(guard_owns(p)))
        return guard_free(name, NULL, p);

    struct span *span = slab_live_span(name, p, SLAB_DOUBLE_FREE);

    if (span->span_class == SPAN_CLASS_LARGE)
        slab_large_free(span, p);
    else
        slab_free_slow(name, central_of(span), slab_slot_of(central_of(span), p), caller);
}

/* The free itself, of what is a slot's first byte; inlined, so that its caller is the family's. */
static ALWAYS_INLINE void kfree_slot(const char *name, const struct span *span, void *p)
{
    uint64_t token = seq_token(p);

    if (UNLIKELY(*(uint64_t *)p == token))
        return kfree_full(name, p, SLAB_CALLER, true);
    if (UNLIKELY(!port_magazine_push(slab_cpu, span->index, p, token)))
        kfree_full(name, p, SLAB_CALLER, false);
}

PORT_RESTARTABLE void kfree(void *p)
{
    const struct span *span;

    if (UNLIKELY(!span_near(p, &span) || !span_is_slot(span, p, 0)))
        return kfree_slow("kfree", p, SLAB_CALLER);
    kfree_slot("kfree", span, p);
}

/* As kfree, which by this would have an instruction more, for a member that `caller` has called. */
static PORT_RESTARTABLE void kfree_for(const char *name, void *p, uintptr_t caller)
{
    const struct span *span;

    if (UNLIKELY(!span_near(p, &span) || !span_is_slot(span, p, 0)))
        return kfree_slow(name, p, caller);

    uint64_t token = seq_token(p);

    if (UNLIKELY(*(uint64_t *)p == token))
        return kfree_full(name, p, caller, true);
    if (UNLIKELY(!port_magazine_push(slab_cpu, span->index, p, token)))
        kfree_full(name, p, caller, false);
}

/* True if kmalloc(bytes) would give an object of that span class and size. */
static bool kmalloc_fits(const struct span *span, size_t bytes)
{
    if (bytes - 1 >= KMALLOC_SMALL_MAX)
        return span->span_class == SPAN_CLASS_LARGE && bytes <= span_bytes(span) &&
               bytes > span_bytes(span) - GRANULE_BYTES;
    return span->span_class == size_class_of(bytes);
}

/* Of a debugged object that is known to the byte. */
static bool kmalloc_is_size(const struct span *span, const void *p, size_t bytes)
{
    return span->owner == NULL || central_of(span)->debug_flags == 0 ||
           slab_debug_bytes(central_of(span), p) == bytes;
}

static NOINLINE void kfree_sized_slow(void *p, size_t bytes, uintptr_t caller)
{
    if (p == NULL)
        return;

    if (guard_owns(p)) {
        if (bytes > PAGE_BYTES ||
            size_class_of(guard_object_bytes("kfree_sized", p)) != size_class_of(bytes))
            slab_misuse("kfree_sized", p, SLAB_WRONG_SIZE);
        return guard_free("kfree_sized", NULL, p);
    }

    const struct span *span = slab_live_span("kfree_sized", p, SLAB_DOUBLE_FREE);

    if (!kmalloc_fits(span, bytes) || !kmalloc_is_size(span, p, bytes))
        slab_misuse("kfree_sized", p, SLAB_WRONG_SIZE);
    kfree_slow("kfree_sized", p, caller);
}

PORT_RESTARTABLE void kfree_sized(void *p, size_t bytes)
{
    const struct span *span;

    if (UNLIKELY(bytes > KMALLOC_SMALL_MAX || !span_near(p, &span) ||
                 span->index != size_class_of(bytes) || !span_is_slot(span, p, 0)))
        return kfree_sized_slow(p, bytes, SLAB_CALLER);
    kfree_slot("kfree_sized", span, p);
}

/* ---- Size ---- */

/* Of an object in use, by the public function `name`. */
static size_t kmalloc_usable(const char *name, const void *p)
{
    if (UNLIKELY(guard_owns(p)))
        return guard_object_bytes(name, p);

    const struct span *span = slab_live_span(name, p, SLAB_USE_AFTER_FREE);

    if (span->owner == NULL)
        return span_bytes(span);
    if (central_of(span)->debug_flags != 0)
        return slab_debug_bytes(central_of(span), p);
    return central_of(span)->object_bytes;
}

size_t ksize(const void *p)
{
    return p == NULL ? 0 : kmalloc_usable("ksize", p);
}

/* Whether a live object can hold so many bytes where it is, and no smaller one would do. */
static bool krealloc_in_place(void *p, size_t bytes)
{
    if (guard_owns(p))
        return false;

    struct span *span = span_of(p);

    if (!kmalloc_fits(span, bytes))
        return span->span_class == SPAN_CLASS_LARGE && bytes > KMALLOC_SMALL_MAX &&
               slab_large_resize(span, bytes);
    if (span->owner != NULL && UNLIKELY(central_of(span)->debug_flags != 0))
        slab_debug_resize("krealloc", central_of(span), p, bytes);
    return true;
}

void *krealloc(void *p, size_t bytes)
{
    if (p == NULL)
        return kmalloc_for(bytes, SLAB_CALLER);
    if (bytes == 0) {
        kfree_for("krealloc", p, SLAB_CALLER);
        return NULL;
    }

    size_t usable = kmalloc_usable("krealloc", p);

    if (krealloc_in_place(p, bytes))
        return p;

    void *moved = kmalloc_for(bytes, SLAB_CALLER);

    if (moved != NULL) {
        memcpy(moved, p, MIN(bytes, usable));
        kfree_for("krealloc", p, SLAB_CALLER);
    }
    return moved;
}

/* ---- Many at once ---- */

size_t kmalloc_bulk(size_t bytes, size_t n, void **out)
{
    size_t done = 0;

    while (done < n && (out[done] = kmalloc_for(bytes, SLAB_CALLER)) != NULL)
        done++;
    return done;
}

void kfree_bulk(size_t n, void **p)
{
    for (size_t i = 0; i < n; i++)
        kfree_for("kfree_bulk", p[i], SLAB_CALLER);
}
