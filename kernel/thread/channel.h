/*
 * Channels: bounded queues of words between threads, after Go's.
 *
 *     struct channel *jobs = channel_create(16);
 *
 *     channel_send(jobs, (uintptr_t)job);           while (channel_receive(jobs, &word)) ...
 *     channel_close(jobs);
 *
 * Any number of threads send and receive.  Capacity 0 is a rendezvous: a send waits for its receive.
 * What one thread sends arrives in that order; who waits longest is served first.
 *
 * Closed, nothing more can be sent.  What is in it can still be received, and then its receives
 * return false at once.  A send that waits, or comes later, returns false: unlike Go's, which
 * panics.
 *
 * Words are opaque: numbers, or pointers.  For who looks for pointers, all of a channel's words
 * stand in its own kmalloc object, or on the stacks of threads that wait (channel_select: in
 * their cases), or in registers.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/thread/waiter.h"

struct channel;

/* NULL when memory is exhausted.  irq */
struct channel *channel_create(size_t capacity);

/* No call on it is under way: panics when anybody waits.  NULL: nothing happens.  irq */
void channel_destroy(struct channel *channel);

/* Wait until it has been done; false: closed, nothing was sent or received, *word is 0.  Ordinary. */
bool channel_send(struct channel *channel, uintptr_t word);
bool channel_receive(struct channel *channel, uintptr_t *word);

/* The same without waiting.  irq */
enum channel_result { CHANNEL_DONE, CHANNEL_CLOSED, CHANNEL_NOT_READY };
enum channel_result channel_try_send(struct channel *channel, uintptr_t word);
enum channel_result channel_try_receive(struct channel *channel, uintptr_t *word);

void channel_close(struct channel *channel);         /* all who wait go on; twice is a panic; irq */
size_t channel_count(const struct channel *channel); /* words in it, as of about now; any context */

enum channel_operation { CHANNEL_RECEIVE, CHANNEL_SEND };

struct channel_wait;

/* What channel_select can do.  On the caller's stack, as it holds the links of a thread that waits. */
struct channel_case {
    struct channel *channel; /* NULL: never ready */
    uintptr_t word;          /* to send; out: received */
    enum channel_operation operation;
    bool is_open;              /* out: it was done; false: closed, as channel_send has it */
    uint16_t order;            /* channel_select's: an index, by address of the channel */
    struct wait_link link;     /* [channel's lock] */
    struct channel_wait *wait; /* [C] from standing in a list on */
};

/*
 * channel_select -- do one of several operations, one that is ready; if several are, one of them by
 * chance; if none is, wait for the first that can be done.
 *   cases    n, at most CHANNEL_SELECT_MAX; of the others nothing has happened
 *   flags    enum channel_flags
 *   returns  the index of what was done; -1: CHANNEL_NO_WAIT, and at one moment none was ready
 *   context  ordinary; irq with CHANNEL_NO_WAIT.  Panics if it would wait for NULLs only
 */
#define CHANNEL_SELECT_MAX 64
enum channel_flags { CHANNEL_NO_WAIT = 1 << 0 };
int channel_select(struct channel_case *cases, size_t n, unsigned flags);
