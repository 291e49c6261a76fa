/*
 * Threads: made, run, parked, woken, joined; where and in which order they run.
 */
#include <stdatomic.h>
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/preempt.h"
#include "kernel/fault.h"
#include "kernel/thread/thread.h"
#include "kernel/time.h"
#include "tests/kernel/thread/crew.h"
#include "tests/test.h"

#define MANY 200u

/* ---- Made, ended, joined ---- */

/* Release: who has seen all counted may leave the frame that the count stands in. */
static void count_one(void *count)
{
    atomic_fetch_add_explicit((_Atomic unsigned *)count, 1, memory_order_release);
}

TEST(thread, runs_and_is_joined)
{
    _Atomic unsigned count = 0;
    struct thread *thread = thread_create("one", count_one, (void *)&count, NULL);

    REQUIRE(t, thread != NULL);
    thread_join(thread);
    EXPECT(t, count == 1);
}

TEST(thread, many_at_once)
{
    static struct thread *all[MANY];
    _Atomic unsigned count = 0;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < MANY; i++)
            REQUIRE(t, (all[i] = thread_create("many", count_one, (void *)&count, NULL)) != NULL);
        for (unsigned i = 0; i < MANY; i++)
            thread_join(all[i]);
    }
    EXPECT(t, count == 5 * MANY);
}

static void exits_early(void *count)
{
    count_one(count);
    thread_exit();
    count_one(count);
}

TEST(thread, exit_ends_it)
{
    _Atomic unsigned count = 0;
    struct thread *thread = thread_create("exits", exits_early, (void *)&count, NULL);

    REQUIRE(t, thread != NULL);
    thread_join(thread);
    EXPECT(t, count == 1);
}

/* Nobody joins: the runner finds what is not given back. */
TEST(thread, detached_ones_go_by_themselves)
{
    size_t before = sched_stats().threads;
    _Atomic unsigned count = 0;

    for (unsigned i = 0; i < MANY; i++) {
        struct thread *thread = thread_create("detached", count_one, (void *)&count, NULL);

        REQUIRE(t, thread != NULL);
        if (i % 2 == 0)
            while (atomic_load_explicit(&count, memory_order_relaxed) <= i)
                thread_yield();
        thread_detach(thread);
    }
    while (atomic_load_explicit(&count, memory_order_acquire) != MANY)
        thread_yield();
    crew_wait_gone(t, before);
}

TEST(thread, create_fails_at_each_acquisition)
{
    _Atomic unsigned count = 0;
    struct thread *thread = NULL;
    unsigned nth = 0;

    while (thread == NULL) {
        preempt_disable();
        fault_fail_nth(++nth);
        thread = thread_create("fails", count_one, (void *)&count, NULL);

        bool has_fired = fault_disarm();

        preempt_enable();
        REQUIRE(t, thread != NULL || has_fired);
    }
    EXPECT(t, nth > 1); /* itself, its stack; page tables, if there are none */
    thread_join(thread);
    EXPECT(t, count == 1);
}

TEST(thread, names_are_cut)
{
    _Atomic unsigned count = 0;
    struct thread *thread =
        thread_create("a name that is much too long for it", count_one, (void *)&count, NULL);

    REQUIRE(t, thread != NULL);
    EXPECT(t, thread_name(thread)[THREAD_NAME_BYTES - 1] == '\0');
    EXPECT(t, strcmp(thread_name(thread), "a name that is much too") == 0);
    thread_join(thread);
}

/* ---- Park and wake ---- */

static void parks_often(void *arg)
{
    struct crew_pair *pair = arg;

    for (unsigned i = 0; i < pair->rounds; i++) {
        while (atomic_load_explicit(&pair->turn, memory_order_acquire) != 1)
            thread_park();
        atomic_store_explicit(&pair->turn, 0, memory_order_release);
        thread_wake(pair->other);
    }
}

/* A wake-up that is lost leaves both parked. */
TEST(thread, no_wake_up_is_lost)
{
    struct crew_pair pair = {.other = thread_self(), .rounds = 3000};
    struct thread *thread = thread_create("parks", parks_often, &pair, NULL);

    REQUIRE(t, thread != NULL);
    for (unsigned i = 0; i < pair.rounds; i++) {
        atomic_store_explicit(&pair.turn, 1, memory_order_release);
        thread_wake(thread);
        while (atomic_load_explicit(&pair.turn, memory_order_acquire) != 0)
            thread_park();
    }
    thread_join(thread);
    EXPECT(t, pair.turn == 0);
}

TEST(thread, a_permit_waits_and_is_one)
{
    thread_wake(thread_self());
    thread_wake(thread_self());
    thread_park(); /* takes both: there was one */

    struct crew_pair pair = {.other = thread_self(), .rounds = 1};
    struct thread *thread = thread_create("parks", parks_often, &pair, NULL);

    REQUIRE(t, thread != NULL);
    atomic_store_explicit(&pair.turn, 1, memory_order_release);
    thread_wake(thread);
    thread_park(); /* by parks_often, if there was no second permit */
    EXPECT(t, atomic_load_explicit(&pair.turn, memory_order_acquire) == 0);
    thread_join(thread);
}

/* From interrupts on all CPUs at once. */
static void wake_from_interrupt(void *thread)
{
    thread_wake(thread);
}

static void counts_permits(void *arg)
{
    struct crew_pair *pair = arg;

    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire)) {
        thread_park();
        atomic_fetch_add_explicit(&pair->count, 1, memory_order_relaxed);
    }
}

TEST(thread, interrupts_wake)
{
    struct crew_pair pair = {0};
    struct thread *thread = thread_create("counts", counts_permits, &pair, NULL);

    REQUIRE(t, thread != NULL);
    for (unsigned i = 0; i < 200; i++) {
        unsigned count = atomic_load_explicit(&pair.count, memory_order_relaxed);

        cpu_call_all(wake_from_interrupt, thread);
        while (atomic_load_explicit(&pair.count, memory_order_relaxed) == count)
            thread_yield();
    }
    atomic_store_explicit(&pair.is_over, true, memory_order_release);
    thread_wake(thread);
    thread_join(thread);
}

/* ---- Where and when ---- */

static void notes_cpu(void *arg)
{
    struct crew_note *note = arg;

    for (unsigned i = 0; i < 50; i++) {
        unsigned long irq = arch_irq_save();

        if (!(note->cpus >> arch_cpu_id() & 1))
            note->is_wrong = true;
        arch_irq_restore(irq);
        thread_yield();
    }
}

TEST(thread, stays_on_its_cpus)
{
    static struct crew_note notes[4 * ARCH_CPU_MAX];
    static struct thread *all[4 * ARCH_CPU_MAX];
    unsigned cpus = cpus_online(), n = 4 * cpus;

    for (unsigned i = 0; i < n; i++) {
        struct thread_options options = {.priority = THREAD_NORMAL};

        options.cpus = notes[i].cpus = 1ull << i % cpus | 1ull << i / 2 % cpus;
        notes[i].is_wrong = false;
        REQUIRE(t, (all[i] = thread_create("bound", notes_cpu, &notes[i], &options)) != NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        thread_join(all[i]);
        EXPECT(t, !notes[i].is_wrong);
    }
}

static void spins_until_told(void *arg)
{
    struct crew_pair *pair = arg;

    atomic_fetch_add_explicit(&pair->count, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire))
        arch_relax();
}

/* None gives its CPU up, and there are more than CPUs; main is one more. */
TEST(thread, ticks_preempt)
{
    struct crew_pair pair = {0};
    unsigned n = 2 * cpus_online() + 1;
    static struct thread *all[2 * ARCH_CPU_MAX + 1];

    for (unsigned i = 0; i < n; i++)
        REQUIRE(t, (all[i] = thread_create("spins", spins_until_told, &pair, NULL)) != NULL);
    while (atomic_load_explicit(&pair.count, memory_order_relaxed) != n)
        arch_relax();
    atomic_store_explicit(&pair.is_over, true, memory_order_release);
    for (unsigned i = 0; i < n; i++)
        thread_join(all[i]);
}

static struct crew_order order;

static void notes_order(void *letter)
{
    order.text[order.count++] = *(const char *)letter;
}

/* On one CPU, made while nobody can run there. */
TEST(thread, the_urgent_run_first)
{
    struct {
        const char *letter;
        enum thread_priority priority;
    } made[] = {{"b", THREAD_BACKGROUND}, {"n", THREAD_NORMAL}, {"u", THREAD_URGENT},
                {"b", THREAD_BACKGROUND}, {"u", THREAD_URGENT}, {"n", THREAD_NORMAL}};
    struct thread *all[ARRAY_COUNT(made)];

    order = (struct crew_order){0};
    preempt_disable();
    for (unsigned i = 0; i < ARRAY_COUNT(made); i++) {
        struct thread_options options = {.priority = made[i].priority, .cpus = 1};

        all[i] = thread_create("order", notes_order, (void *)(uintptr_t)made[i].letter, &options);
    }
    preempt_enable();
    for (unsigned i = 0; i < ARRAY_COUNT(made); i++) {
        REQUIRE(t, all[i] != NULL);
        thread_join(all[i]);
    }
    EXPECT(t, order.count == 6 && order.text[0] == 'u' && order.text[1] == 'u');
    EXPECT(t, order.text[2] == 'n' && order.text[3] == 'n' && order.text[5] == 'b');
}

/* A background thread gets its turns beside two that always want the CPU. */
static void yields_until_told(void *arg)
{
    struct crew_pair *pair = arg;

    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire))
        thread_yield();
}

static void ends_it(void *arg)
{
    atomic_store_explicit(&((struct crew_pair *)arg)->is_over, true, memory_order_release);
}

TEST(thread, nobody_starves)
{
    struct crew_pair pair = {0};
    struct thread_options normal = {.priority = THREAD_NORMAL, .cpus = 1};
    struct thread_options background = {.priority = THREAD_BACKGROUND, .cpus = 1};
    struct thread *a = thread_create("busy", yields_until_told, &pair, &normal);
    struct thread *b = thread_create("busy", yields_until_told, &pair, &normal);
    struct thread *c = thread_create("last", ends_it, &pair, &background);

    REQUIRE(t, a != NULL && b != NULL && c != NULL);
    thread_join(c);
    thread_join(a);
    thread_join(b);
}

/* Who makes a more urgent thread ready goes on behind it; each time, as the CPU may count as idle at first. */
TEST(thread, the_urgent_run_at_once)
{
    struct thread_options here = {.priority = THREAD_URGENT, .cpus = 1ull << arch_cpu_id()};

    for (unsigned i = 0; i < 4; i++) {
        struct crew_pair pair = {0};
        struct thread *urgent = thread_create("urgent", ends_it, &pair, &here);

        REQUIRE(t, urgent != NULL);
        EXPECT(t, atomic_load_explicit(&pair.is_over, memory_order_acquire));
        thread_join(urgent);
    }
}

/* ---- Sleep ---- */

static void sleeps(void *arg)
{
    struct crew_sleep *sleep = arg;

    thread_sleep_until(sleep->until);
    sleep->woke = time_uptime_ns();
}

TEST(thread, sleepers_wake_in_order_and_not_early)
{
    static struct crew_sleep all[40];
    static struct thread *threads[40];
    uint64_t now = time_uptime_ns();

    for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
        all[i].until = now + (i * 7919 % 40) * 3000000ul;
        REQUIRE(t, (threads[i] = thread_create("sleeps", sleeps, &all[i], NULL)) != NULL);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
        thread_join(threads[i]);
        EXPECT(t, all[i].woke >= all[i].until);
    }
}

/* A permit that comes while it sleeps neither wakes it nor is lost. */
TEST(thread, sleep_keeps_the_permit)
{
    uint64_t until = time_uptime_ns() + 20000000;

    thread_wake(thread_self());
    thread_sleep_until(until);
    EXPECT(t, time_uptime_ns() >= until);
    thread_park();
}

/* ---- All threads ---- */

TEST(thread, walks_over_all_while_they_come_and_go)
{
    static struct thread *all[MANY];
    size_t before = sched_stats().threads;
    struct crew_pair pair = {0};
    _Atomic unsigned count = 0;
    unsigned seen = 0;

    for (unsigned i = 0; i < 4; i++)
        REQUIRE(t, (all[i] = thread_create("stays", yields_until_told, &pair, NULL)) != NULL);
    for (unsigned i = 4; i < MANY; i++) {
        REQUIRE(t, (all[i] = thread_create("goes", count_one, (void *)&count, NULL)) != NULL);
        thread_detach(all[i]);
    }
    for (struct thread *at = thread_next(NULL); at != NULL; at = thread_next(at)) {
        for (unsigned i = 0; i < 4; i++)
            seen += at == all[i];
        thread_yield();
    }
    EXPECT(t, seen == 4);
    atomic_store_explicit(&pair.is_over, true, memory_order_release);
    for (unsigned i = 0; i < 4; i++)
        thread_join(all[i]);
    crew_wait_gone(t, before);
    EXPECT(t, atomic_load_explicit(&count, memory_order_acquire) == MANY - 4);
}
