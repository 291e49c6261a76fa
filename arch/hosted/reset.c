/*
 * The library's first state, for a second hosted_start in one process.
 *
 * kernel/, mm/ and this port keep their state in static variables.  The build renames the sections
 * .data and .bss of the library's objects (arch/hosted/hosted.mk), so that the linker says where
 * all of them lie: the first hosted_start copies the data, hosted_stop puts it back, and clears
 * the rest, CPU 0's per-CPU variables and, whoever's they are, the roots of collected objects
 * (mm/gc/gc_types.h).  What must outlive that is in "hosted_keep".
 *
 * Only static variables of programs and tests themselves are left alone.
 */
#include "arch/hosted/hosted_impl.h"
#include <stdlib.h>

extern uint64_t __start_spandrel_data[] __attribute__((weak));
extern uint64_t __stop_spandrel_data[] __attribute__((weak));
extern uint64_t __start_spandrel_bss[] __attribute__((weak));
extern uint64_t __stop_spandrel_bss[] __attribute__((weak));
extern uint64_t __start_gc_roots[] __attribute__((weak));
extern uint64_t __stop_gc_roots[] __attribute__((weak));

static char *first_data SECTION("hosted_keep") = NULL;

/* By hand and byte by byte: sanitizers keep marks between variables, which are no one's. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) static void reset_copy(
    volatile char *to, const volatile char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = from[i];
}

__attribute__((no_sanitize("address"), no_sanitize("thread"))) static void reset_clear(
    volatile char *at, const char *end)
{
    while (at < end)
        *at++ = 0;
}

static size_t reset_data_bytes(void)
{
    return (size_t)((char *)__stop_spandrel_data - (char *)__start_spandrel_data);
}

bool hosted_reset_prepare(void)
{
    if (first_data != NULL)
        return true;
    if (__start_spandrel_bss == NULL)
        return false;
    first_data = malloc(reset_data_bytes() + 1);
    if (first_data == NULL)
        return false;
    reset_copy(first_data, (char *)__start_spandrel_data, reset_data_bytes());
    return true;
}

void hosted_reset(void)
{
    reset_copy((char *)__start_spandrel_data, first_data, reset_data_bytes());
    reset_clear((char *)__start_spandrel_bss, (char *)__stop_spandrel_bss);
    reset_clear((char *)__start_gc_roots, (char *)__stop_gc_roots);
    reset_clear(__start_percpu, __stop_percpu);
}
