/*
 * Spinlocks: fair (ticket), interrupts off while held, ranked (kernel/lock_order.h).  One kind
 * only: whatever a lock protects may be touched from interrupt handlers.
 */
#pragma once

#include "kernel/lock_order.h"
#include <stdatomic.h>
#include "arch/arch.h"

struct spinlock {
    _Atomic uint32_t next;    /* [A] ticket of the next comer; relaxed */
    _Atomic uint32_t serving; /* [A] ticket that holds the lock; acquire / release */
    uint32_t rank;            /* [C] enum lock_rank */
    _Atomic uint32_t waits;   /* [A] acquisitions that had to spin, for contention reports */
};

#define SPINLOCK_INIT(lock_rank_name)      \
    {                                      \
        .rank = LOCK_RANK_##lock_rank_name \
    }

/*
 * spin_lock -- interrupts off, then take the lock.
 *   returns  the interrupt state before, for spin_unlock
 *   context  irq; not NMI.  Panics (debug builds) on an inversion of ranks
 */
unsigned long spin_lock(struct spinlock *lock);
void spin_unlock(struct spinlock *lock, unsigned long irq_state);
bool spin_try_lock(struct spinlock *lock, unsigned long *irq_state); /* false: not taken */
bool spin_is_held(const struct spinlock *lock); /* by anyone; for CHECKs of *_locked functions */

/* Print the locks that `cpu` holds, one line each; debug builds only know.  Any context. */
void lock_dump_held(unsigned cpu);
