/* Compile-time settings: 0 or 1 constants for `if (CONFIG_X)`, never for #if. */
#pragma once

/* Debug build: DCHECK, lock ranks, held-lock stacks.  The Makefile sets it for the test image. */
#ifndef CONFIG_DEBUG
#define CONFIG_DEBUG 0
#endif

/* Restartable sequences (arch/sequence.h); 0: the same in C with interrupts off. */
#ifndef CONFIG_SEQUENCES
#define CONFIG_SEQUENCES 1
#endif
