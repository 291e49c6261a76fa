/*
 * panic -- say why, stop every other CPU, print each one's backtrace, end the machine with a
 * failing status (arch_exit).  Any context; a second panic on another CPU waits, one during the
 * report prints a short line and ends.  The first line is "panic: " and the message.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/check.h"

NORETURN COLD void panic(const char *format, ...) PRINTF_LIKE(1, 2);

/*
 * backtrace_print -- one symbolised line for each of `pcs`: "  #0 0x... name+0x12".
 *   pcs  return addresses, as arch_backtrace(NULL, ...) gives them
 */
void backtrace_print(const uintptr_t *pcs, size_t count);

/* One of them without number and newline, into out[0 .. bytes): "name+0x12", else "0x...". */
void backtrace_site_name(uintptr_t pc, char *out, size_t bytes);
