/*
 * Mutexes: locks for threads, who sleep while they wait and may sleep while they hold one.
 *
 *     static struct mutex files = MUTEX_INIT("files");
 *
 * Fair: who unlocks hands it to the longest waiter.  What a mutex stands in may be freed once no call
 * on it is under way; who has locked it last may free it after mutex_unlock, if nobody else uses it.
 */
#pragma once

#include "kernel/thread/waiter.h"

#define MUTEX_WAITERS 1ul /* in `owner`: somebody waits, so it is handed over, under the lock */

/*
 * Invariants
 *   X1  MUTEX_WAITERS is set <=> there are waiters, while the lock is not held
 *   X2  with MUTEX_WAITERS, only the lock's holder changes `owner`
 */
struct mutex {
    const char *name;        /* [C] a literal */
    _Atomic uintptr_t owner; /* [A] struct thread *, 0: none; acquire to lock, release to unlock */
    struct spinlock lock;
    struct wait_list waiters; /* [L] */
};

#define MUTEX_INIT(name_)                            \
    {                                                \
        .name = (name_), .lock = SPINLOCK_INIT(SYNC) \
    }

/*
 * mutex_lock, mutex_try_lock, mutex_unlock.  Uncontended, one compare-and-swap each.  Panics: who
 * locks what he has, unlocks what he has not, or waits in a ring: for a mutex whose owner waits, at
 * however many removes, for one of the caller's.  The report shows the ring.
 *   returns  try: false, another thread has it, or this one
 *   context  ordinary, preemption on
 */
void mutex_lock(struct mutex *mutex);
bool mutex_try_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);
bool mutex_is_held(const struct mutex *mutex); /* by the thread that calls */
