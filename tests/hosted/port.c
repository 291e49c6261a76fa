/*
 * The hosted port as such: CPUs and the threads that hold them, interrupts, NMI, fork, tables,
 * backtraces.  What it refuses is in refusals.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "arch/hosted/hosted.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/symbol.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/test.h"

/* ---- Threads that hold CPUs ---- */

struct crew {
    pthread_barrier_t all_entered;
    _Atomic uint64_t cpus; /* bit per CPU that a thread got */
    _Atomic unsigned refused;
    _Atomic unsigned bad_objects;
};

static void *crew_member(void *arg)
{
    struct crew *crew = arg;
    int cpu = hosted_cpu_enter();

    if (cpu < 0)
        atomic_fetch_add(&crew->refused, 1);
    pthread_barrier_wait(&crew->all_entered);
    if (cpu < 0)
        return NULL;

    if (arch_cpu_id() != (unsigned)cpu || !arch_irq_enabled())
        atomic_fetch_add(&crew->bad_objects, 1);
    for (unsigned turn = 0; turn < 1000; turn++) {
        unsigned char *object = kmalloc(64);

        memset(object, cpu, 64);
        if (object[0] != cpu || object[63] != cpu)
            atomic_fetch_add(&crew->bad_objects, 1);
        kfree(object);
    }
    atomic_fetch_or(&crew->cpus, 1ull << cpu);
    hosted_cpu_leave();
    return NULL;
}

/* The thread that runs the tests has CPU 0 on loan, and only waits: the last one gets it. */
TEST(hosted, as_many_threads_enter_as_there_are_cpus)
{
    unsigned count = cpus_online();
    struct crew crew = {.cpus = 0};
    pthread_t threads[ARCH_CPU_MAX + 1];

    pthread_barrier_init(&crew.all_entered, NULL, count + 1);
    for (unsigned i = 0; i <= count; i++)
        pthread_create(&threads[i], NULL, crew_member, &crew);
    for (unsigned i = 0; i <= count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crew.all_entered);

    EXPECT(t, crew.cpus == (count == 64 ? ~0ull : (1ull << count) - 1));
    EXPECT(t, crew.refused == 1);
    EXPECT(t, crew.bad_objects == 0);
    EXPECT(t, arch_cpu_id() < count);
}

static void note_cpu(void *arg)
{
    _Atomic uint64_t *cpus = arg;

    atomic_fetch_or(cpus, 1ull << arch_cpu_id());
}

#define CHURN_STAYS 100u

struct churn {
    uint64_t all_cpus;
    _Atomic unsigned bad_calls;
};

/* Comes and goes; meanwhile every CPU, whoever holds it or nobody, answers calls. */
static void *churn_member(void *arg)
{
    struct churn *churn = arg;

    for (unsigned stays = 0; stays < CHURN_STAYS;) {
        _Atomic uint64_t cpus = 0;

        if (hosted_cpu_enter() < 0) {
            sched_yield();
            continue;
        }
        kfree(kmalloc(stays + 1));
        if (stays++ % 8 == 0) {
            cpu_call_all(note_cpu, &cpus);
            if (cpus != churn->all_cpus)
                atomic_fetch_add(&churn->bad_calls, 1);
        }
        hosted_cpu_leave();
    }
    return NULL;
}

TEST(hosted, more_threads_than_cpus_come_and_go)
{
    unsigned count = cpus_online();
    struct churn churn = {.all_cpus = count == 64 ? ~0ull : (1ull << count) - 1};
    pthread_t threads[2 * ARCH_CPU_MAX];

    for (unsigned i = 0; i < 2 * count; i++)
        pthread_create(&threads[i], NULL, churn_member, &churn);
    for (unsigned i = 0; i < 2 * count; i++)
        pthread_join(threads[i], NULL);
    EXPECT(t, churn.bad_calls == 0);
}

TEST(hosted, jobs_run_on_every_cpu_again_after_threads_left)
{
    unsigned count = cpus_online();

    for (unsigned turn = 0; turn < 20; turn++) {
        _Atomic uint64_t cpus = 0;

        cpu_run_all(count, note_cpu, &cpus);
        EXPECT(t, cpus == (count == 64 ? ~0ull : (1ull << count) - 1));
    }
}

/* ---- Interrupts reach the thread that holds the CPU, when it has them on ---- */

struct target {
    _Atomic int cpu;       /* -1: not yet entered */
    _Atomic bool is_off;   /* it spins with interrupts off until go_on */
    _Atomic bool go_on;    /* stop spinning */
    _Atomic bool has_run;  /* the call ran */
    _Atomic bool was_late; /* it ran after interrupts were restored, not before */
    pthread_t thread;
    _Atomic bool on_thread; /* the call ran on that very thread */
};

static void target_call(void *arg)
{
    struct target *target = arg;

    target->on_thread = pthread_equal(pthread_self(), target->thread) != 0;
    target->has_run = true;
}

static void *target_thread(void *arg)
{
    struct target *target = arg;

    target->cpu = hosted_cpu_enter();

    unsigned long state = arch_irq_save();

    target->is_off = true;
    while (!target->go_on)
        arch_relax();
    target->was_late = !target->has_run;
    arch_irq_restore(state);
    while (!target->has_run)
        arch_relax();
    hosted_cpu_leave();
    return NULL;
}

static void *target_release(void *arg)
{
    struct target *target = arg;
    struct timespec moment = {0, 20000000};

    nanosleep(&moment, NULL); /* gives a premature call the chance to show */
    target->go_on = true;
    return NULL;
}

TEST(hosted, call_waits_until_the_holder_has_interrupts_on)
{
    struct target target = {.cpu = -1};
    pthread_t release;

    if (cpus_online() < 2) {
        test_skip(t, "one CPU");
        return;
    }
    pthread_create(&target.thread, NULL, target_thread, &target);
    while (!target.is_off)
        arch_relax();
    pthread_create(&release, NULL, target_release, &target);
    cpu_call((unsigned)target.cpu, target_call, &target);
    pthread_join(release, NULL);
    pthread_join(target.thread, NULL);
    EXPECT(t, target.was_late);
    EXPECT(t, target.has_run && target.on_thread);
}

/* Two CPUs whose only work is to call each other: each answers while it waits. */
static void call_everyone(void *arg)
{
    for (unsigned turn = 0; turn < 50; turn++)
        cpu_call_all(note_cpu, arg);
}

TEST(hosted, cpus_that_call_each_other_answer)
{
    _Atomic uint64_t cpus = 0;

    cpu_run_all(cpus_online(), call_everyone, &cpus);
    EXPECT(t, cpus == (cpus_online() == 64 ? ~0ull : (1ull << cpus_online()) - 1));
}

/* ---- NMI ---- */

struct nmi_output {
    char text[256];
    size_t used;
    _Atomic unsigned lines;
};

static void nmi_sink(void *context, const char *bytes, size_t n)
{
    struct nmi_output *output = context;

    for (size_t i = 0; i < n && output->used < sizeof(output->text) - 1; i++)
        output->text[output->used++] = bytes[i];
    if (n > 0 && bytes[n - 1] == '\n')
        output->lines++;
}

static void nmi_with_interrupts_off(void *arg)
{
    struct nmi_output *output = arg;
    unsigned long state;

    if (arch_cpu_id() != 1)
        return;
    state = arch_irq_save();
    arch_nmi_send(1);
    while (output->lines == 0)
        arch_relax();
    arch_irq_restore(state);
}

TEST(hosted, nmi_runs_with_interrupts_off)
{
    struct nmi_output output = {.used = 0};

    if (cpus_online() < 2) {
        test_skip(t, "one CPU");
        return;
    }
    print_capture(nmi_sink, &output);
    cpu_run_all(2, nmi_with_interrupts_off, &output);
    print_capture(NULL, NULL);
    EXPECT(t, strncmp(output.text, "CPU 1: an NMI", 13) == 0);
}

/* ---- Fork: one thread stands in for all CPUs ---- */

static void call_all_then_panic(void *arg)
{
    _Atomic uint64_t cpus = 0;

    (void)arg;
    cpu_call_all(note_cpu, &cpus);
    panic("answered: %lx", cpus);
}

TEST(hosted, forked_child_answers_for_all_cpus)
{
    char text[64];
    unsigned count = cpus_online();

    format_string(text, sizeof(text), "panic: answered: %lx\n",
                  count == 64 ? ~0ul : (1ul << count) - 1);
    EXPECT_PANIC(t, call_all_then_panic, NULL, text);
}

/* ---- Tables ---- */

static void *table_page;

static void *take_table_page(void)
{
    table_page = page_alloc(1, PAGE_ZERO);
    return table_page;
}

static void *take_no_page(void)
{
    return NULL;
}

static void write_byte(void *at)
{
    *(volatile char *)at = 1;
}

TEST(hosted, table_reads_zero_until_committed)
{
    char *table = arch_table_reserve(3 * PAGE_BYTES);

    REQUIRE(t, table != NULL);
    EXPECT(t, table[0] == 0 && table[3 * PAGE_BYTES - 1] == 0);
    EXPECT(t, !arch_table_commit(table, PAGE_BYTES, take_no_page));
    EXPECT_PANIC(t, write_byte, table, "(table page that is not committed)");

    REQUIRE(t, arch_table_commit(table, PAGE_BYTES, take_table_page));
    page_free(table_page, 1); /* stands for the process's page, and is not used */
    table[0] = 42;
    EXPECT(t, arch_table_commit(table, PAGE_BYTES, take_no_page)); /* backed already */
    EXPECT(t, table[0] == 42);
    EXPECT_PANIC(t, write_byte, table + PAGE_BYTES, "(table page that is not committed)");
    EXPECT(t, arch_table_reserve(TIB) == NULL);
}

/* ---- Backtraces ---- */

static NOINLINE size_t backtrace_inner(uintptr_t *pcs, size_t max)
{
    size_t count = arch_backtrace(NULL, pcs, max);

    __asm__ volatile("" : : "r"(count)); /* no tail call */
    return count;
}

static NOINLINE size_t backtrace_outer(uintptr_t *pcs, size_t max)
{
    size_t count = backtrace_inner(pcs, max);

    __asm__ volatile("" : : "r"(count));
    return count;
}

static bool pc_is_in(uintptr_t pc, const char *function)
{
    const char *name;
    size_t offset;

    return arch_symbol(pc - 1, &name, &offset) && strcmp(name, function) == 0;
}

TEST(hosted, backtrace_names_static_functions)
{
    uintptr_t pcs[16];
    size_t count = backtrace_outer(pcs, ARRAY_COUNT(pcs));
    const char *name;
    size_t offset;

    REQUIRE(t, count >= 3);
    EXPECT(t, pc_is_in(pcs[0], "backtrace_inner"));
    EXPECT(t, pc_is_in(pcs[1], "backtrace_outer"));
    EXPECT(t, pc_is_in(pcs[2], "test_hosted_backtrace_names_static_functions"));
    EXPECT(t, backtrace_outer(pcs, 1) == 1);
    EXPECT(t, !arch_symbol(16, &name, &offset));
}

/* This port knows no lines, so that a report says what it knows. */
TEST(hosted, reports_do_without_lines)
{
    uintptr_t pcs[1];
    const char *file = NULL;
    unsigned line = 0;
    char text[SYMBOL_TEXT_BYTES];

    REQUIRE(t, backtrace_outer(pcs, 1) == 1);
    EXPECT(t, !kernel_line_of(pcs[0], &file, &line) && file == NULL && line == 0);
    EXPECT(t, symbol_format(text, sizeof(text), pcs[0]));
    EXPECT(t, strncmp(text, "backtrace_inner+0x", 18) == 0 && strchr(text, '(') == NULL);
    EXPECT(t, !symbol_format(text, sizeof(text), 16) && strcmp(text, "0x10") == 0);
}
