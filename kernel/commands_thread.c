/* The monitor's commands on threads: `threads`, `sched`, `deafen`. */
#include "arch/arch.h"
#include "kernel/base/parse.h"
#include "kernel/base/format.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/print.h"
#include "kernel/thread/sched.h"
#include "kernel/thread/thread.h"
#include "kernel/time.h"
#include "mm/stack/stack.h"

#define THREADS_SHOWN 64u

static void threads_print_one(const struct thread_info *info)
{
    static const char *const priorities[] = {"urgent", "normal", "background"};

    printk("  %-23s %-11s %-10s %3u  %8zu %8zu %10zu  %8lu\n", info->name, info->state,
           priorities[info->priority], info->cpu, info->stack_backed / KIB,
           info->stack_deepest / KIB, info->stack_limit / KIB, info->ran_ns / 1000);
    if (info->waits_on[0] != '\0')
        printk("      %s\n", info->waits_on);
}

static int commands_threads(int argc, char **argv)
{
    struct stack_stats stacks = stack_stats();
    struct thread_info info;
    struct thread *own;
    size_t shown = 0, all = 0;

    (void)argc, (void)argv;
    printk("  %-23s %-11s %-10s %3s  %8s %8s %10s  %8s\n", "thread", "state", "priority", "CPU",
           "KiB back", "deepest", "of", "us ran");
    for (unsigned idx = 0; (own = thread_own(idx)) != NULL; idx++) {
        thread_info(own, &info);
        threads_print_one(&info);
    }
    for (struct thread *thread = thread_next(NULL); thread != NULL; thread = thread_next(thread)) {
        if (all++ >= THREADS_SHOWN)
            continue;
        thread_info(thread, &info);
        threads_print_one(&info);
        shown++;
    }
    if (shown < all)
        printk("  and %zu more\n", all - shown);
    printk("stacks: %zu in use, %zu KiB backed; %zu kept by CPUs; tables %zu KiB; %lu faults, %lu "
           "pages from reserves\n",
           stacks.stacks, stacks.backed_bytes / KIB, stacks.kept, stacks.table_bytes / KIB,
           stacks.faults, stacks.reserve_used);
    return 0;
}
COMMAND(threads, "", "threads: state, CPU, stack, time", commands_threads);

static int commands_sched(int argc, char **argv)
{
    static char line[SCHED_TRACE_LINE_BYTES];

    (void)argc, (void)argv;
    sched_trace_line(line, sizeof(line));
    printk("%s\n", line);
    return 0;
}
COMMAND(sched, "", "a line as schedtrace=MS prints it", commands_sched);

static void deafen_entry(void *seconds)
{
    uint64_t ticks = *(const uint64_t *)seconds * arch_ticks_per_second();
    unsigned long irq = arch_irq_save();
    uint64_t start = arch_ticks();

    while (arch_ticks() - start < ticks)
        arch_relax();
    arch_irq_restore(irq);
}

static int commands_deafen(int argc, char **argv)
{
    const struct thread_options last = {
        .priority = THREAD_NORMAL,
        .cpus = 1ull << (cpus_online() - 1),
    };
    uint64_t seconds = 1;
    struct thread *thread;

    if (argc > 1 && (!parse_u64(argv[1], &seconds) || seconds > 3600)) {
        printk("deafen: %s: accepted: 0 to 3600 seconds\n", argv[1]);
        return 1;
    }
    thread = thread_create("deaf", deafen_entry, &seconds, &last);
    if (thread == NULL) {
        printk("deafen: no memory for a thread\n");
        return 1;
    }
    thread_join(thread);
    return 0;
}
COMMAND(deafen, "[SECONDS]", "keep the last CPU from interrupts, which watchdog= reports",
        commands_deafen);
