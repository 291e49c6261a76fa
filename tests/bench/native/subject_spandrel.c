/* Spandrel on a Linux process, behind kmalloc and kfree, with all its default settings. */
#include <stdio.h>
#include "arch/hosted/hosted.h"
#include "tests/bench/native/native.h"

#define SUBJECT_RAM_BYTES (256ul << 20)

int subject_start(unsigned threads)
{
    return hosted_start(SUBJECT_RAM_BYTES, threads, NULL);
}

int subject_thread_enter(void)
{
    if (hosted_cpu_enter() >= 0)
        return 0;
    fprintf(stderr, "native: no CPU is free\n");
    return -1;
}

void subject_thread_leave(void)
{
    hosted_cpu_leave();
}
