/*
 * Shrinkers: who else has memory to give back when the page heap has no more.
 *
 * A layer above that caches memory registers a function.  A request that fails, in a context that
 * may wait, calls every one of them once and then tries again, once.  So whoever gets NULL in such a
 * context need not drain anything himself.  A request that no heap could serve with all of its
 * memory fails at once, and calls none.
 *
 * A shrinker may itself allocate; a request of its own that fails calls none: a CPU never shrinks
 * while it shrinks.  Several CPUs may at the same time.  What is remembered is the CPU on which a
 * flow began to shrink, not the flow: of several flows on one CPU (threads, once there are any) one
 * shrinks, and the others fail without as long as it does; if it goes on on another CPU, it may
 * shrink there, once more for each move, and never without end.
 */
#pragma once

#include "mm/port.h"

/* Static storage of who registers it. */
struct page_shrinker {
    const char *name; /* [C] for reports */

    /*
     * Give back what can be given back; `pages` are wanted, more is welcome.  Ordinary context, no
     * lock held; on several CPUs at once.
     */
    void (*shrink)(size_t pages);       /* [C] */
    struct page_shrinker *next;         /* [C] once registered */
    _Atomic uint64_t runs, freed_pages; /* [A] relaxed; pages as far as others let one tell */
};

void page_shrinker_register(struct page_shrinker *shrinker); /* for good; once; any CPU, irq */
const struct page_shrinker *page_shrinker_first(void);       /* for reports; NULL: none */

/*
 * page_shrink -- call every shrinker, for a request of so many pages; each CPU's window is empty
 * afterwards.
 *   returns  false if none was called: interrupts are off, or this CPU is at it
 */
bool page_shrink(size_t pages);
