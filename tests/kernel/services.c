/* The small services: fault injection, counters, time, commands, modules. */
#include "kernel/base/format.h"
#include "kernel/base/string.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/modules.h"
#include "kernel/stat.h"
#include "kernel/time.h"
#include "tests/kernel/capture.h"
#include "tests/test.h"

/* ---- Fault injection ---- */

TEST(fault, fails_the_nth_once)
{
    for (unsigned nth = 1; nth <= 5; nth++) {
        fault_fail_nth(nth);
        for (unsigned i = 1; i <= 10; i++)
            EXPECT(t, fault_should_fail() == (i == nth));
        EXPECT(t, fault_disarm());
    }
    EXPECT(t, !fault_should_fail());
}

TEST(fault, disarm_says_whether_it_fired)
{
    fault_fail_nth(3);
    EXPECT(t, !fault_should_fail() && !fault_should_fail());
    EXPECT(t, !fault_disarm());
    EXPECT(t, !fault_should_fail());
    EXPECT(t, !fault_disarm());
}

static void fault_acquire(void *arg)
{
    _Atomic unsigned *failed = arg;

    if (arch_cpu_id() != 0 && fault_should_fail())
        atomic_fetch_add_explicit(failed, 1, memory_order_relaxed);
}

TEST(fault, is_armed_on_one_cpu)
{
    _Atomic unsigned failed = 0;

    fault_fail_nth(1);
    cpu_call_all(fault_acquire, &failed);
    EXPECT(t, failed == 0);
    EXPECT(t, fault_should_fail());
    EXPECT(t, fault_disarm());
}

/* ---- Counters ---- */

STAT(tests, counted);
STAT(tests, also_counted);

static void stat_count(void *unused)
{
    (void)unused;
    unsigned long irq_state = arch_irq_save();
    stat_inc(tests, counted);
    stat_add(tests, counted, arch_cpu_id());
    arch_irq_restore(irq_state);
}

TEST(stat, sums_over_cpus)
{
    const struct stat *stat = stat_find("tests", "counted");
    uint64_t count = cpus_online();

    REQUIRE(t, stat != NULL);
    uint64_t before = stat_read(stat);
    cpu_run_all(cpus_online(), stat_count, NULL);
    EXPECT(t, stat_read(stat) - before == count + count * (count - 1) / 2);
}

TEST(stat, table_is_walked_in_order)
{
    bool has_seen = false;

    stat_add(tests, also_counted, 0);
    EXPECT(t, stat_find("tests", "not_counted") == NULL);
    EXPECT(t, stat_find("test", "scounted") == NULL);
    for (const struct stat *stat = stat_next(NULL); stat != NULL; stat = stat_next(stat)) {
        const struct stat *next = stat_next(stat);

        has_seen |= stat == stat_find("tests", "counted");
        EXPECT(t, next == NULL || strcmp(stat->layer, next->layer) <= 0);
        EXPECT(t, stat_find(stat->layer, stat->name) == stat); /* no two of one name */
    }
    EXPECT(t, has_seen);
}

/* ---- Time ---- */

TEST(time, ticks_become_nanoseconds)
{
    uint64_t hz = arch_ticks_per_second();

    REQUIRE(t, hz != 0);
    EXPECT(t, time_ticks_to_ns(0) == 0);
    EXPECT(t, time_ticks_to_ns(hz) == 1000000000);
    EXPECT(t, time_ticks_to_ns(hz * 1000000000) == 1000000000000000000); /* 31 years */
    EXPECT(t, time_ticks_to_ns(hz - 1) < 1000000000);
    EXPECT(t, time_ticks_to_ns(hz / 2 * 3) / 1000 <= 1500000);
}

TEST(time, uptime_does_not_go_back)
{
    uint64_t last = time_uptime_ns();

    EXPECT(t, last >= time_ticks_to_ns(kernel_boot_ticks()));
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = time_uptime_ns();

        EXPECT(t, now >= last);
        last = now;
    }
}

/* ---- Commands ---- */

TEST(command, table_is_walked_in_order)
{
    unsigned count = 0;
    const struct command *last = NULL, *command = command_next("");

    for (; command != NULL; command = command_next(command->name)) {
        EXPECT(t, command_find(command->name) == command);
        EXPECT(t, last == NULL || strcmp(last->name, command->name) < 0);
        last = command;
        count++;
    }
    EXPECT(t, count >= 10);
    EXPECT(t, command_find("help") != NULL && command_find("hel") == NULL);
}

TEST(command, unknown_names_are_said)
{
    char unknown[] = "  hlep  mem ";
    char nothing[] = "   ";
    char endless[] = "help a b c d e f g h i j k l m n o p q";

    EXPECT(t, command_run_line(nothing) == 0);
    capture_begin();
    int status = command_run_line(unknown);
    EXPECT(t, strcmp(capture_end(), "hlep: no such command; \"help\" lists them\n") == 0);
    EXPECT(t, status == -1);
    capture_begin();
    status = command_run_line(endless);
    EXPECT(t, strcmp(capture_end(), "help: more than 16 words\n") == 0);
    EXPECT(t, status == -1);
}

TEST(command, reports_run)
{
    static const char *const lines[] = {"help", "help mem", "cpus",    "stats", "uptime",
                                        "mem",  "spans",    "spans 0", "slabs", "modules"};

    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char line[16];

        format_string(line, sizeof(line), "%s", lines[i]);
        capture_begin();
        int status = command_run_line(line);
        EXPECT(t, strlen(capture_end()) > 0);
        EXPECT(t, status == 0);
    }
}

/* ---- Modules ---- */

TEST(modules, are_found_by_name)
{
    EXPECT(t, module_find("no such module") == NULL);
    EXPECT(t, module_at(module_count()) == NULL);
    EXPECT(t, (module_first() == NULL) == (module_count() == 0));
    for (unsigned i = 0; i < module_count(); i++) {
        const struct boot_module *found = module_find(module_at(i)->name);

        EXPECT(t, found != NULL && strcmp(found->name, module_at(i)->name) == 0);
    }
}
