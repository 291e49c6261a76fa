/*
 * printk -- one or more whole lines to the console; text without a final newline gets one.  A
 * call's output is never interleaved with another CPU's, never cut off and never dropped; any
 * context, NMI and panic included; base/format.h's conversions.  Costs a console write: not for
 * fast paths.
 */
#pragma once

#include <stdarg.h>
#include "kernel/base/base.h"
#include "kernel/base/format.h"

void printk(const char *format, ...) PRINTF_LIKE(1, 2);
void vprintk(const char *prefix, const char *format, va_list args); /* prefix, then the rest */

/*
 * print_bytes -- part of a line, as it is: the monitor's prompt and echo.  A printk that finds a
 * line open starts a new one.  Any context.
 */
void print_bytes(const char *bytes, size_t n);

/*
 * Called by panic first: gives the line that another CPU prints a moment to end; from then on this
 * CPU prints without waiting and every other CPU's printk waits for ever.
 */
void print_panic_begin(void);

/*
 * For tests: until print_capture(NULL, NULL), all CPUs' output goes to `sink` instead of the
 * console, one piece at a time, under printk's lock.  A panic ends it.  Ordinary context.
 */
void print_capture(format_sink *sink, void *context);
