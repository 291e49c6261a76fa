/*
 * Per-CPU variables.  PERCPU(type, name) at file scope defines a variable in the linker section
 * "percpu"; CPU 0 uses it in place, every other CPU has a zeroed copy of the section.  So a percpu
 * variable is all zero when its CPU starts, and has no initialiser.
 *
 *   PERCPU(struct magazine, slab_magazine);          static PERCPU(...) for a file's own
 *   this_cpu(slab_magazine)->count                   needs the CPU pinned: interrupts off
 *   cpu_var(slab_magazine, cpu)->count               another CPU's copy
 */
#pragma once

#include "arch/arch.h"

#define PERCPU(type, name) __attribute__((section("percpu"))) __typeof__(type) name

#define this_cpu(name)     ((__typeof__(&(name)))((uintptr_t) & (name) + arch_percpu_offset()))
#define cpu_var(name, cpu) ((__typeof__(&(name)))((uintptr_t) & (name) + percpu_offsets[cpu]))

extern uintptr_t percpu_offsets[ARCH_CPU_MAX]; /* written before a CPU starts, then constant */

/* The section, from the linker. */
extern char __start_percpu[], __stop_percpu[];
