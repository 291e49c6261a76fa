/*
 * The machine's verdict: how much was found wrong since it started, and so with which status it
 * ends.  A command that fails, a malformed setting, a CPU that did not start: each counts.
 */
#pragma once

#include "kernel/base/base.h"

void verdict_add_wrong(unsigned count); /* any context; whoever calls has said what is wrong */
unsigned verdict_wrong_count(void);

/* Say what was found and power off: status 0 if nothing was found wrong, else 1.  Ordinary. */
NORETURN void verdict_end(void);
