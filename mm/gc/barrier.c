/*
 * The barrier's buffers (mm/gc/barrier.h).  A CPU's is filled by its stores, each a restartable sequence
 * (kernel/base/seq_log.h), and emptied by marking what it holds, with interrupts off: so nobody else looks
 * at it.
 *
 * Emptied when full, and in each round of handshakes (cycle.c).  What is put in twice costs a look at a
 * bit.
 *
 * Who sees the flag before his CPU has answered the first handshake sees with it (acquire) that all has
 * been swept.
 */
#include "mm/gc/gc_impl.h"

_Atomic bool gc_barrier_is_on;

static void barrier_empty(struct gc_cpu *cpu)
{
    cpu->log = (struct seq_log){.next = cpu->barrier, .limit = cpu->barrier + GC_BARRIER_WORDS};
}

/* What the same slot or loop puts in again and again is looked at once. */
void gc_barrier_flush(void)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);
    const void *last[2] = {NULL, NULL};

    gc_mark_enter();
    for (void **pair = cpu->barrier; pair < cpu->log.next; pair += 2) {
        for (unsigned i = 0; i < 2; i++) {
            if (pair[i] == last[i])
                continue;
            last[i] = pair[i];
            if (pair[i] != NULL)
                gc_mark_pointer((uintptr_t)pair[i], 0);
        }
    }
    barrier_empty(cpu);
    gc_mark_leave();
}

void gc_barrier_discard(void)
{
    barrier_empty(port_this_cpu(gc_cpu));
}

/* Interrupts are off, the barrier is on. */
static void barrier_note(void *old, void *value)
{
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);

    if (cpu->log.next >= cpu->log.limit)
        gc_barrier_flush();
    cpu->log.next[0] = old;
    cpu->log.next[1] = value;
    cpu->log.next += 2;
}

/* The log is full, or the barrier was turned on or off since the flag was looked at. */
static NOINLINE void store_slow(void *_Atomic *slot, void *value)
{
    unsigned long irq = port_irq_save();

    if (atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire))
        barrier_note(atomic_load_explicit(slot, memory_order_acquire), value);
    atomic_store_explicit(slot, value, memory_order_release);
    port_irq_restore(irq);
}

PORT_RESTARTABLE void gc_store_word(void *_Atomic *slot, void *value)
{
    if (LIKELY(port_store_unless(&gc_barrier_is_on, slot, value)))
        return;
    if (UNLIKELY(!port_store_logged(&gc_barrier_is_on, gc_cpu, slot, value)))
        store_slow(slot, value);
}

bool gc_cas_word(void *_Atomic *slot, void *expected, void *value)
{
    void *old = expected;
    unsigned long irq = port_irq_save();
    bool is_done = atomic_compare_exchange_strong_explicit(slot, &old, value, memory_order_acq_rel,
                                                           memory_order_relaxed);

    /* Behind the swap as well as before: this CPU answers no handshake in between. */
    if (is_done && UNLIKELY(atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire)))
        barrier_note(expected, value);
    port_irq_restore(irq);
    return is_done;
}

void gc_shade(const void *word)
{
    unsigned long irq = port_irq_save();

    if (atomic_load_explicit(&gc_barrier_is_on, memory_order_acquire)) {
        gc_mark_enter();
        gc_mark_words((uintptr_t)&word, (uintptr_t)(&word + 1));
        gc_mark_leave();
    }
    port_irq_restore(irq);
}
