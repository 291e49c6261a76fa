/* The replay's report: what is measured between the passes, and its text. */
#pragma once

#include "mm/slab/slab.h"
#include "tests/replay/replay.h"

/* A size class at the peak. */
struct report_class {
    struct slab_class_stats slab;
    size_t objects;     /* of the trace, live */
    size_t asked_bytes; /* by these */
};

struct replay_report {
    const struct replay *replay; /* [C] */
    struct report_class
        *classes;         /* [C] one per row of slab_class_stats, and one for large objects */
    size_t class_count;   /* [C] */
    size_t class_pages;   /* [C] memory behind classes */
    struct mm_stats peak; /* after the trace's peak record */
    struct mm_stats end;  /* after its last record */
    struct replay_totals totals;
    size_t peak_live_bytes, peak_heap_bytes;
    uint32_t damaged;
    uint64_t elapsed_ticks;   /* first record to last, without the pause at the peak */
    uint64_t own_ticks;       /* busy ticks of the dry pass */
    bool has_own_ticks;       /* false: there was no memory for a dry pass */
    size_t free_pages_before; /* drained */
    size_t free_pages_after;  /* everything freed, drained */
};

/* Memory for the table of classes.  false: none, said so.  Pairs with report_fini. */
bool report_init(struct replay_report *report, const struct replay *replay);
void report_fini(struct replay_report *report);

void report_take_peak(struct replay_report *report); /* at rest, after the peak record */
void report_take_end(struct replay_report *report);  /* at rest, before what is live is freed */

void report_print_head(const struct replay_report *report); /* one line, at once */
void report_print(const struct replay_report *report);      /* the rest */
unsigned report_wrong_count(const struct replay_report *report);
