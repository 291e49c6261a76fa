/*
 * Conditions, semaphores, and what is done once.  Made of wait queues and mutexes.
 */
#pragma once

#include "kernel/thread/mutex.h"
#include "kernel/thread/wait_queue.h"

/*
 * sync_describe -- for reports: "waits for mutex NAME, owned by THREAD", "waits for NAME".
 *   returns  false: it does not wait for anything that has a name, and text is empty
 *   context  any, waits for nobody; the thread is not gone
 */
bool sync_describe(const struct thread *thread, char *text, size_t bytes);

/* ---- Conditions: what a mutex protects has changed ---- */

struct condition {
    struct wait_queue queue;
};

#define CONDITION_INIT(name_)           \
    {                                   \
        .queue = WAIT_QUEUE_INIT(name_) \
    }

/*
 * condition_wait -- unlock the mutex, wait for a signal that comes after that, lock it again.  The
 * caller looks again at what he waits for: others may have had the mutex first.
 *   context  ordinary; the caller has the mutex
 */
void condition_wait(struct condition *condition, struct mutex *mutex);

/* The longest waiter, or all of them, go on; none waiting, nothing happens.  irq, with or without
   the mutex. */
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

/* ---- Semaphores: a count that is not taken below 0, fair ---- */

struct semaphore {
    struct wait_queue queue;
    size_t count; /* [queue.lock] 0 while anybody waits */
};

#define SEMAPHORE_INIT(name_, count_)                      \
    {                                                      \
        .queue = WAIT_QUEUE_INIT(name_), .count = (count_) \
    }

void semaphore_take(struct semaphore *semaphore); /* one off the count, when it has one; ordinary */
bool semaphore_try_take(struct semaphore *semaphore); /* false: it is 0; irq */
void semaphore_give(
    struct semaphore *semaphore); /* to the longest waiter, else to the count; irq */

/* ---- Once ---- */

struct once {
    _Atomic bool is_done; /* [A] release, acquire */
    struct mutex mutex;   /* who does it */
};

#define ONCE_INIT(name_)           \
    {                              \
        .mutex = MUTEX_INIT(name_) \
    }

void once_do_slow(struct once *once, void (*fn)(void *arg), void *arg);

/* The first who calls runs fn(arg); when anybody's call returns, it has been run.  Ordinary. */
static inline void once_do(struct once *once, void (*fn)(void *arg), void *arg)
{
    if (UNLIKELY(!atomic_load_explicit(&once->is_done, memory_order_acquire)))
        once_do_slow(once, fn, arg);
}
