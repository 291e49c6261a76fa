/*
 * Time: what arch_ticks() counts, as nanoseconds since kernel_init; and the periodic tick.
 */
#pragma once

#include "arch/arch.h"

#define TIME_TICK_HZ 100u /* kernel_tick() on each CPU, per second */

void time_init(void); /* uptime counts from here; first call of kernel_init */

/* Ticks of arch_ticks() as nanoseconds; exact to one; 0 before arch_interrupt_init.  Any context. */
uint64_t time_ticks_to_ns(uint64_t ticks);
uint64_t time_uptime_ns(void);          /* since time_init */
uint64_t time_ns_to_ticks(uint64_t ns); /* rounded up; UINT64_MAX where it would be more */

uint64_t time_tick_count(unsigned cpu); /* calls of kernel_tick() there */

/*
 * TICK_WORK(fn) -- at file scope: fn() is called by every tick, on its CPU.  Interrupt context,
 * interrupts off.
 */
typedef void tick_fn(void);
#define TICK_WORK(fn) static tick_fn *const tick_ptr_##fn USED SECTION("tick_table") = fn

void time_boot_done(void); /* kernel_init is through */
uint64_t kernel_boot_ticks(
    void); /* ticks from time_init to time_boot_done: under -icount, instructions */
