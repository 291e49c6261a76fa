/*
 * Roots: where tracing starts, but for threads' stacks, which those who have threads know.
 *
 *     GC_ROOT globals    one linker section of words, each a pointer or NULL; stores to them go by the
 *                        barrier as those to objects do
 *     ranges             any word in them may be a pointer; there is no barrier for stores to them, so
 *                        who puts a pointer there calls gc_shade with it
 *     pins               objects that shall stay: each is a range of one word
 *
 * Ranges are looked at a piece at a time, with the lock free in between: where that goes on is
 * `roots_at`, which moves on when its range is taken away.  One that is added during a mark is looked at by who
 * adds it, unless it is a pin, which is shaded; what is put there later is shaded too.
 *
 * Locks: gc_heap.lock.
 */
#include "mm/gc/gc_impl.h"
#include "mm/slab/slab.h"

#define ROOTS_PIECE_BYTES (16 * KIB)

/* Made here: by gc_root_add, or a pin. */
struct root_made {
    struct gc_range range;
    struct root_made *next; /* [gc_heap.lock] */
    const void *object;     /* [C] the pin's; NULL: a range */
    size_t pins;            /* [gc_heap.lock] */
};

static struct gc_range *roots_first; /* [gc_heap.lock] */
static struct gc_range *roots_at;    /* [gc_heap.lock] to be looked at next, from roots_from on */
static uintptr_t roots_from;         /* [gc_heap.lock] */
static struct root_made *roots_made; /* [gc_heap.lock] */

/* ---- Ranges ---- */

static void range_link_locked(struct gc_range *range, const void *addr, size_t bytes)
{
    *range = (struct gc_range){
        .start = (uintptr_t)addr, .end = (uintptr_t)addr + bytes, .next = roots_first};
    if (roots_first != NULL)
        roots_first->prev = range;
    roots_first = range;
}

static void roots_go_to(struct gc_range *range)
{
    roots_at = range;
    roots_from = range != NULL ? range->start : 0;
}

static void range_unlink_locked(struct gc_range *range)
{
    if (range->prev != NULL)
        range->prev->next = range->next;
    else
        roots_first = range->next;
    if (range->next != NULL)
        range->next->prev = range->prev;
    if (roots_at == range)
        roots_go_to(range->next);
}

/*
 * What a new range holds already, if a mark is on, which may have looked at ranges before this one came.
 * Else it has not: the range was linked before.  Nobody waits for the end of this: who adds it has what it
 * refers to, where the mark finds it, until the call returns.
 */
static void range_shade(uintptr_t start, uintptr_t end)
{
    while (start < end) {
        uintptr_t stop = MIN(end, ALIGN_DOWN(start, sizeof(void *)) + ROOTS_PIECE_BYTES);
        unsigned long irq = port_irq_save();
        bool is_on = atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire);

        if (is_on) {
            gc_mark_enter();
            gc_mark_words(start, stop);
            gc_mark_leave();
        }
        port_irq_restore(irq);
        if (!is_on)
            return;
        start = stop;
    }
}

void gc_range_add(struct gc_range *range, const void *addr, size_t bytes)
{
    unsigned long irq = port_lock(&gc_heap.lock);

    range_link_locked(range, addr, bytes);
    port_unlock(&gc_heap.lock, irq);
    range_shade((uintptr_t)addr, (uintptr_t)addr + bytes);
}

void gc_range_remove(struct gc_range *range)
{
    unsigned long irq = port_lock(&gc_heap.lock);

    range_unlink_locked(range);
    port_unlock(&gc_heap.lock, irq);
}

/* ---- Ranges by their address, pins ---- */

/* Where the one is linked that begins at `start` and is a pin or not; it links NULL if there is none. */
static struct root_made **made_find_locked(const void *start, bool is_pin)
{
    struct root_made **link = &roots_made;

    while (*link != NULL &&
           (is_pin ? (*link)->object != start
                   : (*link)->object != NULL || (*link)->range.start != (uintptr_t)start))
        link = &(*link)->next;
    return link;
}

/* `made`, unless the pin is there already; returns what is not needed. */
static struct root_made *made_add(struct root_made *made, const void *addr, size_t bytes)
{
    unsigned long irq = port_lock(&gc_heap.lock);

    gc_note_move((uintptr_t)made->object);

    struct root_made *pin = made->object != NULL ? *made_find_locked(made->object, true) : NULL;

    if (pin != NULL) {
        pin->pins++;
    } else {
        made->next = roots_made;
        roots_made = made;
        range_link_locked(&made->range, addr, bytes);
        made = NULL;
    }
    port_unlock(&gc_heap.lock, irq);
    return made;
}

static bool made_remove(const void *start, bool is_pin)
{
    unsigned long irq = port_lock(&gc_heap.lock);
    struct root_made **link = made_find_locked(start, is_pin), *made = *link;
    bool is_there = made != NULL;

    if (is_there && --made->pins == 0) {
        *link = made->next;
        range_unlink_locked(&made->range);
    } else {
        made = NULL;
    }
    port_unlock(&gc_heap.lock, irq);
    kfree(made);
    return is_there;
}

bool gc_root_add(const void *addr, size_t bytes)
{
    struct root_made *made = kmalloc(sizeof(*made));

    if (made == NULL)
        return false;
    *made = (struct root_made){.pins = 1};
    made_add(made, addr, bytes);
    range_shade((uintptr_t)addr, (uintptr_t)addr + bytes);
    return true;
}

bool gc_root_remove(const void *addr)
{
    return made_remove(addr, false);
}

bool gc_pin(const void *object)
{
    struct root_made *made = kmalloc(sizeof(*made));

    if (made == NULL)
        return false;
    *made = (struct root_made){.object = object, .pins = 1};
    kfree(made_add(made, &made->object, sizeof(made->object)));
    return true;
}

bool gc_unpin(const void *object)
{
    return made_remove(object, true);
}

/* ---- A mark begins ---- */

/* A piece of what is left of the ranges; returns bytes, 0: nothing is left. */
static size_t roots_mark_piece(void)
{
    unsigned long irq = port_lock(&gc_heap.lock);
    size_t bytes = 0;

    if (roots_at != NULL) {
        uintptr_t end =
            MIN(roots_at->end, ALIGN_DOWN(roots_from, sizeof(void *)) + ROOTS_PIECE_BYTES);

        gc_mark_words(roots_from, end);
        bytes = MAX(end - roots_from, 1u); /* an empty range counts, so that the next follows */
        roots_from = end;
        if (end == roots_at->end)
            roots_go_to(roots_at->next);
    }
    port_unlock(&gc_heap.lock, irq);
    return bytes;
}

uint64_t gc_mark_roots(void)
{
    uint64_t bytes = (uintptr_t)__stop_gc_roots - (uintptr_t)__start_gc_roots;

    for (void **root = __start_gc_roots; root < __stop_gc_roots; root++) {
        uintptr_t object = (uintptr_t)gc_load_word(root);

        if (object != 0)
            gc_mark_pointer(object, (uintptr_t)root);
    }

    unsigned long irq = port_lock(&gc_heap.lock);

    roots_go_to(roots_first);
    port_unlock(&gc_heap.lock, irq);
    for (size_t piece; (piece = roots_mark_piece()) != 0;)
        bytes += piece;
    return bytes;
}
