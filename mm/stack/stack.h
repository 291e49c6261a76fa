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
 *
 *     stack.c        creating and destroying
 *     stack_wait.c   stacks that are kept, what waits for a flush
 *     stack_space.c  addresses
 *     stack_fault.c  entering, the handler of page faults, its pages; shrinking
 *
 * What a CPU still believes.  A page that is taken away may stay in other CPUs' translations, until a
 * flush.  Three rules:
 *   - neither page nor page table nor address is used for anything else before all CPUs have been
 *     flushed: they wait in a list, so one flush serves many;
 *   - addresses of a stack that lives stay in use when it shrinks.  Shrinkings are numbered; a CPU
 *     that enters a stack flushes its own if it has not since that stack's last one (stack->flush);
 *   - where the stack grows again, other flows may be handed pointers into the new pages: its first
 *     growth flushes all CPUs, unless that has happened since.
 */
#pragma once

#include "mm/mm.h"
#include "mm/port.h"

#define STACK_DEFAULT_BYTES (256 * KIB) /* guard included */
#define STACK_MAX_BYTES     (1 * GIB)
#define STACK_GUARD_BYTES   PAGE_BYTES
#define STACK_RESERVE_PAGES 16u /* of each CPU, for faults with interrupts off */

/* Embedded by its user. */
struct stack {
    uintptr_t top;   /* [C] one past its last byte */
    uintptr_t limit; /* [C] its lowest usable byte; below stands the guard */
    _Atomic uintptr_t
        backed;        /* [A] relaxed: lowest byte that is backed; its flow's CPU writes it */
    uintptr_t deepest; /* lowest value that `backed` has had; written with it */
    uint64_t flush;    /* number of its last shrinking; by who shrinks, while it does not run */
};

/*
 * stack_create -- addresses for a stack, and its first page.
 *   bytes    wanted, guard included; rounded up to a power of two, STACK_DEFAULT_BYTES at least
 *   returns  false when memory or addresses are exhausted, or bytes is over STACK_MAX_BYTES
 *   pairs    stack_destroy
 *   context  irq; some 60 instructions where this CPU keeps a stack of default size
 */
bool stack_create(struct stack *stack, size_t bytes);

/* No flow runs or will run on it, nor points into it.  irq */
void stack_destroy(struct stack *stack);

/* What a switch to a flow looks at. */
struct stack_here {
    struct stack *current; /* [P] whose faults are resolved; NULL, or all zero: nobody's */
    uint64_t seen; /* [P] this CPU's translations are newer than shrinking number so and so */
    _Atomic bool is_full; /* [A] relaxed: no place of the reserve is empty; see stack_fault.c */
};
extern PORT_PERCPU(struct stack_here, stack_here);

void stack_flush_here(void);
void stack_refill_slow(void);

/*
 * stack_prepare -- this CPU is about to go on with a flow on that stack, or on one of its own, for which
 * a struct stack that is all zero stands.  Interrupts off, up to
 * stack_entered -- it runs there: faults are this stack's from now on.  In between nothing may be touched on
 * it below the stack pointer that its flow was left with.
 */
static inline void stack_prepare(const struct stack *stack)
{
    if (UNLIKELY(stack->flush > port_this_cpu(stack_here)->seen))
        stack_flush_here();
}

static inline void stack_entered(struct stack *stack)
{
    port_this_cpu(stack_here)->current = stack;
}

/* Both, where they are one: NULL is nobody's stack. */
static inline void stack_enter(struct stack *stack)
{
    if (stack != NULL)
        stack_prepare(stack);
    stack_entered(stack);
}

/* Pages for the fault handler, where it has used some.  At a safe point: interrupts off, no lock held. */
static inline void stack_refill(void)
{
    if (UNLIKELY(!atomic_load_explicit(&port_this_cpu(stack_here)->is_full, memory_order_relaxed)))
        stack_refill_slow();
}

/*
 * stack_shrink_to -- give back what lies deeper than twice what is in use, if less than a quarter of
 * what is backed is (Go's rule).  The flow on it does not run, or it is the caller's own: then some
 * pages are left for what runs here.
 *   sp       its stack pointer
 *   returns  pages given back
 *   context  irq
 */
size_t stack_shrink_to(struct stack *stack, uintptr_t sp);

/*
 * stack_drain -- stacks kept by CPUs, and pages and addresses that wait for a flush, back to the page
 * heap; CPUs' reserves are full afterwards if memory allows.  Ordinary.
 */
void stack_drain(void);

struct stack_stats {
    size_t stacks;         /* in use */
    size_t backed_bytes;   /* of these */
    size_t kept;           /* stacks that are kept: by CPUs, for all of them, or until a flush */
    size_t table_bytes;    /* page tables of the region, and its maps of addresses */
    size_t waiting_bytes;  /* pages and tables that wait for a flush */
    size_t reserve_bytes;  /* pages for handlers, of all CPUs */
    uint64_t faults;       /* resolved, since start */
    uint64_t reserve_used; /* pages taken from reserves, since start */
    uint64_t flushes;      /* of all CPUs, since start */
};
struct stack_stats stack_stats(void); /* irq; exact when nothing else runs */
size_t stack_page_bytes(void);        /* all that page_alloc has given for them; likewise */
void stack_check(void);               /* invariants; ordinary, nothing else runs */

/* Is addr in this stack's guard?  Any context. */
bool stack_is_guard(const struct stack *stack, uintptr_t addr);

/*
 * stack_named_by -- reports call name() for what the flow that runs on this CPU is called: "thread
 * worker 3".  Any context.  Start-up; the last one stands.
 */
void stack_named_by(const char *(*name)(void));

/*
 * Call fn for each page, in the direct map, that a stack has; and for those of all stacks that are kept, of
 * reserves, and that wait for a flush.  All CPUs stand still.
 */
typedef void stack_page_fn(uintptr_t start, uintptr_t end, void *arg);
void stack_each_page(const struct stack *stack, stack_page_fn *fn, void *arg);
void stack_each_kept_page(stack_page_fn *fn, void *arg);

void stack_init(void); /* boot CPU, once, when page_alloc works; by mm_init */
