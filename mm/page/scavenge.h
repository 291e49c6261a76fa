/*
 * The scavenger's parts, for mm/page and its tests; what others call stands in mm/page/page.h.
 * (The theory stands in mm/page/scavenge.c.)
 */
#pragma once

#include "mm/page/page_heap.h"

#define SCAVENGE_QUANTUM_PAGES    16ul /* 64 KiB, Go's */
#define SCAVENGE_PERIOD_SECONDS   5u   /* over which the use of memory is measured */
#define SCAVENGE_LOOKS_PER_SECOND 100u /* by an idle CPU, while there is something to give back */
#define SCAVENGE_SHARE            100u /* it may take one part in so many of one CPU */
#define SCAVENGE_LOOK_CHUNKS      64u  /* chunks, or stretches without any, in one look */

/* What a pass over memory gives back, in this order. */
enum scavenge_grain {
    SCAVENGE_CHUNKS, /* chunks that are free as a whole */
    SCAVENGE_QUANTA, /* aligned 64 KiB in chunks that are not */
    SCAVENGE_PAGES,  /* anything, 64 KiB at most; only when forced */
    SCAVENGE_END,    /* all has been seen */
};

/* Where a pass has come to: from the highest address down, once for each grain. */
struct scavenge_scan {
    enum scavenge_grain grain;
    enum scavenge_grain last; /* SCAVENGE_END follows it */
    size_t end;               /* chunks below this number are still to be seen */
};

struct scavenge_run {
    size_t page, pages;
};

void scavenge_restart(struct scavenge_scan *scan, const struct page_heap *heap,
                      enum scavenge_grain last);

/*
 * scavenge_find -- go on with a pass: the highest run left of the grain that is next.
 *   spare    pages that may be given back: grains larger than that are passed over
 *   returns  false: none in this look; the pass is over if scan->grain is SCAVENGE_END
 *   context  the heap's lock is held; looks at SCAVENGE_LOOK_CHUNKS chunks at most
 */
bool scavenge_find(const struct page_heap *heap, struct scavenge_scan *scan, size_t spare,
                   struct scavenge_run *run);

/* ---- Pace: at most one part in SCAVENGE_SHARE of the time, saved up for a second at most ---- */

struct scavenge_pace {
    uint64_t seen;  /* ticks up to which time has been counted */
    int64_t credit; /* ticks that may be spent; below 0: has to wait */
};

void scavenge_earn(struct scavenge_pace *pace, uint64_t now, uint64_t ticks_per_second);
void scavenge_spend(struct scavenge_pace *pace, uint64_t ticks);

/* ---- A scavenger ---- */

/* Lock letters: [C] constant once opened, [A] atomic, [B] whoever has set is_busy. */
struct scavenger {
    struct page_heap *heaps;                                /* [C] */
    unsigned heap_count;                                    /* [C] */
    enum port_release (*release)(void *addr, size_t pages); /* [C] */
    bool traces;                                            /* [C] scavtrace=1 */
    _Atomic bool is_on;     /* [A] opened, and memory is still being taken; release */
    _Atomic bool is_busy;   /* [A] one flow scavenges; acquire / release */
    _Atomic unsigned holds; /* [A] allocations for which nothing more is taken; relaxed */
    struct scavenge_scan scans[PORT_NODE_MAX]; /* [B] by heap */
    struct scavenge_pace pace;                 /* [B] */
    bool has_spare;         /* [B] as of the last step: more is retained than the goal */
    uint64_t period_end;    /* [B] ticks */
    size_t peak_pages;      /* [B] in use, at most, as seen in this period */
    size_t last_peak_pages; /* [B] in the one before */
    uint64_t traced;        /* [B] ticks when the last line was printed */
    size_t idle_pages;      /* [B] given back since then by idle CPUs */
    size_t eager_pages;     /* [B] likewise on request */
};

extern struct scavenger page_scavenger; /* of all nodes' heaps */

void scavenger_open(struct scavenger *scavenger, struct page_heap *heaps, unsigned heap_count,
                    enum port_release (*release)(void *addr, size_t pages), uint64_t now);

/*
 * scavenger_step -- a piece of background work: one look, or one run.
 *   now      port_ticks(), in tests any time that does not go back
 *   returns  true: there is more to do now
 *   context  ordinary; is_busy is the caller's
 */
bool scavenger_step(struct scavenger *scavenger, uint64_t now);

/* scavenger_all -- a pass over everything, whatever the goal.  As scavenger_step. */
void scavenger_all(struct scavenger *scavenger);

/* Pages that stay with this machine: 110 % of the most in use in this period and the last. */
size_t scavenger_goal(const struct scavenger *scavenger);
