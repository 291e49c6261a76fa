/*
 * The benchmark runner: finds cases, chooses n, takes samples, prints Go's lines.
 *
 * n grows as Go's does, from one batch to what fills BENCH_TARGET: each step aims a fifth past the
 * target and is at most a hundredfold.  Under -icount a count repeats to the digit, but for the
 * timer's interrupts, so that a short run is enough; the median drops a sample that was hit.
 *
 * Line format: Go, testing/benchmark.go, with -benchmem; the CPU count always stands behind the
 * name.
 */
#include "tests/bench/bench.h"

#include <cpuid.h>
#include "arch/arch.h"
#include "kernel/base/check.h"
#include "kernel/base/format.h"
#include "kernel/base/parse.h"
#include "kernel/base/sort.h"
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/print.h"
#include "kernel/time.h"
#include "mm/slab/slab.h"
#include "tests/bench/figure.h"
#include "tests/bench/ticks.h"

#define BENCH_CASE_MAX     64
#define BENCH_NAME_BYTES   80
#define BENCH_TARGET_INSNS 250000u   /* instructions of one sample */
#define BENCH_TARGET_NS    10000000u /* 10 ms, in which a timer interrupt or two do not show */

extern const struct bench_case *const __start_bench_table[], *const __stop_bench_table[];

/* A figure per operation, in 10^-7 units, and what came with it. */
struct bench_result {
    uint64_t n;
    uint64_t fine;
    uint64_t part_fine;
    uint64_t count_fine;
    uint64_t bytes, allocs; /* per operation */
};

void bench_start(struct bench *bench)
{
    bench->since = arch_ticks();
}

void bench_stop(struct bench *bench)
{
    bench->ticks += arch_ticks() - bench->since;
}

void bench_allocs(struct bench *bench, uint64_t allocs, uint64_t bytes)
{
    bench->allocs = allocs;
    bench->alloc_bytes = bytes;
}

/* ---- Measuring ---- */

static struct bench bench_run_once(void (*loop)(struct bench *), size_t arg, uint64_t n)
{
    struct bench bench = {.arg = arg, .n = n};

    loop(&bench);
    return bench;
}

static uint64_t bench_choose_n(const struct bench_case *bench_case, size_t arg)
{
    uint64_t target = ticks_are_instructions() ? BENCH_TARGET_INSNS : BENCH_TARGET_NS;
    uint64_t batch = MAX(bench_case->batch, 1ul);
    uint64_t n = batch;

    for (;;) {
        struct bench bench = bench_run_once(bench_case->loop, arg, n);
        uint64_t units = MAX(ticks_to_units(bench.ticks), 1ul);

        if (bench.skip != NULL || units >= target || n == bench_case->n_max)
            return n;
        uint64_t aim = target * n / units;
        aim = MIN(MAX(aim + aim / 5, n + 1), n * 100);
        n = (aim + batch - 1) / batch * batch;
        if (bench_case->n_max != 0)
            n = MIN(n, bench_case->n_max);
    }
}

static int bench_compare_ticks(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return (*left > *right) - (*left < *right);
}

/* The median of the samples; *last is the last one.  0 ticks when it cannot run. */
static uint64_t bench_median_ticks(void (*loop)(struct bench *), size_t arg, uint64_t n,
                                   struct bench *last)
{
    uint64_t ticks[BENCH_SAMPLES];

    for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
        *last = bench_run_once(loop, arg, n);
        if (last->skip != NULL)
            return 0;
        ticks[i] = last->ticks;
    }
    sort(ticks, BENCH_SAMPLES, sizeof(ticks[0]), bench_compare_ticks);
    return ticks[BENCH_SAMPLES / 2];
}

/* Returns why there is no figure, or NULL. */
static const char *bench_measure(const struct bench_case *bench_case, size_t arg,
                                 struct bench_result *result)
{
    uint64_t n = bench_choose_n(bench_case, arg);
    struct bench last;
    struct bench ignored;
    uint64_t ticks = bench_median_ticks(bench_case->loop, arg, n, &last);
    uint64_t own = 0;

    if (last.skip != NULL)
        return last.skip;
    if (bench_case->empty != NULL)
        own = bench_median_ticks(bench_case->empty, arg, n, &ignored);

    uint64_t units = ticks_to_units(ticks - MIN(own, ticks));
    *result = (struct bench_result){
        .n = n,
        .fine = figure_fine(units, n),
        .part_fine = figure_fine(units, last.parts),
        .count_fine = figure_fine(last.count, n),
        .bytes = last.alloc_bytes / n,
        .allocs = last.allocs / n,
    };
    return NULL;
}

/* ---- Cases and their variants ---- */

/* A variant that matched. */
struct bench_variant {
    const struct bench_case *bench_case;
    size_t arg;
    char name[BENCH_NAME_BYTES]; /* with -P */
};

typedef void bench_visit(const struct bench_variant *variant, void *context);

static int bench_compare_cases(const void *a, const void *b)
{
    const struct bench_case *left = *(const struct bench_case *const *)a;
    const struct bench_case *right = *(const struct bench_case *const *)b;
    int by_file = strcmp(left->file, right->file);

    if (by_file != 0)
        return by_file;
    if (left->line != right->line) /* else of one macro */
        return left->line - right->line;
    return strcmp(left->name, right->name);
}

/* false: there are no more variants. */
static bool bench_variant_at(const struct bench_case *bench_case, size_t idx,
                             struct bench_variant *variant)
{
    const char *suffix = bench_case->suffix != NULL ? bench_case->suffix : "";
    unsigned cpus = MAX(bench_case->cpus, 1u);
    char arg[BENCH_NAME_BYTES] = "";

    *variant = (struct bench_variant){.bench_case = bench_case, .arg = idx};
    if (bench_case->arg_name != NULL) {
        const char *name = bench_case->arg_name(idx);

        if (name == NULL)
            return false;
        format_string(arg, sizeof(arg), "%s", name);
    } else if (bench_case->arg_count != 0) {
        if (idx >= bench_case->arg_count)
            return false;
        variant->arg = bench_case->args[idx];
        format_string(arg, sizeof(arg), "%zu", variant->arg);
    } else if (idx > 0) {
        return false;
    }
    format_string(variant->name, sizeof(variant->name), "%s%s%s-%u", bench_case->name, arg, suffix,
                  cpus);
    return true;
}

/* The glob may name the CPUs (-P) or leave them out. */
static bool bench_matches(const struct bench_variant *variant, const char *glob)
{
    char without_cpus[BENCH_NAME_BYTES];
    size_t length = (size_t)(strrchr(variant->name, '-') - variant->name);

    memcpy(without_cpus, variant->name, length);
    without_cpus[length] = '\0';
    return glob_match(glob, without_cpus) || glob_match(glob, variant->name);
}

static unsigned bench_for_each(const char *glob, bench_visit *visit, void *context)
{
    const struct bench_case *cases[BENCH_CASE_MAX];
    size_t count = (size_t)(__stop_bench_table - __start_bench_table);
    struct bench_variant variant;
    unsigned matched = 0;

    CHECK(count <= BENCH_CASE_MAX);
    memcpy(cases, __start_bench_table, count * sizeof(cases[0]));
    sort(cases, count, sizeof(cases[0]), bench_compare_cases);
    for (size_t i = 0; i < count; i++) {
        for (size_t idx = 0; bench_variant_at(cases[i], idx, &variant); idx++) {
            if (bench_matches(&variant, glob)) {
                visit(&variant, context);
                matched++;
            }
        }
    }
    return matched;
}

/* ---- Output ---- */

static void bench_widen(const struct bench_variant *variant, void *context)
{
    int *width = context;

    *width = MAX(*width, (int)strlen(variant->name));
}

static void bench_print(const struct bench_variant *variant, void *context)
{
    const struct bench_case *bench_case = variant->bench_case;
    const int *width = context;
    struct bench_result result;
    char part[64] = "", counted[64] = "";

    if (bench_case->cpus > cpus_online()) {
        printk("--- SKIP: Benchmark%s: it needs %u CPUs, there are %u\n", variant->name,
               bench_case->cpus, cpus_online());
        return;
    }

    const char *skip = bench_measure(bench_case, variant->arg, &result);
    if (skip != NULL) {
        printk("--- SKIP: Benchmark%s: %s\n", variant->name, skip);
        return;
    }
    if (bench_case->part_unit != NULL)
        format_string(part, sizeof(part), "\t%s %s/%s", figure_go(result.part_fine).text,
                      ticks_unit(), bench_case->part_unit);
    if (bench_case->count_unit != NULL)
        format_string(counted, sizeof(counted), "\t%s %s/op", figure_go(result.count_fine).text,
                      bench_case->count_unit);
    printk("Benchmark%-*s\t%8lu\t%s %s/op%s%s\t%8lu B/op\t%8lu allocs/op\n", *width, variant->name,
           result.n, figure_go(result.fine).text, ticks_unit(), part, counted, result.bytes,
           result.allocs);
}

/* As CPUID tells it, to stand behind "cpu: "; false: it does not. */
static bool bench_cpu_name(char name[49])
{
    unsigned words[12];

    for (unsigned i = 0; i < 3; i++) {
        unsigned *four = &words[4 * i];

        if (!__get_cpuid(0x80000002 + i, &four[0], &four[1], &four[2], &four[3]))
            return false;
    }
    memcpy(name, words, sizeof(words));
    name[sizeof(words)] = '\0';
    return true;
}

unsigned bench_run_matching(const char *glob)
{
    char cpu[49];
    int width = 0;
    uint64_t start = time_uptime_ns();

    printk("goos: %s\n", __STDC_HOSTED__ ? "linux" : "spandrel");
    printk("goarch: amd64\n");
    printk("pkg: spandrel\n");
    if (bench_cpu_name(cpu))
        printk("cpu: %s\n", cpu);

    bench_for_each(glob, bench_widen, &width);
    unsigned count = bench_for_each(glob, bench_print, &width);

    printk("PASS\n");
    printk("ok  \tspandrel\t%ss\n", figure_ratio(time_uptime_ns() - start, 1000000000, 3).text);
    return count;
}

static int bench_command(int argc, char **argv)
{
    const char *glob = argc > 1 ? argv[1] : settings.bench;

    if (glob[0] == '\0')
        glob = "*";
    if (bench_run_matching(glob) > 0)
        return 0;
    printk("bench: nothing matches %s\n", glob);
    return 1;
}

COMMAND(bench, "[GLOB]", "run benchmarks, print Go's lines", bench_command);
