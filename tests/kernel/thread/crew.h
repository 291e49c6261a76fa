/* What the tests of threads share. */
#pragma once

#include <stdatomic.h>
#include "kernel/thread/sched.h"
#include "kernel/thread/thread.h"
#include "tests/test.h"

/* Two that take turns, or one that is told to end. */
struct crew_pair {
    struct thread *other;
    unsigned rounds;
    _Atomic unsigned turn;  /* whose it is */
    _Atomic unsigned count; /* what the test counts */
    _Atomic bool is_over;
};

struct crew_note {
    uint64_t cpus; /* that it may run on */
    bool is_wrong; /* it has run on another */
};

struct crew_order {
    char text[16];
    unsigned count;
};

struct crew_sleep {
    uint64_t until, woke; /* time_uptime_ns() */
};

/* Wait until there are no more than so many threads. */
void crew_wait_gone(struct test *t, size_t threads);
