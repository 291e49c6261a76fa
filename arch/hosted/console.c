/*
 * Console and exit of the hosted port: standard output, standard input, abort.
 *
 * Standard input is looked at only once the kernel has read from it (the monitor does), so that a
 * program that links the library keeps its own.
 */
#define _GNU_SOURCE
#include "arch/hosted/hosted_impl.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define CONSOLE_END 4 /* ^D: what a terminal's user types for the end of input; given once */

static _Atomic bool console_is_read; /* [A] relaxed */
static _Atomic bool console_at_end;  /* [A] relaxed */

void arch_console_write(const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, n);

        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
}

static bool console_poll(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    return !atomic_load_explicit(&console_at_end, memory_order_relaxed) && poll(&input, 1, 0) == 1;
}

int arch_console_read(void)
{
    unsigned char byte;
    ssize_t got;

    atomic_store_explicit(&console_is_read, true, memory_order_relaxed);
    if (!console_poll())
        return -1;
    got = read(STDIN_FILENO, &byte, 1);
    if (got != 0)
        return got == 1 ? byte : -1;
    atomic_store_explicit(&console_at_end, true, memory_order_relaxed);
    return CONSOLE_END;
}

bool hosted_console_has_input(void)
{
    return atomic_load_explicit(&console_is_read, memory_order_relaxed) && console_poll();
}

/* Not zero: abort, so that debuggers, fuzzers and test runners see where. */
void arch_exit(unsigned status)
{
    if (status == 0)
        exit(EXIT_SUCCESS);
    abort();
}
