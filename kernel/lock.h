/*
 * Spinlocks: fair (ticket), interrupts off while held, ranked (kernel/lock_order.h).  One kind
 * only: whatever a lock protects may be touched from interrupt handlers.
 */
#pragma once

#include "kernel/lock_order.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/base/config.h"

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

/*
 * spin_lock_also -- as spin_lock_off, where locks of the same rank may be held, all at lower addresses:
 * so who takes several of one rank takes them in an order that is the same for all.
 */
#define SPIN_LOCK_ALSO_MAX 64 /* held at once */
void spin_lock_also(struct spinlock *lock);

/* Slow paths, and what debug builds do, of those below. */
COLD void spin_lock_slow(struct spinlock *lock, uint32_t ticket);
COLD void spin_wait_slow(const struct spinlock *lock, uint32_t next);
void spin_lock_checked(struct spinlock *lock);
void spin_unlock_checked(struct spinlock *lock);

/*
 * spin_wait -- wait until all are through with the lock who have asked for it by now.  Nobody
 * having it, two loads.  What they wrote is seen from here on.  irq; the caller does not hold it
 */
static inline void spin_wait(const struct spinlock *lock)
{
    uint32_t next = atomic_load_explicit(&lock->next, memory_order_relaxed);

    if (LIKELY((int32_t)(atomic_load_explicit(&lock->serving, memory_order_acquire) - next) >= 0))
        return;
    spin_wait_slow(lock, next);
}

/* spin_lock, spin_unlock where interrupts are off, before and after. */
static inline void spin_lock_off(struct spinlock *lock)
{
    if (CONFIG_DEBUG) {
        spin_lock_checked(lock);
        return;
    }

    uint32_t ticket = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);

    if (UNLIKELY(atomic_load_explicit(&lock->serving, memory_order_acquire) != ticket))
        spin_lock_slow(lock, ticket);
}

static inline void spin_unlock_off(struct spinlock *lock)
{
    if (CONFIG_DEBUG) {
        spin_unlock_checked(lock);
        return;
    }
    arch_own_add(&lock->serving, 1);
}

/* Print the locks that `cpu` holds, one line each; debug builds only know.  Any context. */
void lock_dump_held(unsigned cpu);
