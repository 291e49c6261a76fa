/*
 * Stores of pointers into the collected heap.
 *
 * While a mark is on, a store first puts the old and the new value into this CPU's barrier buffer, whose
 * contents are marked before the CPU says that it has nothing left (cycle.c):
 *
 *     old   deletion barrier (Yuasa): what was reachable when the mark began will be marked, though the
 *           last pointer to it may move into a register of a thread that has been scanned
 *     new   insertion barrier (Dijkstra): what a thread that has not been scanned yet hides in an object
 *           that has been, or in a new one
 *
 * From the look at the flag to the store is one restartable sequence: so when a CPU has answered a
 * handshake, none of its threads, those it has put aside included, is about to store by what it saw
 * before.  A compare-and-swap does both with interrupts off.
 *
 * Source: Go's hybrid barrier (Clements, Hudson, proposal 17503).
 */
#pragma once

#include "mm/port.h"

extern _Atomic bool gc_barrier_is_on; /* [A] relaxed: a handshake follows each change */

/* *slot = value, by the barrier.  slot: a word of an object, or a root.  irq; 5 instructions, 22 while marking */
void gc_store_word(void *_Atomic *slot, void *value);

/* The same if it holds `expected`, as one step; false: it does not, nothing is stored.  irq */
bool gc_cas_word(void *_Atomic *slot, void *expected, void *value);

/*
 * gc_shade -- a word that may be a pointer goes where the barrier does not see it: from one thread to
 * another, or into a range of gc_root_add.  Before the move or behind it, with interrupts off over both: so
 * the collector waits for both, or comes before both.
 */
void gc_shade(const void *word);

/* The same, short where no mark is on. */
static ALWAYS_INLINE void gc_note_move(uintptr_t word)
{
    if (UNLIKELY(atomic_load_explicit(&gc_barrier_is_on, memory_order_relaxed)))
        gc_shade((const void *)word);
}
