/* An allocator behind malloc and free: it starts by itself. */
#include "tests/bench/native/native.h"

int subject_start(unsigned threads)
{
    (void)threads;
    return 0;
}

int subject_thread_enter(void)
{
    return 0;
}

void subject_thread_leave(void)
{
}
