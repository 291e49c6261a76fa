/*
 * gctrace=1: Go's line for each cycle.
 *
 *     gc 6 @0.488s 17%: 0.016+77+0.20 ms clock, 0.032+12/37/23+0.41 ms cpu, 73->87->46 MB, 86 MB goal, ...
 *
 * Where Go has its two stops of the world stands the longest time that one CPU was held in this cycle:
 * both times the same figure, as a hold is not of one end of the cycle.  In the CPU's times there it is the sum over
 * all CPUs of each one's longest.
 *
 * gctrace=2 adds for each CPU how long it was held at most.
 */
#include "kernel/base/format.h"
#include "mm/gc/gc_impl.h"
#include "mm/gc/pacer.h"

static uint64_t trace_busy_ns; /* of workers and assists, all cycles; the collector's thread */

/* Milliseconds as Go has them: whole from 10 on, else two digits, at most three behind the point. */
static void put_ms(char *text, size_t bytes, uint64_t ns)
{
    uint64_t us = ns / 1000;

    if (us >= 10000)
        format_string(text, bytes, "%lu", (us + 500) / 1000);
    else if (us >= 1000)
        format_string(text, bytes, "%lu.%lu", us / 1000, us % 1000 / 100);
    else if (us >= 100)
        format_string(text, bytes, "0.%02lu", us / 10);
    else if (us != 0)
        format_string(text, bytes, "0.%03lu", us);
    else
        format_string(text, bytes, "0");
}

struct trace_ms {
    char text[24];
};

static struct trace_ms ms(uint64_t ns)
{
    struct trace_ms ms;

    put_ms(ms.text, sizeof(ms.text), ns);
    return ms;
}

static void trace_held(void)
{
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        port_print(
            "gc: CPU %u was held for %s ms at most\n", cpu,
            ms(atomic_load_explicit(&port_cpu(gc_cpu, cpu)->held_ns, memory_order_relaxed)).text);
}

void gc_trace(const struct gc_cycle *cycle)
{
    const struct gc_pacer_report *report = &gc_pacer_now()->last;
    uint64_t held_max = 0, held_sum = 0, up_ns = gc_ticks_to_ns(cycle->end - cycle->begin);

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        uint64_t held = atomic_load_explicit(&port_cpu(gc_cpu, cpu)->held_ns, memory_order_relaxed);

        held_max = MAX(held_max, held);
        held_sum += held;
    }
    trace_busy_ns += report->mark.worker_ns + report->mark.assist_ns;
    if (port_setting_gctrace() != 0) {
        uint64_t at_ns = gc_ticks_to_ns(cycle->start - cycle->begin);

        port_print("gc %lu @%lu.%03lus %lu%%: %s+%s+%s ms clock, %s+%s/%s/%s+%s ms cpu, "
                   "%lu->%lu->%lu MB, %lu MB goal, %lu MB stacks, %lu MB globals, %u P%s\n",
                   cycle->number, at_ns / 1000000000u, at_ns / 1000000u % 1000,
                   up_ns != 0 ? trace_busy_ns * 100 / up_ns / port_cpu_count() : 0,
                   ms(held_max).text, ms(gc_ticks_to_ns(cycle->marked - cycle->marking)).text,
                   ms(held_max).text, ms(held_sum).text, ms(report->mark.assist_ns).text,
                   ms(report->mark.worker_ns).text, ms(report->mark.idle_ns).text,
                   ms(held_sum).text, (uint64_t)cycle->start_bytes >> 20,
                   (uint64_t)cycle->end_bytes >> 20, report->mark.marked_bytes >> 20,
                   report->goal_bytes >> 20, report->mark.stack_work_bytes >> 20,
                   report->mark.global_work_bytes >> 20, port_cpu_count(),
                   cycle->is_forced ? " (forced)" : "");
    }
    if (port_setting_gctrace() == 2)
        trace_held();
}
