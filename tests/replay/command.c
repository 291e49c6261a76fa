/*
 * The command `replay [TRACE]`: read a module, replay it, report.
 *
 *     pass 1   for real, with fill and check, stopped once at the trace's peak to take stock
 *     pass 2   dry: what the replay itself costs
 *
 * The report's first line stands between the two.
 */
#include "tests/replay/replay.h"

#include "kernel/cmdline.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "tests/replay/load.h"
#include "tests/replay/report.h"

static uint64_t replay_timed_run(struct replay *replay, uint32_t limit)
{
    uint64_t start = arch_ticks();

    replay_run(replay, limit);
    return arch_ticks() - start;
}

static void replay_real_pass(struct replay *replay, struct replay_report *report)
{
    const struct trace *trace = replay->trace;

    mm_drain();
    report->free_pages_before = page_free_count();
    replay_reset(replay, REPLAY_FILL | REPLAY_PROGRESS);
    if (trace->record_count > 0)
        report->elapsed_ticks = replay_timed_run(replay, trace->peak_record + 1);
    report_take_peak(report);
    report->elapsed_ticks += replay_timed_run(replay, trace->record_count);
    report_take_end(report);

    replay_release(replay);
    report->damaged = replay->damaged;
    report_print_head(report);
    mm_drain();
    report->free_pages_after = page_free_count();
}

static void replay_dry_pass(struct replay *replay, struct replay_report *report)
{
    report->has_own_ticks = replay_reset(replay, REPLAY_FILL | REPLAY_DRY);
    if (report->has_own_ticks) {
        replay_run(replay, replay->trace->record_count);
        report->own_ticks = replay_totals(replay).busy_ticks;
    }
}

static int replay_command(int argc, char **argv)
{
    static struct replay replay;
    struct replay_report report;
    struct trace trace;
    int wrong = 1;

    const struct boot_module *module = trace_module_find(argc > 1 ? argv[1] : settings.trace);
    if (module == NULL || !trace_module_read(module, &trace))
        return wrong;
    if (!replay_init(&replay, &trace, module->name, cpus_online()))
        return wrong;
    if (!report_init(&report, &replay))
        goto fini;

    replay_real_pass(&replay, &report);
    replay_dry_pass(&replay, &report);
    report_print(&report);
    wrong = report_wrong_count(&report) != 0;
    report_fini(&report);
fini:
    replay_fini(&replay);
    return wrong;
}

COMMAND(replay, "[TRACE]", "replay a recorded trace's allocations and report", replay_command);
