/*
 * Conditions, semaphores, once (kernel/thread/sync.h).
 *
 * Conditions.  The waiter stands in the queue before it unlocks the mutex.  So who changes, with the
 * mutex, what is waited for, and signals after that, finds it.
 *
 * Semaphores.  Given to a waiter, one does not pass through the count: so nobody who comes later
 * takes it first.
 *
 * Locks: SYNC, the queue's, not held together with the mutex's own.
 */
#include "kernel/panic.h"
#include "kernel/thread/sync.h"
#include "kernel/thread/thread_impl.h"

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    struct waiter waiter;

    if (!mutex_is_held(mutex))
        panic("condition_wait: %s does not have mutex %s", thread_self()->name, mutex->name);
    wait_queue_enter(&condition->queue, &waiter);
    mutex_unlock(mutex);
    wait_queue_wait(&condition->queue, &waiter);
    mutex_lock(mutex);
}

void condition_signal(struct condition *condition)
{
    (void)wait_queue_wake_one(&condition->queue);
}

void condition_broadcast(struct condition *condition)
{
    (void)wait_queue_wake_all(&condition->queue);
}

static bool semaphore_take_locked(struct semaphore *semaphore)
{
    if (semaphore->count == 0)
        return false;
    semaphore->count--;
    return true;
}

void semaphore_take(struct semaphore *semaphore)
{
    struct waiter waiter;

    sched_check_may_wait("semaphore_take");

    unsigned long irq = spin_lock(&semaphore->queue.lock);
    bool has_taken = semaphore_take_locked(semaphore);

    if (!has_taken)
        wait_queue_enter_locked(&semaphore->queue, &waiter);
    spin_unlock(&semaphore->queue.lock, irq);
    if (!has_taken)
        wait_queue_wait(&semaphore->queue, &waiter);
}

bool semaphore_try_take(struct semaphore *semaphore)
{
    unsigned long irq = spin_lock(&semaphore->queue.lock);
    bool has_taken = semaphore_take_locked(semaphore);

    spin_unlock(&semaphore->queue.lock, irq);
    return has_taken;
}

void semaphore_give(struct semaphore *semaphore)
{
    unsigned long irq = spin_lock(&semaphore->queue.lock);

    if (!wait_queue_wake_locked(&semaphore->queue))
        semaphore->count++;
    spin_unlock(&semaphore->queue.lock, irq);
    sched_leave_if_due();
}

void once_do_slow(struct once *once, void (*fn)(void *arg), void *arg)
{
    mutex_lock(&once->mutex);
    if (!atomic_load_explicit(&once->is_done, memory_order_relaxed)) {
        fn(arg);
        atomic_store_explicit(&once->is_done, true, memory_order_release);
    }
    mutex_unlock(&once->mutex);
}
