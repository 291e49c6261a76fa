/*
 * schedtrace=MS: every MS milliseconds a line in the shape of Go's schedtrace, by a thread of its own.
 *
 *     SCHED 1204ms: gomaxprocs=2 idleprocs=1 threads=14 spinningthreads=0 needspinning=0
 *     idlethreads=11 runqueue=0 [0 2] schedticks=[311 1902]
 *
 * (one line).  gomaxprocs are CPUs, threads are threads; idlethreads those that wait for something.  A
 * CPU here does not spin for work: it looks through all queues once, so these two are always 0.
 */
#include "kernel/base/format.h"
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/thread/sched.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"

#define NS_PER_MS 1000000ul

static size_t trace_list(char *text, size_t bytes, uint64_t (*value)(unsigned cpu))
{
    size_t used = 0;

    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        used += format_string(text + used, bytes - used, "%s%lu", cpu == 0 ? "" : " ", value(cpu));
    return used;
}

static uint64_t trace_queued(unsigned cpu)
{
    return sched_queued(cpu);
}

void sched_trace_line(char *text, size_t bytes)
{
    struct sched_stats stats = sched_stats();
    unsigned cpus = cpus_online();
    size_t running = cpus - stats.idle + stats.queued;
    size_t used = format_string(
        text, bytes,
        "SCHED %lums: gomaxprocs=%u idleprocs=%u threads=%zu spinningthreads=0 needspinning=0 "
        "idlethreads=%zu runqueue=%zu [",
        time_uptime_ns() / NS_PER_MS, cpus, stats.idle, stats.threads,
        stats.threads - MIN(stats.threads, running), stats.global);

    used += trace_list(text + used, bytes - used, trace_queued);
    used += format_string(text + used, bytes - used, "] schedticks=[");
    used += trace_list(text + used, bytes - used, sched_switches);
    format_string(text + used, bytes - used, "]");
}

static void trace_run(void *unused)
{
    static char line[SCHED_TRACE_LINE_BYTES];

    (void)unused;
    for (;;) {
        thread_sleep_until(time_uptime_ns() + settings.schedtrace_ms * NS_PER_MS);
        sched_trace_line(line, sizeof(line));
        printk("%s\n", line);
    }
}

void sched_trace_start(void)
{
    static const struct thread_options urgent = {.priority = THREAD_URGENT};
    struct thread *thread;

    if (settings.schedtrace_ms == 0)
        return;
    thread = thread_create("schedtrace", trace_run, NULL, &urgent);
    if (thread == NULL)
        printk("schedtrace: no memory for a thread\n");
    else
        thread_detach(thread);
}
