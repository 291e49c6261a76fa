/*
 * Expected panics on a process: a forked child runs the function and dies of it, its output comes
 * back through a pipe.  A child that does not panic exits with 0, which is a failure; one that
 * hangs is ended by an alarm.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "kernel/print.h"
#include "kernel/thread/thread_impl.h"
#include "tests/test.h"

#define PANIC_REPORT_BYTES  (64 * 1024)
#define PANIC_CHILD_SECONDS 60 /* a hang, not a slow machine */

static NORETURN void panic_child(void (*fn)(void *), void *arg, const int pipe_ends[2])
{
    struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    alarm(PANIC_CHILD_SECONDS);
    close(pipe_ends[0]);
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    fn(arg);
    _exit(0);
}

/* Reads to the end, keeps the first PANIC_REPORT_BYTES - 1 bytes; returns how many. */
static size_t panic_read(int from, char *report)
{
    char spare[4096];
    size_t used = 0;

    for (;;) {
        size_t room = PANIC_REPORT_BYTES - 1 - used;
        ssize_t got =
            read(from, room != 0 ? report + used : spare, room != 0 ? room : sizeof(spare));

        if (got <= 0)
            break;
        if (room != 0)
            used += (size_t)got;
    }
    report[used] = '\0';
    return used;
}

static void panic_print_report(char *report)
{
    char *rest;

    for (char *line = strtok_r(report, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        printk("#   %s\n", line);
}

#define QUIET_LOOKS 10000u

/*
 * Other CPUs sleep, if they will soon: the child has a copy of each lock that one of them holds, and nobody
 * to let it go.  The collector's threads are on their way to sleep when a cycle before a test has ended.
 */
static void panic_wait_for_quiet(void)
{
    uint64_t others = ~0ull >> (64 - arch_cpu_count()) & ~(1ull << arch_cpu_id());

    for (unsigned i = 0; i < QUIET_LOOKS; i++) {
        if ((atomic_load_explicit(&sched_idle_cpus, memory_order_seq_cst) & others) == others)
            return;
        arch_relax();
    }
}

/* Run fn(arg) in a child to its end.  NULL: not possible, and the test has failed. */
static char *panic_run(struct test *t, void (*fn)(void *), void *arg, int *status)
{
    static char report[PANIC_REPORT_BYTES];
    int pipe_ends[2];
    pid_t child;

    if (!EXPECT(t, pipe(pipe_ends) == 0))
        return NULL;
    panic_wait_for_quiet();
    child = fork();
    if (child == 0)
        panic_child(fn, arg, pipe_ends);
    close(pipe_ends[1]);
    panic_read(pipe_ends[0], report);
    close(pipe_ends[0]);
    return EXPECT(t, child > 0 && waitpid(child, status, 0) == child) ? report : NULL;
}

static char *panic_report(struct test *t, void (*fn)(void *), void *arg, const char *text,
                          const char *file, int line)
{
    int status = 0;
    char *report = panic_run(t, fn, arg, &status);

    if (report == NULL || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                           strstr(report, "panic: ") != NULL && strstr(report, text) != NULL))
        return report;
    printk("# no panic that says \"%s\"; status 0x%x, output:\n", text, (unsigned)status);
    panic_print_report(report);
    test_failed(t, "a panic", file, line);
    return NULL;
}

void test_expect_panic(struct test *t, void (*fn)(void *), void *arg, const char *text,
                       const char *file, int line)
{
    (void)panic_report(t, fn, arg, text, file, line);
}

const char *test_panic_report(struct test *t, void (*fn)(void *), void *arg, const char *file,
                              int line)
{
    return panic_report(t, fn, arg, "panic: ", file, line);
}
