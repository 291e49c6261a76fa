/*
 * Channels (kernel/thread/channel.h), by the protocol of kernel/thread/waiter.h.
 *
 *     senders                          words                        receivers
 *     case -> case -> case     first [ w w w . . . . ] count        case -> case
 *     each with its word       nobody waits, or on one side only    each with room for one
 *
 * A thread that waits stands in the list with a struct channel_case on its stack.  Who comes from the
 * other side moves the word from or to there, so that it goes on with all done.  This may be
 * written from another thread: while its thread is parked, a stack has the pages that its live
 * part is on, and does not shrink under it.
 *
 * Claims.  A thread in channel_select stands in several lists.  Who takes one of its cases out of a
 * list sets `winner` by a compare-and-swap, which the first one does successfully; the others go
 * on to the next in their list.  `winner` is what is called `done` in waiter.h: it is set before
 * the word is moved, so it is M3 that the thread sees the word.  A thread that waits parks before it looks
 * at `winner` first: who has been quicker gives it a permit.
 *
 * Locks: SYNC, the channel's; RUN_QUEUE inside, for thread_wake.
 *
 * Source: Go, runtime/chan.go.
 *
 * Words may be pointers into the collected heap: those in a ring are roots, and one that moves from a stack
 * or a ring to another is noted, as the collector may have looked at where it goes, and not yet at where it
 * was (mm/gc/barrier.h).
 */
#include "kernel/panic.h"
#include "kernel/thread/channel_impl.h"
#include "mm/slab/slab.h"

#define CHANNEL_WAKES_MAX 16u /* with the lock held, interrupts off */

struct channel *channel_create(size_t capacity)
{
    size_t bytes;
    struct channel *channel;

    if (__builtin_mul_overflow(capacity, sizeof(channel->words[0]), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(*channel), &bytes))
        return NULL;
    channel = kzalloc(bytes);
    if (channel == NULL)
        return NULL;
    channel->lock = (struct spinlock)SPINLOCK_INIT(SYNC);
    channel->capacity = capacity;
    gc_range_add(&channel->range, channel->words, capacity * sizeof(channel->words[0]));
    return channel;
}

void channel_destroy(struct channel *channel)
{
    if (channel == NULL)
        return;
    if (channel->senders.first != NULL || channel->receivers.first != NULL)
        panic("channel_destroy: a thread waits for channel %p", (void *)channel);
    gc_range_remove(&channel->range);
    kfree(channel);
}

__attribute__((no_sanitize("thread"))) size_t channel_count(const struct channel *channel)
{
    return channel->count;
}

/* ---- With the lock held ---- */

/* Take the longest waiter out of a list whom nobody else has done something for; NULL: none. */
static ALWAYS_INLINE struct channel_case *channel_claim_locked(struct wait_list *list)
{
    struct wait_link *link;

    while ((link = wait_list_pop(list)) != NULL) {
        struct channel_case *waiting = CONTAINER_OF(link, struct channel_case, link);
        struct channel_case *nobody = NULL;

        if (atomic_compare_exchange_strong_explicit(&waiting->wait->winner, &nobody, waiting,
                                                    memory_order_release, memory_order_relaxed))
            return waiting;
    }
    return NULL;
}

static ALWAYS_INLINE void channel_finish_locked(struct channel_case *waiting, bool is_open)
{
    waiting->is_open = is_open;
    thread_wake_off(waiting->wait->thread);
}

static ALWAYS_INLINE void channel_put_locked(struct channel *channel, uintptr_t word)
{
    size_t idx = channel->first + channel->count;

    channel->words[idx < channel->capacity ? idx : idx - channel->capacity] = word;
    channel->count++;
}

static ALWAYS_INLINE uintptr_t channel_get_locked(struct channel *channel)
{
    uintptr_t word = channel->words[channel->first];

    channel->words[channel->first] = 0; /* nobody shall take it for a pointer that is in use */
    channel->first = channel->first + 1 < channel->capacity ? channel->first + 1 : 0;
    channel->count--;
    return word;
}

/* Who calls this or receives notes the word's move, before interrupts come on. */
static ALWAYS_INLINE enum channel_result channel_send_locked(struct channel *channel,
                                                             uintptr_t word)
{
    struct channel_case *receiver;

    if (UNLIKELY(channel->is_closed))
        return CHANNEL_CLOSED;
    receiver = channel_claim_locked(&channel->receivers);
    if (receiver != NULL) {
        receiver->word = word;
        channel_finish_locked(receiver, true);
        return CHANNEL_DONE;
    }
    if (channel->count == channel->capacity)
        return CHANNEL_NOT_READY;
    channel_put_locked(channel, word);
    return CHANNEL_DONE;
}

static ALWAYS_INLINE enum channel_result channel_receive_locked(struct channel *channel,
                                                                uintptr_t *word)
{
    struct channel_case *sender;
    bool has_word = channel->count != 0;

    if (has_word)
        *word = channel_get_locked(channel);
    sender = channel_claim_locked(&channel->senders);
    if (sender != NULL) {
        if (has_word) {
            gc_note_move(sender->word);
            channel_put_locked(channel, sender->word);
        } else {
            *word = sender->word;
        }
        channel_finish_locked(sender, true);
        return CHANNEL_DONE;
    }
    if (has_word)
        return CHANNEL_DONE;
    if (!channel->is_closed)
        return CHANNEL_NOT_READY;
    *word = 0;
    return CHANNEL_CLOSED;
}

bool channel_do_locked(struct channel_case *wanted)
{
    enum channel_result result;

    if (wanted->operation == CHANNEL_SEND) {
        gc_note_move(wanted->word);
        result = channel_send_locked(wanted->channel, wanted->word);
    } else {
        result = channel_receive_locked(wanted->channel, &wanted->word);
        if (result == CHANNEL_DONE)
            gc_note_move(wanted->word);
    }
    wanted->is_open = result == CHANNEL_DONE;
    return result != CHANNEL_NOT_READY;
}

/* ---- Waiting ---- */

struct channel_case *channel_park_on(struct channel_wait *wait)
{
    struct channel_case *winner;

    while ((winner = atomic_load_explicit(&wait->winner, memory_order_acquire)) == NULL)
        thread_park_off(wait->thread);
    return winner;
}

/*
 * Wait for one operation.  Interrupts are off, the lock is held; when it returns, they are on and it is
 * let go.
 */
static NOINLINE bool channel_send_slow(struct channel *channel, uintptr_t word)
{
    struct channel_case wanted;
    struct channel_wait wait;

    channel_wait_init(&wait);
    wanted.channel = channel;
    wanted.operation = CHANNEL_SEND;
    wanted.word = word;
    channel_enter_locked(&wanted, &wait);
    spin_unlock_off(&channel->lock);
    (void)channel_park(&wait, "room in a channel");
    return wanted.is_open;
}

static NOINLINE bool channel_receive_slow(struct channel *channel, uintptr_t *word)
{
    struct channel_case wanted;
    struct channel_wait wait;

    channel_wait_init(&wait);
    wanted.channel = channel;
    wanted.operation = CHANNEL_RECEIVE;
    channel_enter_locked(&wanted, &wait);
    spin_unlock_off(&channel->lock);
    (void)channel_park(&wait, "a word from a channel");
    *word = wanted.word;
    return wanted.is_open;
}

bool channel_send(struct channel *channel, uintptr_t word)
{
    enum channel_result result;

    sched_check_may_wait("channel_send");
    arch_irq_disable();
    gc_note_move(word);
    spin_lock_off(&channel->lock);
    result = channel_send_locked(channel, word);
    if (result == CHANNEL_NOT_READY)
        return channel_send_slow(channel, word);
    spin_unlock_off(&channel->lock);
    arch_irq_enable();
    if (result == CHANNEL_CLOSED)
        return false;
    sched_leave_if_due();
    return true;
}

bool channel_receive(struct channel *channel, uintptr_t *word)
{
    enum channel_result result;

    sched_check_may_wait("channel_receive");
    arch_irq_disable();
    spin_lock_off(&channel->lock);
    result = channel_receive_locked(channel, word);
    if (result == CHANNEL_NOT_READY)
        return channel_receive_slow(channel, word);
    gc_note_move(*word);
    spin_unlock_off(&channel->lock);
    arch_irq_enable();
    if (result == CHANNEL_CLOSED)
        return false;
    sched_leave_if_due();
    return true;
}

enum channel_result channel_try_send(struct channel *channel, uintptr_t word)
{
    unsigned long irq = spin_lock(&channel->lock);

    gc_note_move(word);

    enum channel_result result = channel_send_locked(channel, word);

    spin_unlock(&channel->lock, irq);
    sched_leave_if_due();
    return result;
}

enum channel_result channel_try_receive(struct channel *channel, uintptr_t *word)
{
    unsigned long irq = spin_lock(&channel->lock);
    enum channel_result result = channel_receive_locked(channel, word);

    if (result == CHANNEL_DONE)
        gc_note_move(*word);
    spin_unlock(&channel->lock, irq);
    sched_leave_if_due();
    return result;
}

/* ---- Close ---- */

/* Some of those who wait; false: there are no more. */
static bool channel_close_some_locked(struct channel *channel)
{
    for (unsigned i = 0; i < CHANNEL_WAKES_MAX; i++) {
        struct channel_case *waiting = channel_claim_locked(&channel->receivers);

        if (waiting == NULL)
            waiting = channel_claim_locked(&channel->senders);
        if (waiting == NULL)
            return false;
        if (waiting->operation == CHANNEL_RECEIVE)
            waiting->word = 0;
        channel_finish_locked(waiting, false);
    }
    return true;
}

void channel_close(struct channel *channel)
{
    unsigned long irq = spin_lock(&channel->lock);

    if (channel->is_closed)
        panic("channel_close: channel %p is closed already", (void *)channel);
    channel->is_closed = true; /* nobody comes to wait any more */
    while (channel_close_some_locked(channel)) {
        spin_unlock(&channel->lock, irq);
        sched_leave_if_due();
        irq = spin_lock(&channel->lock);
    }
    spin_unlock(&channel->lock, irq);
    sched_leave_if_due();
}
