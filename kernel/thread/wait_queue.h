/*
 * Wait queues: threads that wait until something holds which others, interrupt handlers too, make
 * so.
 *
 *     static struct wait_queue queue = WAIT_QUEUE_INIT("input");
 *
 *     WAIT_UNTIL(&queue, ring_has_bytes());         bytes_put(); wait_queue_wake_one(&queue);
 *
 * Who waits looks, stands in the queue, and looks again; who makes the condition true wakes after
 * that.  The queue's lock orders the two: either the waker finds the waiter, or the waiter's second
 * look comes after the waker's change.
 */
#pragma once

#include "kernel/thread/waiter.h"

struct wait_queue {
    const char *name; /* [C] a literal */
    struct spinlock lock;
    struct wait_list waiters; /* [L] */
    size_t count;             /* [L] of them */
};

#define WAIT_QUEUE_INIT(name_)                       \
    {                                                \
        .name = (name_), .lock = SPINLOCK_INIT(SYNC) \
    }

/*
 * WAIT_UNTIL -- wait until `condition`, which is looked at several times, is true.  It is evaluated
 * by this thread and without a lock: what it reads is atomic.
 *   context  ordinary, preemption on
 */
#define WAIT_UNTIL(queue, condition)                 \
    do {                                             \
        while (!(condition)) {                       \
            struct waiter waiter_;                   \
            wait_queue_enter((queue), &waiter_);     \
            if (condition) {                         \
                wait_queue_leave((queue), &waiter_); \
                break;                               \
            }                                        \
            wait_queue_wait((queue), &waiter_);      \
        }                                            \
    } while (0)

/*
 * wait_queue_wake_one, wait_queue_wake_all -- the longest waiter, or all that wait now, look again.
 *   returns  false: nobody waits
 *   context  irq
 */
bool wait_queue_wake_one(struct wait_queue *queue);
bool wait_queue_wake_all(struct wait_queue *queue);

/*
 * What WAIT_UNTIL is made of: stand at the end of the queue; then either leave it or wait until woken.
 * Who leaves and had been woken wakes the next, as he had no need of it.  Ordinary.
 */
void wait_queue_enter(struct wait_queue *queue, struct waiter *waiter);
void wait_queue_leave(struct wait_queue *queue, struct waiter *waiter);
void wait_queue_wait(struct wait_queue *queue, struct waiter *waiter);

/* ---- For what is built on queues; the lock is held ---- */

void wait_queue_enter_locked(struct wait_queue *queue, struct waiter *waiter);
bool wait_queue_wake_locked(struct wait_queue *queue); /* one */
