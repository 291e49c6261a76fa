/*
 * Every lock of the kernel, outermost first.  A CPU that holds a lock may take only locks that
 * stand further down.  Debug builds keep the held stack per CPU and panic with both names on an
 * inversion.
 *
 * Inside all of these is printk's lock, which is none of this kind: NMI and panic take it too
 * (kernel/print.c).
 */
#pragma once

#define LOCK_ORDER(X)                                               \
    X(MONITOR)     /* the monitor's line */                         \
    X(TEST)        /* tests' own locks */                           \
    X(REPLAY)      /* replay's shared state */                      \
    X(SYNC)        /* a mutex's or a channel's waiters */           \
    X(OWNERS)      /* who waits for whose mutex */                  \
    X(THREADS)     /* the table of threads, who joins whom */       \
    X(RUN_QUEUE)   /* threads that wait for one CPU, or any */      \
    X(GC_HEAP)     /* kinds that are made, ranges that are roots */ \
    X(GC_KIND)     /* spans of one kind of collected object */      \
    X(SLAB_CACHES) /* the list of kmem_caches */                    \
    X(QUARANTINE)  /* freed objects that wait */                    \
    X(SITES)       /* sites of allocations not yet used */          \
    X(CENTRAL)     /* spans with free slots of one span class */    \
    X(MAGAZINES)   /* the pool of empty magazines */                \
    X(GUARD)       /* free slots of the guard pool */               \
    X(SPAN_DESC)   /* the pool of span descriptors */               \
    X(STACKS)      /* stacks' addresses; what waits for flushes */  \
    X(PAGE_HEAP)   /* page bitmaps and summaries */                 \
    X(OPENING)     /* memory that is not yet the page heap's */     \
    X(ARENAS)      /* tables by arena, and their page tables */     \
    X(PCI)         /* configuration space's registers */            \
    X(CONSOLE_IN)  /* bytes typed and not yet read */

enum lock_rank {
    LOCK_RANK_NONE,
#define X(name) LOCK_RANK_##name,
    LOCK_ORDER(X)
#undef X
        LOCK_RANK_COUNT
};
