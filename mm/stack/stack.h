/*
 * Stacks that grow by page faults.
 *
 *      base                                                         top
 *       | guard |          reserved, no memory           |  backed   |
 *                                                        ^ backed     grows down <--
 *
 * A stack is a range of addresses of its own, a power of two long, of which at first the uppermost
 * page is backed.  An access below that, above the guard, is a page fault, and its handler backs all
 * pages down to there.  No function's prologue asks for anything, and what points into a stack stays
 * valid.
 */
#pragma once

#include "mm/port.h"

#define STACK_DEFAULT_BYTES (256 * KIB) /* guard included */
#define STACK_MAX_BYTES     (1 * GIB)
#define STACK_GUARD_BYTES   PAGE_BYTES

struct stack {
    uintptr_t top;             /* [C] one past its last byte */
    uintptr_t limit;           /* [C] its lowest usable byte; below stands the guard */
    _Atomic uintptr_t backed;  /* [A] relaxed: lowest byte that is backed; its flow's CPU writes it */
    uintptr_t deepest;         /* lowest value that `backed` has had */
    uint32_t flush;            /* a CPU whose number of flushes is below must flush before it runs here */
};

/*
 * stack_create -- addresses for a stack, and its first page.
 *   bytes    wanted, guard included; rounded up to a power of two; 0: STACK_DEFAULT_BYTES
 *   returns  false when memory or addresses are exhausted, or bytes is over STACK_MAX_BYTES
 *   pairs    stack_destroy
 *   context  irq; some 60 instructions where this CPU keeps a stack of default size
 */
bool stack_create(struct stack *stack, size_t bytes);

/* No flow runs or will run on it.  irq */
void stack_destroy(struct stack *stack);

/*
 * stack_enter -- this CPU is about to go on with a flow on that stack (NULL: on one of its own):
 * faults are this stack's from now on.  Interrupts off; 6 instructions.
 */
void stack_enter(struct stack *stack);

/* Pages for the fault handler, where it has used some.  At a safe point: irq, no lock held. */
void stack_refill(void);

/*
 * stack_shrink -- give back what lies deeper than twice what is in use, if less than a quarter of what
 * is backed is (Go's rule).  The flow on it does not run, or it is the caller's own.
 *   sp       its stack pointer
 *   returns  pages given back
 *   context  irq
 */
size_t stack_shrink_to(struct stack *stack, uintptr_t sp);

/* Stacks kept by CPUs, and pages and addresses that wait for a flush, back to the page heap.  Ordinary. */
void stack_drain(void);

struct stack_stats {
    size_t stacks;       /* in use */
    size_t backed_bytes; /* of these */
    size_t kept;         /* stacks that CPUs keep */
    size_t table_bytes;  /* page tables of the region, and its bitmap */
    uint64_t faults;     /* resolved, since start */
    uint64_t reserve_used; /* pages taken from reserves, since start */
};
struct stack_stats stack_stats(void);
void stack_check(void); /* invariants; ordinary, nothing else runs */

/* "guard of the stack of ..." is the caller's to say: which part of the region an address is. */
bool stack_is_guard(const struct stack *stack, uintptr_t addr);
