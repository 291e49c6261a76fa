/*
 * Free memory that the host takes back until it is used again: through a virtio balloon with free
 * page reporting, or, in a hosted process, from the operating system.
 */
#pragma once

#include "kernel/base/base.h"

enum balloon_answer {
    BALLOON_FAILED,        /* nothing has changed, and nothing will be taken any more */
    BALLOON_TAKEN,         /* contents are undefined */
    BALLOON_TAKEN_AS_ZERO, /* contents are zero */
};

/*
 * balloon_start -- find out who takes memory, and say so where it is a device or nobody.
 *   take_pages  gives n contiguous pages (direct map) or NULL
 *   returns     false: nobody does; balloon_report fails
 *   context     ordinary, once
 */
bool balloon_start(void *(*take_pages)(size_t n));
bool balloon_is_on(void);

/*
 * balloon_report -- the host may take what backs these pages, and backs them anew at the next touch.
 *   addr, bytes  whole pages of the direct map, at most 2 GiB, which nobody uses meanwhile
 *   context      ordinary; one flow at a time; waits for the host
 */
enum balloon_answer balloon_report(void *addr, size_t bytes);
