/*
 * channel_select (kernel/thread/channel.h): one of several operations.
 *
 *     lock all channels, in the order of their addresses
 *     a case is ready: do it, unlock all                             }  looks begin with a case
 *     none is: stand in all lists, unlock all, wait for a winner     }  by chance
 *     take the others out of their lists, each under its own lock
 *
 * With all locks held, no channel changes between the look at the first and standing in the last
 * list: so none is missed that has become ready (M1), and that none was ready is true of one moment.
 *
 * The cases that lose: another may come upon one until it is out of its list, fail to claim it, and
 * throw it out.  He is through with it when its channel's lock can be had.
 *
 * Locks: SYNC, up to CHANNEL_SELECT_MAX at once (spin_lock_also); RUN_QUEUE inside.
 *
 * Source: Go, runtime/select.go.
 */
#include "kernel/panic.h"
#include "kernel/thread/channel_impl.h"

_Static_assert(CHANNEL_SELECT_MAX <= SPIN_LOCK_ALSO_MAX, "all locks are held at once");

static PERCPU(uint64_t, select_random); /* [P] any number; interrupts off */

/* 0 .. n - 1, by chance: the golden ratio's multiples, mixed.  Interrupts off. */
static size_t select_start(size_t n)
{
    uint64_t x = *this_cpu(select_random) += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
    return (size_t)((x >> 32) * n >> 32);
}

/* Indices of cases that have a channel, by address, into `order`; returns how many. */
static size_t select_sort(struct channel_case *cases, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        const struct channel *channel = cases[i].channel;
        size_t place = count;

        if (channel == NULL)
            continue;
        for (; place > 0 && cases[cases[place - 1].order].channel > channel; place--)
            cases[place].order = cases[place - 1].order;
        cases[place].order = (uint16_t)i;
        count++;
    }
    return count;
}

/* The next channel in the order, each once; NULL: no more.  *at: 0 at first. */
static struct channel *select_next(const struct channel_case *cases, size_t count, size_t *at)
{
    struct channel *channel;

    if (*at == count)
        return NULL;
    channel = cases[cases[*at].order].channel;
    while (*at < count && cases[cases[*at].order].channel == channel)
        (*at)++;
    return channel;
}

static unsigned long select_lock(const struct channel_case *cases, size_t count)
{
    unsigned long irq = arch_irq_save();
    struct channel *channel;
    size_t at = 0;

    while ((channel = select_next(cases, count, &at)) != NULL)
        spin_lock_also(&channel->lock);
    return irq;
}

static void select_unlock(const struct channel_case *cases, size_t count, unsigned long irq)
{
    struct channel *channel;
    size_t at = 0;

    while ((channel = select_next(cases, count, &at)) != NULL)
        spin_unlock_off(&channel->lock);
    arch_irq_restore(irq);
}

/* Do a case that is ready; -1: none is.  All locks are held. */
static int select_try_locked(struct channel_case *cases, size_t n)
{
    size_t i = select_start(n);

    for (size_t looked = 0; looked < n; looked++) {
        if (cases[i].channel != NULL && channel_do_locked(&cases[i]))
            return (int)i;
        i = i + 1 < n ? i + 1 : 0;
    }
    return -1;
}

static void select_leave(struct channel_case *cases, size_t n, const struct channel_case *winner)
{
    for (size_t i = 0; i < n; i++) {
        struct channel *channel = cases[i].channel;

        if (channel == NULL || &cases[i] == winner)
            continue;

        unsigned long irq = spin_lock(&channel->lock);

        (void)wait_list_remove(cases[i].operation == CHANNEL_SEND ? &channel->senders
                                                                  : &channel->receivers,
                               &cases[i].link);
        spin_unlock(&channel->lock, irq);
    }
}

int channel_select(struct channel_case *cases, size_t n, unsigned flags)
{
    struct channel_wait wait = {.thread = thread_self()};
    bool may_wait = (flags & CHANNEL_NO_WAIT) == 0;
    const struct channel_case *winner;
    unsigned long irq;
    size_t count;
    int done;

    CHECK(n <= CHANNEL_SELECT_MAX);
    if (may_wait)
        sched_check_may_wait("channel_select");
    count = select_sort(cases, n);
    if (may_wait && count == 0)
        panic("channel_select: %s would wait for ever: there is no channel", wait.thread->name);
    irq = select_lock(cases, count);
    done = select_try_locked(cases, n);
    if (done >= 0 || !may_wait) {
        select_unlock(cases, count, irq);
        sched_leave_if_due();
        return done;
    }
    for (size_t i = 0; i < n; i++) {
        if (cases[i].channel != NULL)
            channel_enter_locked(&cases[i], &wait);
    }
    select_unlock(cases, count, irq);
    arch_irq_disable();
    winner = channel_park(&wait, "one of several channels");
    select_leave(cases, n, winner);
    return (int)(winner - cases);
}
