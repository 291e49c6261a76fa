/* Per-CPU variables (kernel/percpu.h): where each CPU's copy is.  kernel/cpus.c makes the copies. */
#include "kernel/percpu.h"

uintptr_t percpu_offsets[ARCH_CPU_MAX];
