/*
 * A CPU's log of words that stores change, and in plain C what a store that is logged does.
 *
 * The definition that the restartable sequence of arch/sequence.h carries out, and the whole of the
 * fallback for a port without it.  Interrupts are off on the CPU whose log it is.
 *
 *     log     the word that was there and the one that is put, at `next`; then next goes up, then the store
 *
 * The store is the commit.  What stands in the log without it, as the sequence was begun again, does no
 * harm: it may be logged twice.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/base/base.h"

struct seq_log {
    void **next;  /* where the next two words go */
    void **limit; /* it is full where next has come to this; both NULL: there is no room yet */
};

/* Byte offsets for sequences. */
#define SEQ_LOG_NEXT  0
#define SEQ_LOG_LIMIT 8

_Static_assert(__builtin_offsetof(struct seq_log, limit) == SEQ_LOG_LIMIT, "as sequences have it");

/* false: full, or the flag is not set; nothing has been stored */
static inline bool seq_log_store(struct seq_log *log, const _Atomic bool *flag, void *_Atomic *slot,
                                 void *value)
{
    if (!atomic_load_explicit(flag, memory_order_acquire) || log->next >= log->limit)
        return false;
    log->next[0] = atomic_load_explicit(slot, memory_order_acquire);
    log->next[1] = value;
    log->next += 2;
    atomic_store_explicit(slot, value, memory_order_release);
    return true;
}
