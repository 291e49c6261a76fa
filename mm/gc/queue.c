/*
 * The marker's queues: spans with objects to scan.
 *
 *     this CPU's ring of GC_RING_SPANS, first in, first out   put by this CPU, interrupts off; taken by any
 *     queue_rest, linked through the descriptors              what a ring had no room for; taken by any
 *
 * A span stands in one queue at most (is_queued, see mark.c), so there is room for all of them and nothing is
 * allocated.  First in, first out: spans collect marks while they wait.
 *
 * Locks: none.  Who takes from a ring reads its place and then moves its head on: if the head is still the same,
 * nobody has put another span into that place, as the tail is never a whole ring ahead.  The rest is taken as
 * a whole, so a span that comes back to it in between does no harm.
 */
#include "mm/gc/gc_impl.h"

static _Atomic(struct gc_span *) queue_rest; /* [A] release / acquire */

static void rest_put(struct gc_span *gc)
{
    struct gc_span *head = atomic_load_explicit(&queue_rest, memory_order_relaxed);

    do {
        gc->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&queue_rest, &head, gc, memory_order_release,
                                                    memory_order_relaxed));
}

/* What is left of the rest, without a walk over it: what others have put meanwhile goes to its front. */
static void rest_give_back(struct gc_span *list)
{
    struct gc_span *head = NULL;

    while (!atomic_compare_exchange_strong_explicit(&queue_rest, &head, list, memory_order_release,
                                                    memory_order_relaxed)) {
        struct gc_span *more = atomic_exchange_explicit(&queue_rest, NULL, memory_order_acquire);

        while (more != NULL) {
            struct gc_span *next = more->next;

            more->next = list;
            list = more;
            more = next;
        }
        head = NULL;
    }
}

/* Interrupts are off. */
static bool ring_put(struct gc_cpu *cpu, struct gc_span *gc)
{
    uint32_t tail = atomic_load_explicit(&cpu->tail, memory_order_relaxed);

    if (tail - atomic_load_explicit(&cpu->head, memory_order_acquire) == GC_RING_SPANS)
        return false;
    atomic_store_explicit(&cpu->ring[tail % GC_RING_SPANS], gc, memory_order_relaxed);
    atomic_store_explicit(&cpu->tail, tail + 1, memory_order_release);
    return true;
}

static struct gc_span *ring_take(struct gc_cpu *cpu)
{
    uint32_t head = atomic_load_explicit(&cpu->head, memory_order_acquire);

    while (head != atomic_load_explicit(&cpu->tail, memory_order_acquire)) {
        struct gc_span *gc =
            atomic_load_explicit(&cpu->ring[head % GC_RING_SPANS], memory_order_relaxed);

        /* If head is still that, nobody has put another into its place. */
        if (atomic_compare_exchange_weak_explicit(&cpu->head, &head, head + 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return gc;
    }
    return NULL;
}

/* Before a span comes to stand anywhere, if it stood elsewhere: who has looked there looks again. */
static void count_put(struct gc_cpu *cpu)
{
    atomic_store_explicit(&cpu->pushes,
                          atomic_load_explicit(&cpu->pushes, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void gc_queue_put(struct gc_span *gc)
{
    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);

    count_put(cpu);
    if (!ring_put(cpu, gc))
        rest_put(gc);
    port_irq_restore(irq);
}

/* What the rings had no room for: one for the caller, the rest to its ring as far as there is room. */
static struct gc_span *rest_take(void)
{
    struct gc_span *first = atomic_exchange_explicit(&queue_rest, NULL, memory_order_acquire);

    if (first == NULL || first->next == NULL)
        return first;

    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    struct gc_span *next = first->next;

    count_put(cpu);
    for (unsigned n = 0; next != NULL && n < GC_RING_SPANS / 2; n++) {
        struct gc_span *after = next->next;

        if (!ring_put(cpu, next))
            break;
        next = after;
    }
    if (next != NULL)
        rest_give_back(next);
    port_irq_restore(irq);
    return first;
}

/* This CPU's queue first, then what is nobody's, then the others'. */
struct gc_span *gc_queue_take(void)
{
    unsigned me = port_cpu_id(), count = port_cpu_count();
    struct gc_span *gc = ring_take(port_cpu(gc_cpu, me));

    if (gc == NULL)
        gc = rest_take();
    for (unsigned i = 1; gc == NULL && i < count; i++)
        gc = ring_take(port_cpu(gc_cpu, (me + i) % count));
    return gc;
}

uint64_t gc_queue_puts(void)
{
    uint64_t pushes = 0;

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        pushes += atomic_load_explicit(&port_cpu(gc_cpu, cpu)->pushes, memory_order_relaxed);
    return pushes;
}

bool gc_queue_is_empty(void)
{
    for (unsigned i = 0; i < port_cpu_count(); i++) {
        struct gc_cpu *cpu = port_cpu(gc_cpu, i);

        if (atomic_load_explicit(&cpu->head, memory_order_acquire) !=
            atomic_load_explicit(&cpu->tail, memory_order_acquire))
            return false;
    }
    return atomic_load_explicit(&queue_rest, memory_order_acquire) == NULL;
}
