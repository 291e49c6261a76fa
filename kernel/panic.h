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
 * panic_explain_faults -- from now on fn(addr, ...) is asked of every access that faulted, before
 * the panic: in the trap's handler, any context, on several CPUs at once.
 *   fn    prints what it knows of the address, and writes what the panic's first line shall say to
 *         text[0 .. bytes); false: it knows nothing, and has done nothing
 *   context  boot CPU, before others start; several are asked in the order in which they came
 */
typedef bool panic_explain_fn(uintptr_t addr, bool is_write, char *text, size_t bytes);
void panic_explain_faults(panic_explain_fn *fn);

/*
 * panic_tell -- the report calls fn() at its end; fn prints, takes no lock, and trusts nothing.
 * panic_share_nmi -- an NMI that is not panic's is fn's; false: not its either.
 *   context  CPU 0, once each, before others start
 */
void panic_tell(void (*fn)(void));
struct trap_frame;
void panic_share_nmi(bool (*fn)(struct trap_frame *frame));

/*
 * backtrace_print -- one line for each of `pcs`: "  #0 0x... name+0x12 (file:line)".
 *   pcs  return addresses, as arch_backtrace(NULL, ...) gives them
 */
void backtrace_print(const uintptr_t *pcs, size_t count);
