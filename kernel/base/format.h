/*
 * Formatting without a C library: %d %i %u %x %X %p %s %c %% with - 0 # width .precision (also *)
 * and h hh l ll z t j; no floating point.  Output goes to a sink, a piece at a time, so nothing is
 * ever cut off.
 */
#pragma once

#include <stdarg.h>
#include "kernel/base/base.h"

typedef void format_sink(void *context, const char *bytes, size_t n);

void format_to(format_sink *sink, void *context, const char *format, va_list args);

/* Into buffer[0 .. bytes), NUL-terminated if bytes > 0; returns the length that it wanted. */
size_t format_string(char *buffer, size_t bytes, const char *format, ...) PRINTF_LIKE(3, 4);
