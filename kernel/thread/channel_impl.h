/* What the files of channels share. */
#pragma once

#include "kernel/thread/channel.h"
#include "kernel/thread/sched_impl.h"
#include "mm/gc/gc.h"

/*
 * Invariants, while the lock is not held
 *   N1  senders wait   => count == capacity, and no receiver waits
 *   N2  receivers wait => count == 0
 *   N3  is_closed      => nobody waits who will not be woken (channel_close is at work)
 * But for a thread that waits in channel_select: of its cases all but one are out of date from the
 * moment when one has been done, until it has taken them out of their lists.
 */
struct channel {
    struct spinlock lock;
    struct wait_list senders, receivers; /* [L] of channel_case.link */
    size_t capacity;                     /* [C] words */
    size_t count;                        /* [L] words in it; racy readers */
    size_t first;                        /* [L] index of the oldest */
    bool is_closed;                      /* [L] */
    struct gc_range range;               /* the words are roots */
    uintptr_t words[];                   /* [L] a ring */
};

/* A thread that waits, in one list or several. */
struct channel_wait {
    struct thread *thread; /* [C] */
    _Atomic(struct channel_case *)
        winner; /* [A] who sets it, once, does that case; NULL: nobody yet */
};

/* For the thread that runs; interrupts off. */
static ALWAYS_INLINE void channel_wait_init(struct channel_wait *wait)
{
    wait->thread = (struct thread *)this_cpu(sched_cpu)->current;
    atomic_init(&wait->winner, NULL);
}

/*
 * Do the case if it is ready; the channel's lock is held.  Sets is_open, and the word received.
 * False: it is not.
 */
bool channel_do_locked(struct channel_case *wanted);

/* Stand in the list of those who wait for it; the channel's lock is held. */
static inline void channel_enter_locked(struct channel_case *wanted, struct channel_wait *wait)
{
    struct channel *channel = wanted->channel;

    wanted->wait = wait;
    wait_list_push(wanted->operation == CHANNEL_SEND ? &channel->senders : &channel->receivers,
                   &wanted->link);
}

/* The rest of channel_park: the permit was there for another reason. */
COLD struct channel_case *channel_park_on(struct channel_wait *wait);

/*
 * Wait until one of the cases has been done; returns it.  No lock is held, interrupts are off and
 * were on (sched_check_may_wait); on again when it returns.
 */
static ALWAYS_INLINE struct channel_case *channel_park(struct channel_wait *wait,
                                                       const char *waits_on)
{
    struct thread *self = wait->thread;
    struct channel_case *winner;

    atomic_store_explicit(&self->waits_on, waits_on, memory_order_relaxed);
    thread_park_off(self);
    winner = atomic_load_explicit(&wait->winner, memory_order_acquire);
    if (UNLIKELY(winner == NULL))
        winner = channel_park_on(wait);
    atomic_store_explicit(&wait->thread->waits_on, NULL, memory_order_relaxed);
    arch_irq_enable();
    spin_wait(&winner->channel->lock);
    return winner;
}
