/*
 * Who waits, in order of arrival: lists whose links stand on the stacks of those who wait.
 *
 * The protocol of all who wait here, and of who wakes them (M1 to M3 are what its users name):
 *
 *     waiter                                     waker
 *     lock; not yet? stand in the list; unlock   lock; make it so
 *     while (!done)                              take the first out of the list
 *         thread_park()                          done = true; thread_wake(thread)
 *     spin_wait(lock)                            unlock
 *
 *   M1  what is waited for is changed, and looked at last before standing in the list, with the
 *       lock held: so whoever changes it after that look finds the waiter
 *   M2  `done` is looked at in a loop: a permit may be there for another reason
 *   M3  thread_wake is called with the lock held, and who finds `done` waits for the lock to be let
 *       go: a permit for another reason may have him find it before his waker has called
 *       thread_wake, or has written what comes with `done`; and then he may return, and his stack
 *       and his thread be gone.  The waker took his ticket before he stored `done`, so that
 *       spin_wait knows of it
 *
 * As a waiter is through with the lock only after that, what holds the lock may be freed only when
 * no call on it is under way; that a call has had its effect is not enough.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/lock.h"
#include "kernel/thread/thread.h"

struct wait_link {
    struct wait_link *next, *prev; /* [L]; prev of the first: NULL */
};

struct wait_list {
    struct wait_link *first, *last; /* [L] NULL: empty */
};

/* A thread that waits. */
struct waiter {
    struct wait_link link;
    struct thread *thread; /* [C] */
    _Atomic bool is_done;  /* [A] release with the lock held, acquire */
};

static inline void wait_list_push(struct wait_list *list, struct wait_link *link)
{
    link->next = NULL;
    link->prev = list->last;
    if (list->last != NULL)
        list->last->next = link;
    else
        list->first = link;
    list->last = link;
}

/* The longest waiter, out of the list; NULL: it is empty. */
static inline struct wait_link *wait_list_pop(struct wait_list *list)
{
    struct wait_link *link = list->first;

    if (link == NULL)
        return NULL;
    list->first = link->next;
    if (link->next != NULL)
        link->next->prev = NULL;
    else
        list->last = NULL;
    return link;
}

/* Out of the list, wherever it is; false: it has been popped.  It has stood in the list. */
static inline bool wait_list_remove(struct wait_list *list, struct wait_link *link)
{
    if (list->first == link) {
        (void)wait_list_pop(list);
        return true;
    }
    if (link->prev == NULL)
        return false;
    link->prev->next = link->next;
    if (link->next != NULL)
        link->next->prev = link->prev;
    else
        list->last = link->prev;
    link->prev = NULL;
    return true;
}
