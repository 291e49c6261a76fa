#include "tests/kernel/thread/crew.h"

#define CREW_TURNS 1000000u

void crew_wait_gone(struct test *t, size_t threads)
{
    for (unsigned i = 0; i < CREW_TURNS && sched_stats().threads > threads; i++)
        thread_yield();
    EXPECT(t, sched_stats().threads <= threads);
}
