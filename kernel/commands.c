/* The monitor's commands that need nothing of mm/ (kernel/command.h); the others: commands_mm.c. */
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/modules.h"
#include "kernel/print.h"
#include "kernel/stat.h"
#include "kernel/time.h"
#include "kernel/verdict.h"

static void commands_help_print(const struct command *command)
{
    char usage[80];

    format_string(usage, sizeof(usage), "%s %s", command->name, command->usage);
    printk("  %-18s %s\n", usage, command->help);
}

static int commands_help(int argc, char **argv)
{
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;

    if (argc > 1 && command == NULL) {
        printk("help: %s: no such command\n", argv[1]);
        return 0;
    }
    if (command != NULL) {
        commands_help_print(command);
        return 0;
    }
    for (command = command_next(""); command != NULL; command = command_next(command->name))
        commands_help_print(command);
    printk("  keys: arrows, home, end, ^A ^E ^K ^U ^W ^L; up and down recall; ^C gives a line up;\n"
           "  ^D on an empty line powers off\n");
    return 0;
}
COMMAND(help, "[COMMAND]", "what there is", commands_help);

static int commands_cpus(int argc, char **argv)
{
    (void)argc, (void)argv;
    printk("CPUs: %u run of %u found; tick %u Hz; arch_ticks %lu per second\n", cpus_online(),
           arch_cpu_count(), TIME_TICK_HZ, arch_ticks_per_second());
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        printk("  CPU %2u  %10lu ticks\n", cpu, time_tick_count(cpu));
    return 0;
}
COMMAND(cpus, "", "the CPUs that run", commands_cpus);

static int commands_stats(int argc, char **argv)
{
    for (const struct stat *stat = stat_next(NULL); stat != NULL; stat = stat_next(stat)) {
        if (argc == 1 || strcmp(argv[1], stat->layer) == 0)
            printk("  %-8s %-32s %12lu\n", stat->layer, stat->name, stat_read(stat));
    }
    return 0;
}
COMMAND(stats, "[LAYER]", "event counters, summed over CPUs", commands_stats);

static int commands_uptime(int argc, char **argv)
{
    uint64_t ns = time_uptime_ns();

    (void)argc, (void)argv;
    printk("up %lu.%03lu s; start-up took %lu ticks\n", ns / 1000000000, ns / 1000000 % 1000,
           kernel_boot_ticks());
    return 0;
}
COMMAND(uptime, "", "time since start", commands_uptime);

static int commands_modules(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (unsigned i = 0; i < module_count(); i++)
        printk("  %-32s %10lu bytes\n", module_at(i)->name, module_at(i)->bytes);
    printk("%u modules\n", module_count());
    return 0;
}
COMMAND(modules, "", "files that came with the kernel", commands_modules);

static int commands_poweroff(int argc, char **argv)
{
    (void)argc, (void)argv;
    verdict_end();
}
COMMAND(poweroff, "", "end the machine: status 0 if nothing was found wrong", commands_poweroff);
