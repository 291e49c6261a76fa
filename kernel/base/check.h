/*
 * CHECK is always on: slow paths, every free.  DCHECK is compiled into debug builds only
 * (-DCONFIG_DEBUG=1): fast paths.  Whoever links this supplies check_failed(): the kernel's
 * panic, or a port's own.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/config.h"

NORETURN COLD void check_failed(const char *expression, const char *file, int line);

#define CHECK(condition) \
    (LIKELY(condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
#define DCHECK(condition) \
    (!CONFIG_DEBUG || LIKELY(condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
