/* What a tick of arch_ticks() is worth: an instruction under QEMU's -icount shift=0, else time. */
#pragma once

#include "kernel/base/base.h"

/*
 * ticks_are_instructions -- found out once, by a loop whose ticks are exactly proportional to its
 * rounds.  Ordinary context.
 */
bool ticks_are_instructions(void);

const char *ticks_unit(void); /* "insns" or "ns" */

uint64_t ticks_to_units(uint64_t ticks); /* instructions, or nanoseconds */
