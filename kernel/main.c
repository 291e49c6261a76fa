/*
 * The boot order, and what comes after it.
 *
 * The top of kernel/: main.c, boot_memory.c, name_*.c and the commands on memory, objects and threads
 * are the files that may include mm/; everything else in kernel/ lies below it.
 */
#include "arch/arch.h"
#include "kernel/balloon.h"
#include "kernel/base/string.h"
#include "kernel/boot_memory.h"
#include "kernel/cmdline.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/modules.h"
#include "kernel/monitor.h"
#include "kernel/nodes.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/thread/gc_threads.h"
#include "kernel/thread/sched.h"
#include "kernel/time.h"
#include "kernel/verdict.h"
#include "mm/mm.h"
#include "mm/page/page.h"

static char main_way[16]; /* [C] how the kernel was started; the way in's text goes */

static void main_check_boot_info(const struct boot_info *info)
{
    if (info->magic != BOOT_INFO_MAGIC)
        panic("boot_info has magic 0x%lx, not BOOT_INFO_MAGIC: not started by boot/", info->magic);
    if (info->version != BOOT_INFO_VERSION || info->bytes != sizeof(*info))
        panic("boot_info has version %u and %u bytes; this kernel takes version %u, %zu bytes: "
              "loader and kernel are not of one build",
              info->version, info->bytes, BOOT_INFO_VERSION, sizeof(*info));
    format_string(main_way, sizeof(main_way), "%s", info->way);
}

static void main_banner(const struct boot_info *info)
{
    printk("Spandrel, started by %s%s\n", main_way, CONFIG_DEBUG ? "; debug build" : "");
    printk("command line: %.*s\n", BOOT_CMDLINE_BYTES - 1, info->cmdline);
}

static void main_settings(const struct boot_info *info)
{
    char line[BOOT_CMDLINE_BYTES];

    format_string(line, sizeof(line), "%.*s", BOOT_CMDLINE_BYTES - 1, info->cmdline);
    verdict_add_wrong(cmdline_parse(line));
}

static void main_paging(void)
{
    size_t count;
    const struct boot_range *ranges = boot_memory_ranges(&count);

    arch_paging_init(ranges, count, boot_memory_take_page);
}

static void main_nodes(uint64_t rsdp)
{
    uint64_t ends[NODE_MAX];

    arch_node_init(rsdp);
    if (settings.nodes == 0)
        return;
    boot_memory_split(ends, settings.nodes);
    nodes_pretend(ends, settings.nodes);
}

static void *main_take_pages(size_t n)
{
    return page_alloc(n, 0);
}

static void main_start_cpus(void)
{
    unsigned wanted = settings.cpus == 0 ? arch_cpu_count() : MIN(settings.cpus, arch_cpu_count());

    if (cpus_start(wanted, main_take_pages) != wanted)
        verdict_add_wrong(1); /* said by cpus_start */
}

static void main_start_scavenger(void)
{
    if (balloon_start(main_take_pages))
        page_scavenge_start(settings.scavtrace != 0);
}

static void main_report(void)
{
    boot_memory_report();
    printk("CPUs: %u run of %u found\n", cpus_online(), arch_cpu_count());
    nodes_report();
    for (unsigned i = 0; i < module_count(); i++)
        printk("module: %s, %lu bytes\n", module_at(i)->name, module_at(i)->bytes);
    printk("ready: %lu ticks from kernel_init, %lu us\n", kernel_boot_ticks(),
           time_ticks_to_ns(kernel_boot_ticks()) / 1000);
}

void kernel_init(const struct boot_info *info)
{
    time_init();                   /* uptime counts */
    arch_boot_cpu_init(info);      /* printk, CHECK, panic */
    main_check_boot_info(info);    /* what the way in left can be read */
    main_banner(info);             /* the console shows who runs */
    main_settings(info);           /* settings */
    modules_init(info);            /* module_find */
    boot_memory_open(info);        /* early_alloc */
    main_paging();                 /* W^X, guard pages; arch_table_reserve */
    main_nodes(info->rsdp);        /* node_of */
    mm_init();                     /* page_alloc, kmalloc, from the first memory; no early_alloc */
    arch_interrupt_init();         /* arch_cpu_count, the clock's frequency */
    arch_tick_start(TIME_TICK_HZ); /* kernel_tick, as soon as interrupts are on */
    sched_init();                  /* thread_create; this flow is the thread "main" */
    arch_irq_enable();             /* console input, IPIs */
    main_start_cpus();             /* cpu_call, cpu_run_all */
    boot_memory_fill();            /* page_alloc finds all of memory */
    boot_memory_give();            /* the way in's memory is gone: info too */
    main_start_scavenger();        /* idle CPUs give free memory back to the host */
    gc_threads_start();            /* what gc_new gives is collected */
    sched_trace_start();           /* schedtrace= */
    time_boot_done();              /* kernel_boot_ticks */
    main_report();
}

/* run=: a comma stands for a space, so that a command's arguments fit one word. */
static void main_run_command(void)
{
    char line[sizeof(settings.run)];

    memcpy(line, settings.run, sizeof(line));
    for (char *at = line; *at != '\0'; at++) {
        if (*at == ',')
            *at = ' ';
    }
    if (settings.failnth != 0)
        fault_fail_nth(settings.failnth);
    if (command_run_line(line) == -1) {
        const struct command *command = command_next("");

        printk("run=%s: accepted: monitor, or one of:\n", settings.run);
        for (; command != NULL; command = command_next(command->name))
            printk("  %s\n", command->name);
        verdict_add_wrong(1);
    }
    fault_disarm();
}

void kernel_run(void)
{
    if (settings.run[0] != '\0' && strcmp(settings.run, "monitor") != 0)
        main_run_command();
    if (settings.then == THEN_POWEROFF)
        verdict_end();
    monitor_run();
}
