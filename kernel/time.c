/* Time (kernel/time.h): arch_ticks() as nanoseconds, and the tick. */
#include "kernel/time.h"
#include "kernel/cpus.h"
#include "kernel/percpu.h"

#define TIME_NS_PER_SECOND 1000000000ull

static uint64_t time_start;           /* [C] arch_ticks() at time_init */
static uint64_t time_boot;            /* [C] from time_boot_done on; ticks */
static PERCPU(uint64_t, time_ticked); /* [P] calls of kernel_tick */

void time_init(void)
{
    time_start = arch_ticks();
}

/* Whole seconds and the rest apart: neither product overflows in 580 years at up to 18 GHz. */
uint64_t time_ticks_to_ns(uint64_t ticks)
{
    uint64_t hz = arch_ticks_per_second();

    if (hz == 0)
        return 0;
    return ticks / hz * TIME_NS_PER_SECOND + ticks % hz * TIME_NS_PER_SECOND / hz;
}

uint64_t time_ns_to_ticks(uint64_t ns)
{
    uint64_t hz = arch_ticks_per_second(), seconds = ns / TIME_NS_PER_SECOND;

    if (hz == 0 || seconds > UINT64_MAX / hz - 2)
        return UINT64_MAX;
    return seconds * hz +
           (ns % TIME_NS_PER_SECOND * hz + TIME_NS_PER_SECOND - 1) / TIME_NS_PER_SECOND;
}

uint64_t time_uptime_ns(void)
{
    return time_ticks_to_ns(arch_ticks() - time_start);
}

__attribute__((no_sanitize("thread"))) uint64_t time_tick_count(unsigned cpu)
{
    return *(volatile uint64_t *)cpu_var(time_ticked, cpu);
}

extern tick_fn *const __start_tick_table[] __attribute__((weak));
extern tick_fn *const __stop_tick_table[] __attribute__((weak));

void kernel_tick(void)
{
    (*this_cpu(time_ticked))++;
    cpu_note_interrupt();
    for (tick_fn *const *fn = __start_tick_table; fn < __stop_tick_table; fn++)
        (*fn)();
}

void time_boot_done(void)
{
    time_boot = arch_ticks() - time_start;
}

uint64_t kernel_boot_ticks(void)
{
    return time_boot;
}
