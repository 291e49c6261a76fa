/*
 * The pacer: when a cycle begins, and how hard it works.
 *
 * It owns figures only.  It is arithmetic over what the collector measures: it takes no lock, reads
 * no clock, allocates nothing, and whoever reads its struct sees what it goes by.
 *
 * Idea.  A cycle is to be over exactly when the heap reaches its goal, by the work of the background
 * workers alone: 25 % of the CPUs, no assists.  So it begins ahead of the goal by the *runway*,
 * which is what mutators allocate while the workers mark.
 *
 *     bytes   marked          trigger            goal                       hard goal
 *             |---------------|------------------|---------------------------|
 *              sweep, in       mark: runway =     only if there turns out to be
 *              proportion      cons/mark          more to mark than last time;
 *              to allocation   x 3 x work         assists hold the heap below
 *
 *     goal      marked + (marked + stacks + globals) x gogc / 100; at least the minimum heap, at
 *               most what the memory limit leaves, and always GC_PACER_STEP_BYTES past `marked`
 *     cons/mark bytes that one CPU allocates, over bytes that one CPU marks, in the same time: the
 *               highest of the last five cycles
 *     3         CPUs that allocate to CPUs that mark, at 25 %
 *     runway    that product, and an eighth more
 *     trigger   goal - runway, within 45/64 .. 61/64 of the way from marked to goal
 *
 * Where the estimate was too low, mutators assist: each byte allocated owes its share of the work
 * that is left, and what the workers did counts as done by whoever owes (the collector's credit).
 * Nobody pays before he owes GC_PACER_ASSIST_BYTES of work: a mark's first allocations would assist
 * while the workers have no credit yet.  So as much is unpaid for each owner of a debt; let it be a
 * CPU, not a thread.
 *
 * Fixed point.  No quantity in bytes is more than 2^46, all of memory (MM_PHYS_BYTES); inputs above
 * are cut to that.  Products have 128 bits, and a quotient that does not fit is UINT64_MAX.
 *
 *     share         16 bits of fraction, of CPU time: at most 2^16
 *     assist ratio  16 bits, rounded up: at most 2^46 work on 1 byte, 2^62.  Finer than 2^-16 owes
 *                   more than needed: a byte of work for 64 KiB, nobody sees that
 *     sweep ratio   32 bits, rounded up: at most 2^34 pages over a page of allocations, 2^54
 *     cons/mark     32 bits: stops at 2^32 bytes for one, where any trigger is too late
 *
 * Contract.  One caller at a time, in any context.  Ratios are single words, which the collector
 * hands to other CPUs as it likes; a debt is its owner's.
 *
 * Not here: who reads clocks, who counts bytes, when an assist has taken long enough: the collector.
 *
 * Source: M. Knyszek, "GC pacer redesign" (Go proposal 44167) and "Soft memory limit" (48409).
 */
#pragma once

#include "mm/mm.h"

#define GC_PACER_NONE         UINT64_MAX   /* no goal, no trigger, no limit */
#define GC_PACER_OFF          UINT32_MAX   /* gogc: only the limit makes a goal */
#define GC_PACER_GOGC         100u         /* percent */
#define GC_PACER_MIN_HEAP     (4 * MIB)    /* lowest goal at gogc=100 */
#define GC_PACER_UTIL_PERCENT 25u          /* of all CPUs, for background workers */
#define GC_PACER_SAMPLES      5u           /* cycles whose cons/mark counts */
#define GC_PACER_STEP_BYTES   (1 * MIB)    /* at least, from what was marked to the goal */
#define GC_PACER_ASSIST_BYTES (64 * KIB)   /* of work in an assist, at least */
#define GC_PACER_ONE          (1u << 16)   /* a share, and an assist ratio, of 1 */
#define GC_PACER_CONS_ONE     (1ull << 32) /* a cons/mark of 1, and a sweep ratio */

struct gc_pacer_settings {
    unsigned cpus;           /* >= 1 */
    unsigned gogc;           /* percent; or GC_PACER_OFF */
    uint64_t min_heap_bytes; /* lowest goal, at gogc=100; in proportion at others */
    uint64_t limit_bytes;    /* soft, of all memory in use; or GC_PACER_NONE */
};

/* Who marks in the background. */
struct gc_pacer_workers {
    unsigned dedicated;  /* CPUs that do nothing else */
    uint32_t fractional; /* of the time of every CPU, in 1/GC_PACER_ONE; 0: no such worker */
};

/* What there is as a mark begins.  Bytes. */
struct gc_pacer_start {
    uint64_t live_bytes;      /* objects, dead ones not yet found included: marked + allocated */
    uint64_t scannable_bytes; /* of these: in objects that may hold pointers */
    uint64_t stack_bytes;     /* stacks in use, an upper bound */
    uint64_t global_bytes;    /* roots that are not stacks */
};

/* What was found and done when it is over. */
struct gc_pacer_mark {
    uint64_t marked_bytes;    /* objects that are marked, those allocated during the mark too */
    uint64_t live_bytes;      /* as above, now */
    uint64_t heap_work_bytes; /* scanned in objects */
    uint64_t stack_work_bytes;
    uint64_t global_work_bytes;
    uint64_t wall_ns;   /* from start to now */
    uint64_t worker_ns; /* CPU time of dedicated and fractional workers */
    uint64_t assist_ns; /* of mutators, in assists */
    uint64_t idle_ns;   /* of CPUs that had nothing else to do */
    bool is_forced;     /* somebody asked and waits: says nothing of how mutators allocate */
};

/* A cycle, for gctrace and gcpacertrace. */
struct gc_pacer_report {
    struct gc_pacer_start start;
    struct gc_pacer_mark mark;
    uint64_t goal_bytes;          /* as it was when the mark began, or set during it */
    uint64_t expected_work_bytes; /* by the cycle before */
    uint64_t cons_mark;           /* of this cycle alone, 1/GC_PACER_CONS_ONE */
    unsigned util_permille;       /* workers and assists, of all CPUs, while it marked */
};

/*
 * Invariants, once gc_pacer_init is through:
 *   G1  marked_bytes < trigger_bytes < goal_bytes, or the last two are GC_PACER_NONE
 *   G2  goal_bytes >= marked_bytes + GC_PACER_STEP_BYTES
 *   G3  while is_marking: mark_goal_bytes > start.live_bytes
 */
struct gc_pacer {
    struct gc_pacer_settings settings;
    struct gc_pacer_workers workers; /* by settings.cpus */
    uint64_t other_bytes;            /* memory in use that is not objects */

    uint64_t marked_bytes; /* by the last cycle */
    uint64_t work_bytes;   /* of the last cycle, all kinds: what the next is expected to do */
    uint64_t root_bytes;   /* of these: stacks and globals */
    uint64_t cons_mark;    /* highest of the samples; 0 while there are none */
    uint64_t samples[GC_PACER_SAMPLES];
    unsigned sample_count; /* ever taken */

    uint64_t goal_bytes;    /* heap at the end of the next mark */
    uint64_t trigger_bytes; /* heap at which it is to begin */
    uint64_t runway_bytes;  /* that mutators need for it, as far as is known */
    uint64_t hard_bytes;    /* to which goal_bytes may give way: gogc percent more, or the limit */

    bool is_marking;
    struct gc_pacer_start start;  /* of this mark, or the last one */
    uint64_t mark_goal_bytes;     /* goal_bytes, or a little past a start that came late */
    uint64_t expected_work_bytes; /* of this mark */
    uint64_t max_work_bytes;      /* of this mark: were nothing dead */
    uint64_t assist_ratio;        /* work per byte, 1/GC_PACER_ONE; 0: nobody owes */

    uint64_t sweep_ratio;      /* pages per byte allocated, 1/GC_PACER_CONS_ONE */
    uint64_t sweep_pages;      /* all that are to be swept */
    uint64_t sweep_base_bytes; /* live bytes from which it counts */

    struct gc_pacer_report last; /* the last cycle; all 0 before the first */
};

/* What a mutator has allocated ahead of its share of marking.  0 at the start of each cycle. */
struct gc_debt {
    int64_t bytes; /* owed; negative: paid in advance */
};

/*
 * gc_pacer_init -- nothing marked, nothing known.  The first mark that is not forced begins as
 * early as may be.
 */
void gc_pacer_init(struct gc_pacer *pacer, const struct gc_pacer_settings *settings);

/*
 * gc_pacer_set -- other settings, from now on: goal and trigger are new, those of a mark under way
 * too (gc_pacer_revise is due), and the sweep's (gc_pacer_sweep_start is due).
 */
void gc_pacer_set(struct gc_pacer *pacer, const struct gc_pacer_settings *settings);

/*
 * gc_pacer_set_other -- the memory in use that is not objects of the collected heap: what the
 * limit does not leave to it.  Free slots and tails of its spans count here.  Likewise from now on.
 */
void gc_pacer_set_other(struct gc_pacer *pacer, uint64_t bytes);

/*
 * gc_pacer_start_mark -- a mark begins: gc_debt of all mutators is 0, pacer->workers are to run.
 *   returns  the assist ratio
 *   pairs    gc_pacer_end_mark
 */
uint64_t gc_pacer_start_mark(struct gc_pacer *pacer, const struct gc_pacer_start *start);

/*
 * gc_pacer_revise -- the assist ratio, by how far heap and mark have come; whenever much was
 * allocated or marked since.  A few hundred instructions at worst.
 *   live_bytes  as in gc_pacer_start, now
 *   work_bytes  scanned since the start: objects, stacks and globals, by whomever
 *   returns     it; 0 when nobody owes anything
 */
uint64_t gc_pacer_revise(struct gc_pacer *pacer, uint64_t live_bytes, uint64_t work_bytes);

/* gc_pacer_end_mark -- the mark is over: goal and trigger of the next; gc_pacer_sweep_start is due. */
void gc_pacer_end_mark(struct gc_pacer *pacer, const struct gc_pacer_mark *mark);

/*
 * gc_pacer_sweep_start -- spread what is left to sweep over the way to the trigger: it is through
 * 1 MiB ahead of that, or three quarters of the way.
 *   live_bytes  as in gc_pacer_start, now
 *   pages       in spans that are not swept
 */
void gc_pacer_sweep_start(struct gc_pacer *pacer, uint64_t live_bytes, uint64_t pages);

/* The workers for a number of CPUs (pacer->workers is that of its own). */
struct gc_pacer_workers gc_pacer_workers(unsigned cpus);

/* The pages that are to be swept, of those told to gc_pacer_sweep_start, at so many live bytes. */
static inline uint64_t gc_pacer_sweep_due(const struct gc_pacer *pacer, uint64_t live_bytes)
{
    if (live_bytes <= pacer->sweep_base_bytes)
        return 0;

    unsigned __int128 due =
        (unsigned __int128)(live_bytes - pacer->sweep_base_bytes) * pacer->sweep_ratio >> 32;

    return due < pacer->sweep_pages ? (uint64_t)due : pacer->sweep_pages;
}

/* A mutator takes `bytes` while a mark is on; returns whether it owes work (gc_debt_work). */
static inline bool gc_debt_charge(struct gc_debt *debt, uint64_t bytes)
{
    debt->bytes += (int64_t)bytes;
    return debt->bytes > 0;
}

/*
 * gc_debt_work -- the work, in bytes to scan, after which nothing is owed; 0 while that is less
 * than GC_PACER_ASSIST_BYTES, which is not worth an assist.
 */
uint64_t gc_debt_work(const struct gc_debt *debt, uint64_t assist_ratio);

/*
 * gc_debt_pay -- work has been done, or taken from what workers did.  An assist that ends early pays
 * what it has done: the rest stays owed.
 *   assist_ratio  the one that gc_debt_work had
 */
void gc_debt_pay(struct gc_debt *debt, uint64_t assist_ratio, uint64_t work_bytes);
