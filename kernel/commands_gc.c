/* The monitor's command of the collected heap. */
#include "kernel/command.h"
#include "kernel/print.h"
#include "mm/gc/gc.h"

static int commands_gc(int argc, char **argv)
{
    struct gc_stats before = gc_stats(), after;

    (void)argc, (void)argv;
    gc_collect();
    after = gc_stats();
    printk("  %-12s %12zu -> %zu KiB in objects, %zu KiB marked; goal %zu KiB\n", "heap",
           before.heap_bytes / KIB, after.heap_bytes / KIB, after.live_bytes / KIB,
           after.goal_bytes / KIB);
    printk("  %-12s %12zu -> %zu KiB\n", "spans", before.span_bytes / KIB, after.span_bytes / KIB);
    printk("  %-12s %12lu made, %lu freed, %lu by this cycle\n", "objects", after.allocs,
           after.frees, after.frees - before.frees);
    printk("  %-12s %12lu; %lu us of CPUs' time marking, %lu us of that by who allocated\n",
           "cycles", after.cycles, after.mark_ns / 1000, after.assist_ns / 1000);
    printk("  %-12s %12lu us at most, 99 of 100 up to %lu us; the world was stopped %lu times\n",
           "holds", after.hold_max_ns / 1000, after.hold_p99_ns / 1000, after.world_stops);
    return 0;
}
COMMAND(gc, "", "collect garbage, and say what the collected heap holds", commands_gc);
