/*
 * The replay: a recorded trace's allocations and frees, done again by kmalloc, kfree, page_alloc
 * and page_free on the CPUs that the trace names.  (The theory stands in tests/replay/replay.c.)
 *
 *     replay_init      memory for the plan: each CPU's records, each id's state
 *     replay_run       records up to a limit, on all CPUs at once
 *     replay_run       ... and on, as often as wanted; nothing runs in between
 *     replay_release   free what the trace left live
 *     replay_reset     from the start again, perhaps with other flags
 *     replay_fini
 */
#pragma once

#include <stdatomic.h>
#include "arch/arch.h"
#include "tests/replay/trace.h"

#define REPLAY_REPORT_MAX 8u /* damaged objects that are reported one by one */

enum replay_flags {
    REPLAY_FILL = 1 << 0,     /* fill objects at their alloc, check them at their free */
    REPLAY_PROGRESS = 1 << 1, /* a line for every tenth of the records */
    REPLAY_DRY = 1 << 2,      /* the same walk, fill and check, but allocate nothing */
};

struct replay_step {
    uint32_t record; /* [C] index in the trace */
    uint32_t turn;   /* [C] records of the same id before this one */
};

#define REPLAY_AWAITED 0x80000000u /* in a turn: a CPU sleeps until it is passed on */

struct replay_id {
    _Atomic uint32_t turn; /* [A] records of this id done; acquire to take, release to pass on */
    uint32_t record;       /* [T] of its last alloc; T: whoever has the turn */
    void *addr;            /* [T] NULL: the last alloc was refused */
};

/* One CPU's part.  Written by its CPU only while replay_run runs. */
struct replay_worker {
    _Alignas(ARCH_LINE_BYTES) struct replay_step *steps; /* [C] in the trace's order */
    uint32_t step_count;                                 /* [C] */
    uint32_t next;                                       /* first step not done */
    uint32_t refused;                                    /* allocs that gave NULL */
    uint64_t busy_ticks;                                 /* in steps, without the two below */
    uint64_t wait_ticks;                                 /* for another CPU's record */
    uint64_t print_ticks;                                /* in progress lines */
    void *dry_area; /* [C] what stands for every object of a dry pass */
};

struct replay {
    const struct trace *trace; /* [C] checked */
    const char *name;          /* [C] for messages */
    unsigned cpu_count;        /* [C] CPUs in use */
    unsigned flags;            /* [C] during a pass: enum replay_flags */
    uint32_t limit;            /* [C] during a replay_run: records below run */

    struct replay_id *ids;  /* [C] trace->id_count of them */
    void *plan;             /* [C] the memory behind ids and steps */
    size_t plan_pages;      /* [C] */
    void *dry_areas;        /* [C] during a dry pass, one per CPU */
    size_t dry_area_bytes;  /* [C] each */
    size_t span_bytes_base; /* [C] in spans before the pass */

    /* For tests: called when an object has been filled; may damage it. */
    void (*after_fill)(void *addr, size_t bytes, uint32_t record);

    _Atomic uint32_t done;     /* [A] records done, in batches; relaxed */
    _Atomic uint32_t damaged;  /* [A] objects not whole at their free; relaxed */
    _Atomic uint64_t sleepers; /* [A] bit per CPU that waits asleep; ordered by the id's turn */
    _Atomic size_t live_bytes; /* [A] asked for and live; relaxed, as are those below */
    _Atomic size_t page_bytes; /* [A] of these: in page runs */
    _Atomic size_t peak_live_bytes;
    _Atomic size_t peak_heap_bytes; /* in spans, above the base, and in page runs */

    struct replay_worker workers[ARCH_CPU_MAX];
};

/*
 * replay_init -- plan the replay of a checked trace on `cpus` CPUs (1 .. cpus_online()).
 *   returns  false: no memory, said so; nothing is kept
 *   context  ordinary; pairs with replay_fini
 */
bool replay_init(struct replay *replay, const struct trace *trace, const char *name, unsigned cpus);
void replay_fini(struct replay *replay);

/*
 * replay_reset -- start a pass.  Nothing of the pass before may be live.
 *   returns  false: no memory for a dry pass's areas (others need none)
 */
bool replay_reset(struct replay *replay, unsigned flags);

/* Do all records below `limit` that are not done.  Ordinary, on CPU 0's flow. */
void replay_run(struct replay *replay, uint32_t limit);

/* Check and free what the records done so far have left live.  As replay_run. */
void replay_release(struct replay *replay);

/* Sums over the CPUs. */
struct replay_totals {
    uint64_t refused;
    uint64_t busy_ticks, wait_ticks;
};
struct replay_totals replay_totals(const struct replay *replay);
