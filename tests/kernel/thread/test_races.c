/*
 * Races of the scheduler: a thread that leaves its CPU, a CPU that goes to sleep, a timer, a thread that
 * ends; each against who wakes.
 *
 * Who wakes sees by the thread's state that it has parked, while its CPU still is about to leave it: so
 * he meets that CPU on its way to sleep, every time.
 */
#include "kernel/base/random.h"
#include "kernel/cpus.h"
#include "kernel/preempt.h"
#include "kernel/stat.h"
#include "kernel/thread/sched.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"
#include "tests/test.h"

#define RACE_WORDS    64u
#define RACE_TURNS    4096u    /* looks, of which one lets others run */
#define RACE_STUCK_NS 1000000u /* that a CPU's answer to an interrupt takes, as a rule */
#define RACE_FORGOTTEN_MAX \
    20u /* answers that took longer, beyond what the machine's load explains */

/* Where there are more CPUs than the machine has, a round takes as long as all their turns. */
static unsigned race_rounds(void)
{
    return 800 / cpus_online();
}

struct race {
    struct thread *thread;
    _Atomic unsigned round; /* [A] that it has come back from; release */
    _Atomic unsigned go;    /* [A] that it may begin, as its waker is there; release */
    _Atomic bool is_over;   /* [A] release */
    _Atomic bool is_wrong;  /* [A] relaxed */
};

static void race_spin(uint64_t ns)
{
    uint64_t end = time_uptime_ns() + ns;

    while (time_uptime_ns() < end)
        arch_relax();
}

/* Rarely, as what is raced for would be over after it. */
static void race_relax(unsigned turn)
{
    if (turn % RACE_TURNS == 0)
        arch_relax();
}

static void race_await(const _Atomic unsigned *number, unsigned least)
{
    for (unsigned turn = 1; atomic_load_explicit(number, memory_order_acquire) < least; turn++) {
        thread_yield();
        race_relax(turn);
    }
}

/* Parks again and again, with something on its stack. */
static void race_parks(void *arg)
{
    struct race *race = arg;
    volatile uint32_t words[RACE_WORDS];

    for (unsigned round = 1; !atomic_load_explicit(&race->is_over, memory_order_acquire); round++) {
        for (unsigned i = 0; i < RACE_WORDS; i++)
            words[i] = round * RACE_WORDS + i;
        if (arch_cpu_id() != 0) /* there who wakes cannot run meanwhile */
            race_await(&race->go, round);
        thread_park();
        for (unsigned i = 0; i < RACE_WORDS; i++) {
            if (words[i] != round * RACE_WORDS + i)
                atomic_store_explicit(&race->is_wrong, true, memory_order_relaxed);
        }
        atomic_store_explicit(&race->round, round, memory_order_release);
    }
}

static bool race_start(struct test *t, struct race *race, void (*entry)(void *arg), uint64_t cpus)
{
    struct thread_options options = {.priority = THREAD_NORMAL, .cpus = cpus};

    *race = (struct race){0};
    if (cpus_online() < 2) {
        test_skip(t, "one CPU");
        return false;
    }
    race->thread = thread_create("race", entry, race, &options);
    return EXPECT(t, race->thread != NULL);
}

static void race_end(struct race *race)
{
    atomic_store_explicit(&race->is_over, true, memory_order_release);
    atomic_store_explicit(&race->go, UINT32_MAX, memory_order_release);
    thread_wake(race->thread);
    thread_join(race->thread);
}

static void race_await_state(const struct race *race, unsigned states)
{
    for (unsigned turn = 1;
         !(atomic_load_explicit(&race->thread->state, memory_order_acquire) & states); turn++)
        race_relax(turn);
}

/* ---- A thread whose stack is being left ---- */

/*
 * Woken, it stands in this CPU's queue, which goes on with it at once.  Here it parks, too, and goes to a CPU
 * that sleeps: so it is met every second round.
 */
TEST(thread_race, wake_meets_leaving)
{
    const struct stat *waited = stat_find("sched", "waited");
    struct race race;

    REQUIRE(t, waited != NULL);
    uint64_t before = stat_read(waited);

    if (!race_start(t, &race, race_parks, 0))
        return;
    for (unsigned round = 1; round <= 4 * race_rounds(); round++) {
        preempt_disable();
        atomic_store_explicit(&race.go, round, memory_order_release);
        race_await_state(&race, THREAD_PARKED);
        thread_wake(race.thread);
        preempt_enable();
        race_await(&race.round, round);
    }
    race_end(&race);
    EXPECT(t, !race.is_wrong);
    EXPECT(t, stat_read(waited) == before); /* nobody has switched to what was still being left */
}

/* ---- A CPU that goes to sleep ---- */

/* Where that CPU, idle, waits for who wakes, so that both set out at once. */
static struct {
    _Atomic(struct race *) race; /* [A] release; NULL: no gate */
    _Atomic unsigned arrived;    /* [A] release: a round of its */
    _Atomic unsigned open;       /* [A] release: for rounds up to this one */
} race_gate;

static bool race_idle(void)
{
    struct race *race = atomic_load_explicit(&race_gate.race, memory_order_acquire);

    if (race == NULL || arch_cpu_id() != cpus_online() - 1)
        return false;

    unsigned round = atomic_load_explicit(&race->round, memory_order_acquire) + 1;

    atomic_store_explicit(&race_gate.arrived, round, memory_order_release);
    for (unsigned turn = 1; atomic_load_explicit(&race_gate.open, memory_order_acquire) < round &&
                            atomic_load_explicit(&race_gate.race, memory_order_relaxed) != NULL;
         turn++)
        race_relax(turn);
    return false;
}
IDLE_WORK(race_idle);

static bool race_sleeps_there(void)
{
    return atomic_load_explicit(&sched_idle_cpus, memory_order_relaxed) >> (cpus_online() - 1) & 1;
}

/* It waits in a queue, beside a CPU that sleeps: which has been forgotten, if that lasts. */
static bool race_await_run(const struct race *race, unsigned round)
{
    uint64_t since = time_uptime_ns();

    for (unsigned turn = 1; atomic_load_explicit(&race->round, memory_order_acquire) != round;
         turn++) {
        uint64_t now = time_uptime_ns();

        if (!race_sleeps_there() || sched_queued(0) + sched_queued(cpus_online() - 1) == 0)
            since = now;
        if (now - since > RACE_STUCK_NS)
            return false;
        race_relax(turn);
    }
    return true;
}

/*
 * Wakes it each time that it has parked on the last CPU.  This one is not given up.  Returns how often it
 * took long for the thread to run.
 */
static unsigned race_wake_each(struct race *race)
{
    unsigned forgotten = 0;

    atomic_store_explicit(&race_gate.arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&race_gate.open, 0, memory_order_relaxed);
    atomic_store_explicit(&race->go, 1, memory_order_release);
    race_await_state(race, THREAD_PARKED);
    atomic_store_explicit(&race_gate.race, race, memory_order_release);
    for (unsigned round = 1; round <= race_rounds(); round++) {
        atomic_store_explicit(&race->go, round, memory_order_release);
        race_await_state(race, THREAD_PARKED);
        for (unsigned turn = 1;
             atomic_load_explicit(&race_gate.arrived, memory_order_acquire) < round &&
             !race_sleeps_there();
             turn++)
            race_relax(turn);
        atomic_store_explicit(&race_gate.open, round, memory_order_release);
        thread_wake(race->thread);
        forgotten += !race_await_run(race, round);
        for (unsigned turn = 1; atomic_load_explicit(&race->round, memory_order_acquire) != round;
             turn++)
            race_relax(turn);
    }
    atomic_store_explicit(&race_gate.race, NULL, memory_order_release);
    return forgotten;
}

static void race_answer(void *unused)
{
    (void)unused;
}

/* How often that CPU takes long to answer an interrupt: where the machine has no time for it. */
static unsigned race_late(void)
{
    unsigned late = 0;

    for (unsigned round = 0; round < race_rounds(); round++) {
        uint64_t since = time_uptime_ns();

        cpu_call(cpus_online() - 1, race_answer, NULL);
        late += time_uptime_ns() - since > RACE_STUCK_NS;
    }
    return late;
}

static void race_with_sleep(struct test *t, uint64_t cpus)
{
    struct race race;
    bool has_begun;

    cpu_idle_release();
    preempt_disable();
    has_begun = race_start(t, &race, race_parks, cpus);
    if (has_begun) {
        unsigned forgotten = race_wake_each(&race);

        EXPECT(t, forgotten <= RACE_FORGOTTEN_MAX + 2 * race_late());
    }
    preempt_enable();
    if (has_begun)
        race_end(&race);
    cpu_idle_hold();
}

/* Queued here: either that CPU sees it before it sleeps, or this one sees that it does. */
TEST(thread_race, queueing_meets_going_to_sleep)
{
    race_with_sleep(t, 1 | 1ull << (cpus_online() - 1));
}

/* Likewise, but it may run there only, so that it goes into that CPU's inbox. */
TEST(thread_race, inbox_meets_going_to_sleep)
{
    race_with_sleep(t, 1ull << (cpus_online() - 1));
}

/* ---- A timer ---- */

static void race_sleeps(void *arg)
{
    struct race *race = arg;

    for (unsigned round = 1; !atomic_load_explicit(&race->is_over, memory_order_acquire); round++) {
        uint64_t until = time_uptime_ns() + 100000;

        thread_sleep_until(until);
        if (time_uptime_ns() < until)
            atomic_store_explicit(&race->is_wrong, true, memory_order_relaxed);
        thread_park();
        atomic_store_explicit(&race->round, round, memory_order_release);
    }
}

/* One permit a round, given while it sleeps or wakes up: it does not end the sleep, nor is it lost. */
TEST(thread_race, wake_meets_the_timer)
{
    uint64_t random = random_start(test_seed(t), 0);
    struct race race;

    if (!race_start(t, &race, race_sleeps, 2))
        return;
    for (unsigned round = 1; round <= race_rounds() / 2; round++) {
        race_await_state(&race, THREAD_SLEEPS | THREAD_PARKED);
        race_spin(random_next(&random) % (1000000000ul / TIME_TICK_HZ));
        thread_wake(race.thread);
        race_await(&race.round, round);
    }
    race_end(&race);
    EXPECT(t, !race.is_wrong);
}

/* ---- A thread that ends ---- */

static void race_ends_late(void *unused)
{
    (void)unused;
    race_spin(200000);
}

/* Wakes the thread that has made it, until told to stop; says that it has, and ends when told to. */
static void race_pesters(void *arg)
{
    struct race *race = arg;

    while (!atomic_load_explicit(&race->is_over, memory_order_acquire)) {
        thread_wake(race->thread);
        thread_yield();
        arch_relax();
    }
    atomic_store_explicit(&race->round, 1, memory_order_release);
    race_await(&race->round, 2); /* to end takes the lock that is raced for */
}

/*
 * Woken for another reason, who joins sees that the thread is gone before it has woken him.  When he
 * returns, it has: else it would wake somebody who may be gone himself.
 */
TEST(thread_race, join_meets_the_end)
{
    struct thread_options there = {.priority = THREAD_NORMAL, .cpus = 2};
    struct thread *self = thread_self();

    if (cpus_online() < 2) {
        test_skip(t, "one CPU");
        return;
    }
    for (unsigned i = 0; i < race_rounds() / 8; i++) {
        struct race race = {.thread = self};
        struct thread_options here = {.priority = THREAD_NORMAL, .cpus = 1};
        struct thread *pest = thread_create("pest", race_pesters, &race, &here);
        struct thread *ends = thread_create("ends", race_ends_late, NULL, &there);

        REQUIRE(t, pest != NULL && ends != NULL);
        thread_join(ends);
        atomic_store_explicit(&race.is_over, true, memory_order_release);
        race_await(&race.round, 1);
        thread_wake(self);
        thread_park(); /* takes the last permit */
        race_spin(500000);
        EXPECT(t, atomic_load_explicit(&self->state, memory_order_relaxed) == THREAD_RUNS);
        atomic_store_explicit(&race.round, 2, memory_order_release);
        thread_join(pest);
    }
}
