/*
 * What the native benchmark asks of an allocator, its subject.
 *
 * native.c is compiled once.  In the copy of the object that a subject is linked with, subject_alloc
 * and subject_free bear the names of the subject's own functions (native.mk): so the loops are the
 * same instructions for all, and nothing stands between loop and allocator.
 */
#pragma once

#include <stddef.h>

void *subject_alloc(size_t bytes);
void subject_free(void *p);

/* ---- subject_malloc.c: nothing to do; subject_spandrel.c ---- */

/*
 * subject_start -- make the allocator ready for `threads` threads, each on a core of its own.  Called
 * once, by the first of them.  Returns 0, or -1 with a message on standard error.
 */
int subject_start(unsigned threads);

/*
 * subject_thread_enter -- what a thread, the first one too, calls before it allocates.
 *   returns  0, or -1 with a message on standard error
 *   pairs    subject_thread_leave, before the thread ends
 */
int subject_thread_enter(void);
void subject_thread_leave(void);
