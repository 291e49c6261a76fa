/* Idle work: done by CPUs that have no job, never in a job's way, and not at all while held. */
#include "kernel/cpus.h"
#include "tests/test.h"

static _Atomic bool idle_is_greedy;     /* [A] relaxed: the test's function always wants more */
static _Atomic unsigned idle_calls;     /* [A] relaxed */
static _Atomic unsigned idle_misplaced; /* [A] relaxed: calls with interrupts off */

static bool idle_work(void)
{
    atomic_fetch_add_explicit(&idle_calls, 1, memory_order_relaxed);
    cpu_idle_again(arch_ticks_per_second() / 100);
    if (!arch_irq_enabled())
        atomic_fetch_add_explicit(&idle_misplaced, 1, memory_order_relaxed);
    return atomic_load_explicit(&idle_is_greedy, memory_order_relaxed);
}
IDLE_WORK(idle_work);

static unsigned idle_count(void)
{
    return atomic_load_explicit(&idle_calls, memory_order_relaxed);
}

static void idle_job(void *count)
{
    atomic_fetch_add_explicit((_Atomic unsigned *)count, 1, memory_order_relaxed);
}

/*
 * Each job finds the other CPUs amid work that never ends, and where there are more of them than the machine
 * has, they take turns: so the more CPUs, the fewer rounds.
 */
TEST(idle, jobs_come_first)
{
    const unsigned rounds = 400 / cpus_online();
    _Atomic unsigned jobs = 0;

    if (cpus_online() < 2) {
        test_skip(t, "takes two CPUs");
        return;
    }
    atomic_store_explicit(&idle_is_greedy, true, memory_order_relaxed);
    cpu_idle_release();
    for (unsigned i = 0; i < rounds; i++) {
        unsigned calls = idle_count();

        while (idle_count() == calls)
            arch_relax();
        cpu_run_all(cpus_online(), idle_job, &jobs);
    }
    cpu_idle_hold();
    atomic_store_explicit(&idle_is_greedy, false, memory_order_relaxed);
    EXPECT(t, jobs == rounds * cpus_online());
    EXPECT(t, idle_misplaced == 0);
}

/* A CPU that sleeps is woken when idle work has said, and asks again. */
TEST(idle, sleepers_ask_again)
{
    if (cpus_online() < 2) {
        test_skip(t, "takes two CPUs");
        return;
    }
    cpu_idle_release();
    for (unsigned calls = idle_count(); idle_count() - calls < 5;)
        arch_relax();
    cpu_idle_hold();
}

TEST(idle, hold_ends_it)
{
    _Atomic unsigned jobs = 0;
    unsigned calls = idle_count(); /* the runner holds it */

    cpu_idle_hold();
    cpu_idle_release();
    for (unsigned i = 0; i < 100; i++)
        cpu_run_all(cpus_online(), idle_job, &jobs); /* each CPU idles in between */
    EXPECT(t, idle_count() == calls);
}
