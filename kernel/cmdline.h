/*
 * The command line: key=value words (DESIGN section 3).  An unknown key is reported and ignored; a
 * malformed value is an error that names the key and the accepted range, and the default stands.
 * Settings are read-only after cmdline_parse.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/slab_setting.h"

#define SETTING_AUTO UINT64_MAX /* no value was given: who asks decides */

enum then_what { THEN_MONITOR, THEN_POWEROFF };

struct settings {
    char run[64];        /* run=      command to run before the monitor, a comma for each space
                                     ("panic,null"); "" or "monitor": none */
    enum then_what then; /* then=     monitor|poweroff: what comes after run= */
    char test[64];       /* test=     glob over suite.name */
    char bench[64];      /* bench= */
    char trace[64];      /* trace=    module name; "": the only or first module */
    unsigned cpus;       /* cpus=     0: all */
    unsigned nodes;      /* nodes=    0: as the firmware says; else memory in that many parts */
    uint64_t mem_bytes;  /* mem=      use at most; 0: all */
    unsigned failnth;    /* failnth=  0: off; armed on CPU 0 before the command of run= */
    uint64_t seed;       /* seed=     1 by default */
    uint64_t soak;       /* soak=     operations of the soak test; 0: a short one */
    uint64_t threads;    /* threads=  parked at once by their test; 0: some */
    uint64_t dmareserve_bytes; /* dmareserve= below 16 MiB for devices; SETTING_AUTO: by memory */
    uint64_t reserve_bytes;    /* reserve=    for the collector and stacks; likewise */
    uint64_t zeroahead_bytes;  /* zeroahead=  idle CPUs zero so much ahead; likewise */
    unsigned watchdog;        /* watchdog= seconds with interrupts off that are reported; 0: none */
    unsigned guard_rate;      /* guard_rate= one allocation in so many is guarded; 0: none */
    uint64_t guard_seed;      /* guard_seed= of which ones; 0: differs from boot to boot */
    bool page_poison;         /* page_poison=1 free pages hold a pattern */
    bool page_owner;          /* page_owner=1 who allocated a page */
    bool slab_random;         /* slab_random=0 slots go out in order, not shuffled by the seed */
    bool paranoia;            /* paranoia=1 full _check walks */
    unsigned gogc;            /* gogc=100|off; 0: off */
    uint64_t gcminheap_bytes; /* gcminheap= lowest goal of the collected heap, at gogc=100 */
    unsigned gcassist_us;     /* gcassist= that an allocation marks at once, at most */
    uint64_t memlimit_bytes;
    unsigned gctrace, schedtrace_ms, scavtrace, gcstoptheworld, gccheckmark, clobberfree;
    char slab_debug[SLAB_SETTING_BYTES]; /* slab_debug= kernel/slab_setting.h; "": none */
    uint64_t
        quarantine_bytes; /* quarantine= of freed objects, slab_debug=q; SETTING_AUTO likewise */
};

extern struct settings settings;

/* Returns the number of malformed values (reported through printk, as unknown keys are). */
unsigned cmdline_parse(const char *line);
