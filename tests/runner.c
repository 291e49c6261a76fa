/*
 * The test runner: the same on a process and in the kernel.
 *
 * Idea: the registry is a linker section of pointers, in whatever order the compiler and the linker
 * left them; the runner goes through it by file and line, so output is stable.  Around every test
 * it drains mm/ and compares what is held: a test that leaks fails, by how much and of what.
 *
 * Output: KTAP, one line per test, then "N passed, N failed" and how many were skipped.
 *
 * Locks: none; tests run one after another on the CPU that calls.
 */
#include "arch/arch.h"
#include "kernel/base/parse.h"
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/command.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/print.h"
#include "kernel/thread/thread.h"
#include "mm/gc/gc.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define RUNNER_PATIENCE 20u /* looks at what is held, before it counts as leaked */
#define RUNNER_SAYS_MAX 20u /* failures of one test that are printed */

extern const struct test_case *const __start_test_table[] __attribute__((weak));
extern const struct test_case *const __stop_test_table[] __attribute__((weak));

/* ---- The registry ---- */

static int runner_compare(const struct test_case *a, const struct test_case *b)
{
    int files = strcmp(a->file, b->file);

    return files != 0 ? files : a->line - b->line;
}

static bool runner_matches(const struct test_case *test, const char *glob)
{
    char name[128];

    format_string(name, sizeof(name), "%s.%s", test->suite, test->name);
    return glob_match(glob, name) || glob_match(glob, test->suite);
}

/* The next one behind `after` (NULL: the first) that matches; NULL: no more. */
static const struct test_case *runner_next(const struct test_case *after, const char *glob)
{
    const struct test_case *next = NULL;

    for (const struct test_case *const *at = __start_test_table; at < __stop_test_table; at++) {
        if ((after == NULL || runner_compare(*at, after) > 0) &&
            (next == NULL || runner_compare(*at, next) < 0) && runner_matches(*at, glob))
            next = *at;
    }
    return next;
}

/* ---- What tests call ---- */

void test_failed(struct test *t, const char *expression, const char *file, int line)
{
    unsigned before = atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);

    if (before < RUNNER_SAYS_MAX)
        printk("# %s:%d: %s\n", file, line, expression);
    else if (before == RUNNER_SAYS_MAX)
        printk("# more failures are not printed\n");
}

void test_skip(struct test *t, const char *why)
{
    t->skip_reason = why;
}

/* FNV-1a over the name, so that tests under one seed= do not all see the same numbers. */
uint64_t test_seed(struct test *t)
{
    uint64_t hash = 0xcbf29ce484222325ull ^ settings.seed;

    for (const char *at = t->name; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3ull;
    t->seed = hash != 0 ? hash : 1;
    return t->seed;
}

/* ---- Around a test ---- */

struct runner_held {
    size_t free_pages, span_bytes, object_bytes, guard_objects;
};

static struct runner_held runner_take_stock(void)
{
    struct mm_stats stats;

    if (gc_stats().span_bytes != 0)
        gc_collect_idle();
    (void)thread_shrink_stacks(); /* the collector's threads' too */
    mm_drain();
    if (settings.paranoia)
        mm_check();
    stats = mm_stats();
    return (struct runner_held){.free_pages = page_free_count(),
                                .span_bytes = stats.span_bytes,
                                .object_bytes = stats.object_bytes,
                                .guard_objects = stats.guard_objects};
}

static void runner_check_leaks(struct test *t, struct runner_held before)
{
    struct runner_held after = runner_take_stock();

    /* Threads of the kernel that are on their way to sleep have more of their stacks yet. */
    for (unsigned i = 0; i < RUNNER_PATIENCE && memcmp(&before, &after, sizeof(before)) != 0; i++) {
        thread_yield();
        after = runner_take_stock();
    }
    if (memcmp(&before, &after, sizeof(before)) == 0)
        return;
    printk("# leak: free pages %zu -> %zu, span bytes %zu -> %zu, object bytes %zu -> %zu, guarded "
           "objects %zu -> %zu\n",
           before.free_pages, after.free_pages, before.span_bytes, after.span_bytes,
           before.object_bytes, after.object_bytes, before.guard_objects, after.guard_objects);
    test_failed(t, "nothing leaked", __FILE__, __LINE__);
}

static void runner_run(const struct test_case *test, struct test *t)
{
    cpu_idle_hold(); /* tests compare memory before and after; those of idle work release it */
    struct runner_held before = runner_take_stock();

    test->run(t);
    fault_disarm();
    if (!EXPECT(t, arch_irq_enabled()))
        arch_irq_enable();
    runner_check_leaks(t, before);
    cpu_idle_release();
}

static void runner_print_result(const struct test *t, unsigned number)
{
    if (t->failures != 0 && t->seed != 0)
        printk("# this test's numbers come from seed=%lu\n", settings.seed);
    printk("%s %u %s.%s%s%s\n", t->failures != 0 ? "not ok" : "ok", number, t->suite, t->name,
           t->skip_reason != NULL ? " # SKIP " : "", t->skip_reason != NULL ? t->skip_reason : "");
}

unsigned test_run_matching(const char *glob)
{
    const struct test_case *test = NULL;
    unsigned planned = 0, number = 0, failed = 0, skipped = 0;

    while ((test = runner_next(test, glob)) != NULL)
        planned++;
    printk("KTAP version 1\n1..%u\n", planned);
    for (unsigned i = 0; i < 100 && gc_stats().cycles == 0; i++)
        gc_collect_idle(); /* whose threads are made at first use; failnth= may fail some of them */
    while ((test = runner_next(test, glob)) != NULL) {
        struct test t = {.suite = test->suite, .name = test->name};

        runner_run(test, &t);
        runner_print_result(&t, ++number);
        failed += t.failures != 0;
        skipped += t.failures == 0 && t.skip_reason != NULL;
    }
    if (skipped != 0)
        printk("# %u skipped\n", skipped);
    printk("%u passed, %u failed\n", number - failed - skipped, failed);
    return failed;
}

static int runner_command(int argc, char **argv)
{
    const char *glob = settings.test[0] != '\0' ? settings.test : "*";

    return test_run_matching(argc > 1 ? argv[1] : glob) != 0;
}
COMMAND(test, "[GLOB]", "run the tests whose suite.name matches", runner_command);
