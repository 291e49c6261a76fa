/*
 * Benchmarks of the whole.
 *
 *     Boot     instructions from kmain to ready, as counted once, at start-up
 *     Open     of these, for the CPU that does most, from when all CPUs run until all of memory is
 *              open; a second figure is per MiB that was left to open.  A line is for a machine of
 *              so many CPUs: `make bench ICOUNT=1 CPUS=4 MEM=8G BENCH=Open`
 *     Replay   a trace from its first record to its last, on one CPU, without filling or checking
 *              objects; less the same walk without the allocator.  A second figure is per record
 */
#include "kernel/boot_memory.h"
#include "kernel/cpus.h"
#include "kernel/modules.h"
#include "kernel/time.h"
#include "mm/page/page.h"
#include "tests/bench/bench.h"
#include "tests/bench/ticks.h"
#include "tests/replay/load.h"
#include "tests/replay/replay.h"

static void boot(struct bench *bench)
{
    if (!ticks_are_instructions())
        bench->skip = "it counts instructions, and ticks are time here: ICOUNT=1";
    bench->ticks = kernel_boot_ticks();
}

BENCH(Boot, .name = "Boot", .n_max = 1, .loop = boot);

/* What the CPU opened that opened most, of what was left when CPUs ran; bytes. */
static uint64_t open_most(void)
{
    uint64_t all = 0, most = 0;

    for (unsigned cpu = 0; cpu < cpus_online(); cpu++) {
        uint64_t bytes = page_opened_by(cpu) * PAGE_BYTES;

        all += bytes;
        most = MAX(most, cpu > 0 ? bytes : 0);
    }
    return MAX(most, page_opened_by(0) * PAGE_BYTES - (all - boot_memory_fill_bytes()));
}

/* One clock counts the instructions of all CPUs: a CPU's part is as large as what it opened. */
static void open_on(struct bench *bench, unsigned cpus)
{
    boot(bench);
    if (bench->skip == NULL && cpus_online() != cpus)
        bench->skip = "another number of CPUs runs: CPUS=";
    bench->parts = boot_memory_fill_bytes() / MIB;
    bench->ticks = boot_memory_fill_ticks() * (open_most() / MIB) / MAX(bench->parts, 1ul);
    if (bench->skip == NULL && bench->parts == 0)
        bench->skip = "all was open before CPUs ran: MEM=";
}

#define OPEN_BENCH(cpus_)                                                             \
    static void open_on_##cpus_(struct bench *bench)                                  \
    {                                                                                 \
        open_on(bench, cpus_);                                                        \
    }                                                                                 \
    BENCH(Open##cpus_, .name = "Open", .n_max = 1, .cpus = cpus_, .part_unit = "MiB", \
          .loop = open_on_##cpus_)

OPEN_BENCH(1);
OPEN_BENCH(2);
OPEN_BENCH(4);

/* ---- Replay ---- */

static struct replay bench_replay;

static const struct boot_module *replay_trace_at(size_t idx)
{
    for (unsigned i = 0; i < module_count(); i++) {
        if (trace_module_is(module_at(i)) && idx-- == 0)
            return module_at(i);
    }
    return NULL;
}

/* Without modules there is still one variant, which says so. */
static const char *replay_trace_name(size_t idx)
{
    const struct boot_module *module = replay_trace_at(idx);

    if (module == NULL)
        return idx == 0 ? "none" : NULL;
    return module->name;
}

/* n passes with `flags`; what they allocate is counted when they do. */
static void replay_passes(struct bench *bench, struct trace *trace, unsigned flags)
{
    const struct boot_module *module = replay_trace_at(bench->arg);

    if (module == NULL) {
        bench->skip = "no module is a trace (*.kmt)";
        return;
    }
    if (!trace_module_read(module, trace) || !replay_init(&bench_replay, trace, module->name, 1)) {
        bench->skip = "the trace cannot be replayed";
        return;
    }
    for (uint64_t i = 0; i < bench->n; i++) {
        if (!replay_reset(&bench_replay, flags)) {
            bench->skip = "memory is exhausted";
            break;
        }
        replay_run(&bench_replay, trace->record_count);
        if (!(flags & REPLAY_DRY))
            replay_release(&bench_replay);
        bench->ticks += replay_totals(&bench_replay).busy_ticks;
    }
    replay_fini(&bench_replay);
}

static void replay_real(struct bench *bench)
{
    struct trace trace;

    replay_passes(bench, &trace, 0);
    if (bench->skip != NULL)
        return;

    bench->parts = bench->n * trace.record_count;
    bench_allocs(bench, bench->n * (trace.object_allocs + trace.page_allocs),
                 bench->n * trace.alloc_bytes);
}

static void replay_empty(struct bench *bench)
{
    struct trace trace;

    replay_passes(bench, &trace, REPLAY_DRY);
}

BENCH(Replay, .name = "Replay/trace=", .arg_name = replay_trace_name, .n_max = 1,
      .part_unit = "record", .loop = replay_real, .empty = replay_empty);
