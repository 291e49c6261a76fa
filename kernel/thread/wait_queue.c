/*
 * Wait queues (kernel/thread/wait_queue.h), by the protocol of kernel/thread/waiter.h.
 *
 * Here the condition is its user's, not under the lock.  In place of M1: the waiter's second look
 * comes after it has held the lock to stand in the queue, the waker's change before it takes the
 * lock to look there.  Whichever of the two takes the lock later sees what the other did before.
 *
 * A thread that leaves with its condition true may have been woken meanwhile, for a change which
 * another waiter could use as well: so it wakes the next.
 *
 * Locks: SYNC, the queue's; RUN_QUEUE inside.
 */
#include "kernel/thread/wait_queue.h"
#include "kernel/thread/sched_impl.h"

#define WAIT_QUEUE_WAKES_MAX 16u /* with the lock held, interrupts off */

void wait_queue_enter_locked(struct wait_queue *queue, struct waiter *waiter)
{
    waiter->thread = thread_self();
    atomic_store_explicit(&waiter->is_done, false, memory_order_relaxed);
    wait_list_push(&queue->waiters, &waiter->link);
    queue->count++;
}

void wait_queue_enter(struct wait_queue *queue, struct waiter *waiter)
{
    sched_check_may_wait("wait_queue_enter");

    unsigned long irq = spin_lock(&queue->lock);

    wait_queue_enter_locked(queue, waiter);
    spin_unlock(&queue->lock, irq);
}

bool wait_queue_wake_locked(struct wait_queue *queue)
{
    struct wait_link *link = wait_list_pop(&queue->waiters);

    if (link == NULL)
        return false;

    struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
    struct thread *thread = waiter->thread;

    queue->count--;
    atomic_store_explicit(&waiter->is_done, true, memory_order_release);
    thread_wake_off(thread);
    return true;
}

void wait_queue_leave(struct wait_queue *queue, struct waiter *waiter)
{
    unsigned long irq = spin_lock(&queue->lock);

    if (wait_list_remove(&queue->waiters, &waiter->link))
        queue->count--;
    else
        (void)wait_queue_wake_locked(queue);
    spin_unlock(&queue->lock, irq);
    sched_leave_if_due();
}

void wait_queue_wait(struct wait_queue *queue, struct waiter *waiter)
{
    struct thread *self = waiter->thread;

    atomic_store_explicit(&self->waits_on, queue->name, memory_order_relaxed);
    while (!atomic_load_explicit(&waiter->is_done, memory_order_acquire))
        thread_park();
    atomic_store_explicit(&self->waits_on, NULL, memory_order_relaxed);
    spin_wait(&queue->lock);
}

bool wait_queue_wake_one(struct wait_queue *queue)
{
    unsigned long irq = spin_lock(&queue->lock);
    bool has_woken = wait_queue_wake_locked(queue);

    spin_unlock(&queue->lock, irq);
    sched_leave_if_due();
    return has_woken;
}

bool wait_queue_wake_all(struct wait_queue *queue)
{
    unsigned long irq = spin_lock(&queue->lock);
    size_t left = queue->count; /* who comes later stands behind these */
    bool has_woken = left != 0;

    for (unsigned turn = 0; left != 0 && wait_queue_wake_locked(queue); left--) {
        if (++turn % WAIT_QUEUE_WAKES_MAX == 0) {
            spin_unlock(&queue->lock, irq);
            sched_leave_if_due();
            irq = spin_lock(&queue->lock);
        }
    }
    spin_unlock(&queue->lock, irq);
    sched_leave_if_due();
    return has_woken;
}
