/*
 * A CPU's magazines: arrays of free slots, of which the last goes out first, and in plain C what
 * the two operations on them do (mm/slab/magazine.h says what for).
 *
 * This is the definition that the restartable sequences of arch/sequence.h carry out, the whole of
 * the fallback for a port without them, and what slow paths call.  To call one of these, have
 * interrupts off on the CPU whose magazine it is.
 *
 * Idea.  A magazine is a block of 32 words, aligned to its size.  Slots stand in it up to its end:
 *
 *     words   0         b                       31
 *           |       | none | slot | slot |  |  |  |       b = 31 - capacity
 *                                   top
 *
 * `top` is where the newest slot stands.  It is kept as an offset from the last word of a block
 * that is for ever closed, `seq_closed`, so that 0 is a valid top: of no magazine.  Of every block
 * it then holds that its low byte is 0 exactly if the block is full.
 *
 * Empty needs no comparison either: below the slots stands `seq_nothing`, which is never a free
 * slot, and handing out checks that what it hands out is one.  A free slot holds its token in its
 * first word; a push writes it, a pop clears it.
 *
 *     pop   the slot at top has its token: top goes down, the token is cleared
 *     push  top is not at the end: the token is written, then the word above top, then top goes up
 *
 * The store to top is the commit of both.  What a push stores before means nothing until then, and
 * writing it twice is as good as once.  A pop clears the token behind its commit: nobody else has
 * the slot by then.
 *
 * A push does not ask whether the token is there, its caller has.  So a push that was begun again
 * and then found the magazine full has written the token and not pushed; who goes on from there must
 * not take that for a double free.
 */
#pragma once

#include "kernel/base/base.h"

#define SEQ_MAGAZINE_WORDS 32u
#define SEQ_MAGAZINE_SLOTS 31u /* in a block, at most */

struct seq_magazine {
    void *words[SEQ_MAGAZINE_WORDS];
} __attribute__((aligned(256)));

_Static_assert(sizeof(struct seq_magazine) == 256, "the low byte of a top tells its word");

/* Byte offsets for sequences: what stands at a top of 0, and above. */
#define SEQ_CLOSED_TOP   248
#define SEQ_CLOSED_ABOVE 256

extern const struct seq_magazine seq_closed; /* its last word is &seq_nothing */
extern const uint64_t seq_nothing;           /* 0 */

/*
 * The token of a free slot: of no object, by an odd number, and no address that can be used, since
 * doubling takes the sign out of the upper bits.
 */
#define SEQ_TOKEN 0x5bd1e995

static inline uint64_t seq_token(const void *slot)
{
    return 2 * (uint64_t)(uintptr_t)slot + SEQ_TOKEN;
}

/* The word that a top stands for. */
static inline void **seq_top_word(uintptr_t top)
{
    return (void **)((uintptr_t)&seq_closed + SEQ_CLOSED_TOP + top);
}

static inline uintptr_t seq_top_of(void **word)
{
    return (uintptr_t)word - ((uintptr_t)&seq_closed + SEQ_CLOSED_TOP);
}

/* NULL: what stands at top is no free slot, there is none. */
static inline void *seq_magazine_pop(uintptr_t *top)
{
    uint64_t *slot = *seq_top_word(*top);

    if (*slot != seq_token(slot))
        return NULL;
    *top -= sizeof(void *);
    *slot = 0;
    return slot;
}

/* false: full. */
static inline bool seq_magazine_push(uintptr_t *top, void *slot, uint64_t token)
{
    if ((*top & 0xff) == 0)
        return false;
    *(uint64_t *)slot = token;
    seq_top_word(*top)[1] = slot;
    *top += sizeof(void *);
    return true;
}
