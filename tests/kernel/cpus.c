/* Calls and jobs on other CPUs; per-CPU variables. */
#include "kernel/cpus.h"
#include "kernel/base/string.h"
#include "kernel/percpu.h"
#include "kernel/time.h"
#include "tests/test.h"

#define CALL_ROUNDS 20

static PERCPU(uint64_t, cpus_calls);       /* [P] run here, in interrupt context */
static PERCPU(uint64_t, cpus_wrong_calls); /* [P] of these: not as they should be */
static PERCPU(unsigned char, cpus_odd);    /* makes the section's length odd */

static void cpus_count_call(void *arg)
{
    unsigned cpu = *(unsigned *)arg;

    if (arch_irq_enabled() || (cpu != ARCH_CPU_MAX && cpu != arch_cpu_id()))
        (*this_cpu(cpus_wrong_calls))++;
    (*this_cpu(cpus_calls))++;
}

static void cpus_reset(void *unused)
{
    (void)unused;
    *this_cpu(cpus_calls) = 0;
    *this_cpu(cpus_wrong_calls) = 0;
}

struct cpus_sums {
    _Atomic uint64_t calls, wrong; /* relaxed */
};

static void cpus_sum(void *arg)
{
    struct cpus_sums *sums = arg;

    atomic_fetch_add_explicit(&sums->calls, *this_cpu(cpus_calls), memory_order_relaxed);
    atomic_fetch_add_explicit(&sums->wrong, *this_cpu(cpus_wrong_calls), memory_order_relaxed);
}

static void cpus_expect_calls(struct test *t, uint64_t calls)
{
    struct cpus_sums sums = {0};

    cpu_call_all(cpus_sum, &sums);
    EXPECT(t, sums.calls == calls);
    EXPECT(t, sums.wrong == 0);
}

TEST(cpus, call_runs_there_with_interrupts_off)
{
    cpu_call_all(cpus_reset, NULL);
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        cpu_call(cpu, cpus_count_call, &cpu);
    cpus_expect_calls(t, cpus_online());
    EXPECT(t, arch_irq_enabled());
}

static void cpus_call_everyone(void *arg)
{
    (void)arg;
    for (unsigned round = 0; round < CALL_ROUNDS; round++) {
        unsigned anywhere = ARCH_CPU_MAX;

        for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
            cpu_call(cpu, cpus_count_call, &cpu);
        cpu_call_all(cpus_count_call, &anywhere);
    }
}

/* All call all at once: each must answer while it waits for its own call. */
TEST(cpus, calls_cross)
{
    uint64_t count = cpus_online();

    cpu_call_all(cpus_reset, NULL);
    cpu_run_all(cpus_online(), cpus_call_everyone, NULL);
    cpus_expect_calls(t, 2 * count * count * CALL_ROUNDS);
}

struct cpus_job {
    _Atomic uint64_t ran; /* bit set: this CPU was there; relaxed */
    _Atomic unsigned here;
    unsigned count;
    _Atomic bool is_wrong;
};

/* No CPU leaves before all have come: the job runs on all at once. */
static void cpus_meet(void *arg)
{
    struct cpus_job *job = arg;

    if (!arch_irq_enabled())
        atomic_store_explicit(&job->is_wrong, true, memory_order_relaxed);
    atomic_fetch_or_explicit(&job->ran, 1ull << arch_cpu_id(), memory_order_relaxed);
    atomic_fetch_add_explicit(&job->here, 1, memory_order_relaxed);
    while (atomic_load_explicit(&job->here, memory_order_relaxed) % job->count != 0)
        arch_relax();
}

static void cpus_set_ticks(void *hz)
{
    arch_tick_start(*(unsigned *)hz);
}

/*
 * Many short jobs, so that a wake-up lost between an idle CPU's look and its sleep would show: no
 * tick comes to make up for it, no idle work keeps the CPU awake.
 */
TEST(cpus, jobs_run_on_all_at_once)
{
    unsigned none = 0, usual = TIME_TICK_HZ;

    cpu_idle_hold();
    cpu_call_all(cpus_set_ticks, &none);
    for (unsigned round = 0; round < 200; round++) {
        unsigned count = 1 + round % cpus_online();
        struct cpus_job job = {.count = count};

        cpu_run_all(count, cpus_meet, &job);
        EXPECT(t, job.ran == (count == 64 ? ~0ull : (1ull << count) - 1));
        EXPECT(t, job.here == count && !job.is_wrong);
        for (unsigned i = 0; i < (round * 37 % 256) << round % 5; i++)
            arch_relax(); /* the next job finds idle CPUs at another point of their loop */
    }
    cpu_call_all(cpus_set_ticks, &usual);
    cpu_idle_release();
}

static void cpus_call_masked(void *unused)
{
    (void)unused;
    (void)arch_irq_save();
    cpu_call_all(cpus_reset, NULL);
}

static void cpus_call_nobody(void *unused)
{
    (void)unused;
    cpu_call(cpus_online(), cpus_reset, NULL);
}

static void cpus_run_too_many(void *unused)
{
    (void)unused;
    cpu_run_all(cpus_online() + 1, cpus_reset, NULL);
}

TEST(cpus, misuse_is_caught)
{
    EXPECT_PANIC(t, cpus_call_masked, NULL, "CHECK(arch_irq_enabled())");
    EXPECT_PANIC(t, cpus_call_nobody, NULL, "CHECK(cpu < cpus_online())");
    EXPECT_PANIC(t, cpus_run_too_many, NULL, "count <= cpus_online()");
}

/* ---- percpu ---- */

TEST(percpu, copies_are_apart_and_aligned_alike)
{
    size_t bytes = (size_t)(__stop_percpu - __start_percpu);

    EXPECT(t, percpu_offsets[0] == 0);
    for (unsigned cpu = 1; cpu < cpus_online(); cpu++) {
        EXPECT(t, percpu_offsets[cpu] % ARCH_LINE_BYTES == 0);
        for (unsigned other = 0; other < cpu; other++) {
            size_t apart = percpu_offsets[cpu] - percpu_offsets[other];

            EXPECT(t, apart >= bytes && -apart >= bytes);
        }
    }
}

static void percpu_mark(void *unused)
{
    (void)unused;
    unsigned long irq_state = arch_irq_save();
    *this_cpu(cpus_odd) = (unsigned char)(arch_cpu_id() + 1);
    arch_irq_restore(irq_state);
}

TEST(percpu, each_cpu_has_its_own)
{
    cpu_run_all(cpus_online(), percpu_mark, NULL);
    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        EXPECT(t, *cpu_var(cpus_odd, cpu) == cpu + 1);
}
