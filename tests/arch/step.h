/* Run a function one instruction at a time (the trap flag); the port's half of the test of sequences. */
#pragma once

#include "kernel/base/base.h"

/*
 * step_run -- run fn(arg) and call before(pc) before each of its instructions but the first few.
 *   before   may send this CPU an IPI: it is taken at `pc`, before that instruction
 * step_end -- in `before`: the rest runs at full speed.
 * Ordinary context.
 */
void step_run(void (*fn)(void *arg), void *arg, void (*before)(uintptr_t pc));
void step_end(void);
