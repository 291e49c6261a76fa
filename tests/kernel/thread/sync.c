/* Wait queues, conditions, semaphores: nobody is forgotten, nobody is woken for nothing. */
#include "kernel/thread/sync.h"
#include "kernel/cpus.h"
#include "tests/kernel/thread/team.h"

#define SYNC_TURNS   MIN(1000u, 2000u / cpus_online()) /* where CPUs take turns, each is long */
#define SYNC_THREADS 20u                               /* more than are woken with a lock held */

static struct wait_queue queue = WAIT_QUEUE_INIT("queue");
static _Atomic unsigned sync_value;         /* [A] release, acquire: what is waited for */
static _Atomic unsigned sync_done;          /* [A] relaxed: threads that have waited */
static _Atomic unsigned sync_looks;         /* [A] relaxed */
static unsigned sync_numbers[SYNC_THREADS]; /* [C] */
static unsigned sync_order[SYNC_THREADS];   /* [C] up to sync_done */

static unsigned sync_get(void)
{
    return atomic_load_explicit(&sync_value, memory_order_acquire);
}

static void sync_set(unsigned value)
{
    atomic_store_explicit(&sync_value, value, memory_order_release);
}

static unsigned sync_done_count(void)
{
    return atomic_load_explicit(&sync_done, memory_order_acquire);
}

static void sync_reset(void)
{
    sync_set(0);
    atomic_store_explicit(&sync_done, 0, memory_order_relaxed);
    atomic_store_explicit(&sync_looks, 0, memory_order_relaxed);
}

/* One after the other: the next is not let go before this one has been noted. */
static void sync_note(const unsigned *number)
{
    sync_order[sync_done_count()] = *number;
    atomic_fetch_add_explicit(&sync_done, 1, memory_order_release);
}

/* ---- Wait queues ---- */

static bool sync_comes_late(unsigned *looks)
{
    if ((*looks)++ == 0) { /* as if another CPU had done it right after this look */
        sync_set(1);
        (void)wait_queue_wake_all(&queue);
        return false;
    }
    return sync_get() != 0;
}

TEST(wait_queue, looks_again_when_it_stands_in_the_queue)
{
    unsigned looks = 0;

    sync_reset();
    WAIT_UNTIL(&queue, sync_comes_late(&looks));
    EXPECT(t, looks == 2);
    EXPECT(t, !wait_queue_wake_one(&queue)); /* and does not stand there any more */
}

static bool sync_look(void)
{
    atomic_fetch_add_explicit(&sync_looks, 1, memory_order_relaxed);
    return sync_get() != 0;
}

static void sync_wait_value(void *unused)
{
    (void)unused;
    WAIT_UNTIL(&queue, sync_look());
    atomic_fetch_add_explicit(&sync_done, 1, memory_order_release);
}

static bool sync_start_waiters(struct test *t, struct team *team, void (*fn)(void *arg), unsigned n,
                               const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        sync_numbers[i] = i;
        if (!team_add(t, team, fn, &sync_numbers[i]))
            return false;
        team_await(team->threads[i], text);
    }
    return true;
}

TEST(wait_queue, wakes_all)
{
    struct team team = {0};

    sync_reset();
    EXPECT(t, !wait_queue_wake_all(&queue));
    REQUIRE(t, sync_start_waiters(t, &team, sync_wait_value, SYNC_THREADS, "waits for queue"));
    EXPECT(t, wait_queue_wake_all(&queue));
    while (atomic_load_explicit(&sync_looks, memory_order_relaxed) != 4 * SYNC_THREADS)
        thread_yield(); /* they look, and again when they stand in the queue anew */
    for (unsigned i = 0; i < SYNC_THREADS; i++)
        team_await(team.threads[i], "waits for queue");
    EXPECT(t, sync_done_count() == 0);
    sync_set(1);
    EXPECT(t, wait_queue_wake_all(&queue));
    team_join(&team);
    EXPECT(t, sync_done_count() == SYNC_THREADS);
}

static void sync_wait_once(void *number)
{
    struct waiter waiter;

    wait_queue_enter(&queue, &waiter);
    wait_queue_wait(&queue, &waiter);
    sync_note(number);
}

TEST(wait_queue, wakes_the_longest_waiter)
{
    struct team team = {0};

    sync_reset();
    REQUIRE(t, sync_start_waiters(t, &team, sync_wait_once, 4, "waits for queue"));
    for (unsigned i = 0; i < 4; i++) {
        EXPECT(t, wait_queue_wake_one(&queue));
        while (sync_done_count() != i + 1)
            thread_yield();
    }
    EXPECT(t, !wait_queue_wake_one(&queue));
    team_join(&team);
    for (unsigned i = 0; i < 4; i++)
        EXPECT(t, sync_order[i] == i);
}

/* Woken while it finds that it need not wait: the next has use for that. */
TEST(wait_queue, who_leaves_passes_it_on)
{
    struct team team = {0};
    struct waiter waiters[2];

    sync_reset();
    for (unsigned i = 0; i < 2; i++)
        wait_queue_enter(&queue, &waiters[i]);
    REQUIRE(t, sync_start_waiters(t, &team, sync_wait_once, 3, "waits for queue"));
    for (unsigned i = 0; i < 2; i++)
        EXPECT(t, wait_queue_wake_one(&queue)); /* ours */
    for (unsigned i = 0; i < 2; i++) {
        wait_queue_leave(&queue, &waiters[i]);
        while (sync_done_count() != i + 1)
            thread_yield();
        EXPECT(t, sync_order[i] == i);
    }
    wait_queue_enter(&queue, &waiters[0]);
    wait_queue_leave(&queue, &waiters[0]); /* not woken: nobody else is, either */
    for (unsigned i = 0; i < 20; i++)
        thread_yield();
    EXPECT(t, sync_done_count() == 2);
    EXPECT(t, wait_queue_wake_one(&queue));
    team_join(&team);
}

/* In the middle of the queue. */
TEST(wait_queue, can_be_left_from_anywhere)
{
    struct waiter waiters[4];

    for (unsigned gone = 0; gone < 3; gone++) {
        for (unsigned i = 0; i < 3; i++)
            wait_queue_enter(&queue, &waiters[i]);
        wait_queue_leave(&queue, &waiters[gone]);
        wait_queue_enter(&queue, &waiters[3]);
        for (unsigned i = 0; i < 4; i++) {
            if (i == gone)
                continue;
            EXPECT(t, wait_queue_wake_one(&queue));
            wait_queue_wait(&queue, &waiters[i]);
        }
        EXPECT(t, !wait_queue_wake_one(&queue) && queue.count == 0);
    }
}

/* In interrupt context, on whatever CPU. */
static void sync_post(void *unused)
{
    (void)unused;
    sync_set(sync_get() + 1);
    (void)wait_queue_wake_one(&queue);
}

static void sync_take_posts(void *unused)
{
    (void)unused;
    for (unsigned i = 1; i <= SYNC_TURNS; i++) {
        WAIT_UNTIL(&queue, sync_get() >= i);
        atomic_store_explicit(&sync_done, i, memory_order_release);
    }
}

TEST(wait_queue, is_woken_by_interrupts)
{
    struct team team = {0};

    sync_reset();
    REQUIRE(t, team_add(t, &team, sync_take_posts, NULL));
    for (unsigned i = 1; i <= SYNC_TURNS; i++) {
        cpu_call(i % cpus_online(), sync_post, NULL);
        while (sync_done_count() != i)
            thread_yield();
    }
    team_join(&team);
}

/* Two threads, each waiting for the other at every turn. */
static void sync_alternate(void *number)
{
    unsigned me = *(const unsigned *)number;

    for (unsigned i = 0; i < SYNC_TURNS; i++) {
        WAIT_UNTIL(&queue, sync_get() == 2 * i + me);
        sync_set(2 * i + me + 1);
        (void)wait_queue_wake_all(&queue);
    }
}

TEST(wait_queue, loses_no_wakeup)
{
    struct team team = {0};

    sync_reset();
    for (unsigned i = 0; i < 2; i++) {
        sync_numbers[i] = i;
        (void)team_add(t, &team, sync_alternate, &sync_numbers[i]);
    }
    team_join(&team);
    EXPECT(t, sync_get() == 2 * SYNC_TURNS);
}

/* What it waits with is gone when it returns, and permits come that nobody asked for. */
static void sync_wait_with_pest(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < SYNC_TURNS; i++) {
        struct waiter waiter;

        wait_queue_enter(&queue, &waiter);
        wait_queue_wait(&queue, &waiter);
        waiter.thread = NULL;
        waiter.link.next = &waiter.link;
        atomic_fetch_add_explicit(&sync_done, 1, memory_order_release);
    }
}

TEST(wait_queue, bears_stray_permits)
{
    struct team team = {0};
    struct pest pest;
    unsigned woken = 0;

    sync_reset();
    REQUIRE(t, team_add(t, &team, sync_wait_with_pest, NULL));
    REQUIRE(t, pest_start(t, &pest, team.threads[0]));
    while (sync_done_count() != SYNC_TURNS) {
        if (wait_queue_wake_one(&queue))
            woken++;
        else
            thread_yield();
    }
    pest_end(&pest);
    team_join(&team);
    EXPECT(t, woken == SYNC_TURNS);
}

/* ---- Conditions ---- */

static struct condition changed = CONDITION_INIT("changed");
static struct mutex sync_mutex = MUTEX_INIT("sync");
static unsigned sync_held; /* [sync_mutex] */

static void sync_wait_condition(void *unused)
{
    (void)unused;
    mutex_lock(&sync_mutex);
    while (sync_held == 0) {
        condition_wait(&changed, &sync_mutex);
        atomic_fetch_add_explicit(&sync_done, !mutex_is_held(&sync_mutex), memory_order_relaxed);
    }
    sync_held--;
    mutex_unlock(&sync_mutex);
}

TEST(condition, broadcast_wakes_all)
{
    struct team team = {0};

    sync_reset();
    condition_broadcast(&changed);
    sync_held = 0;
    REQUIRE(t,
            sync_start_waiters(t, &team, sync_wait_condition, SYNC_THREADS, "waits for changed"));
    mutex_lock(&sync_mutex);
    sync_held = SYNC_THREADS;
    condition_broadcast(&changed);
    mutex_unlock(&sync_mutex);
    team_join(&team);
    EXPECT(t, sync_held == 0 && sync_done_count() == 0);
}

TEST(condition, signal_wakes_one)
{
    struct team team = {0};

    sync_reset();
    sync_held = 0;
    condition_signal(&changed); /* not kept for who comes later */
    REQUIRE(t, sync_start_waiters(t, &team, sync_wait_condition, 3, "waits for changed"));
    for (unsigned i = 0; i < 3; i++) {
        mutex_lock(&sync_mutex);
        EXPECT(t, sync_held == 0);
        sync_held = 1;
        condition_signal(&changed);
        mutex_unlock(&sync_mutex);
        for (bool is_taken = false; !is_taken;) {
            thread_yield();
            mutex_lock(&sync_mutex);
            is_taken = sync_held == 0;
            mutex_unlock(&sync_mutex);
        }
    }
    team_join(&team);
}

/* Each signal comes once: lost between unlocking and waiting, the two would wait for ever. */
static void sync_alternate_condition(void *number)
{
    unsigned me = *(const unsigned *)number;

    mutex_lock(&sync_mutex);
    for (unsigned i = 0; i < SYNC_TURNS; i++) {
        while (sync_held != 2 * i + me)
            condition_wait(&changed, &sync_mutex);
        sync_held++;
        condition_signal(&changed);
    }
    mutex_unlock(&sync_mutex);
}

TEST(condition, loses_no_signal)
{
    struct team team = {0};

    sync_held = 0;
    for (unsigned i = 0; i < 2; i++) {
        sync_numbers[i] = i;
        (void)team_add(t, &team, sync_alternate_condition, &sync_numbers[i]);
    }
    team_join(&team);
    EXPECT(t, sync_held == 2 * SYNC_TURNS);
}

/* ---- Semaphores ---- */

static struct semaphore places = SEMAPHORE_INIT("places", 3);
static _Atomic unsigned sync_inside; /* [A] relaxed */

static void sync_use_place(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 100; i++) {
        semaphore_take(&places);
        if (atomic_fetch_add_explicit(&sync_inside, 1, memory_order_relaxed) >= 3)
            atomic_fetch_add_explicit(&sync_done, 1, memory_order_relaxed);
        thread_yield();
        atomic_fetch_sub_explicit(&sync_inside, 1, memory_order_relaxed);
        semaphore_give(&places);
    }
}

TEST(semaphore, lets_so_many_in)
{
    struct team team = {0};

    sync_reset();
    for (unsigned i = 0; i < 8; i++)
        (void)team_add(t, &team, sync_use_place, NULL);
    team_join(&team);
    EXPECT(t, sync_done_count() == 0 && places.count == 3);
}

static void sync_take_place(void *number)
{
    semaphore_take(&places);
    sync_note(number);
}

TEST(semaphore, gives_to_the_longest_waiter)
{
    struct team team = {0};

    sync_reset();
    for (unsigned i = 0; i < 3; i++)
        EXPECT(t, semaphore_try_take(&places));
    EXPECT(t, !semaphore_try_take(&places));
    REQUIRE(t, sync_start_waiters(t, &team, sync_take_place, 3, "waits for places"));
    for (unsigned i = 0; i < 3; i++) {
        semaphore_give(&places);
        EXPECT(t, !semaphore_try_take(&places)); /* it is the waiter's already */
        while (sync_done_count() != i + 1)
            thread_yield();
    }
    team_join(&team);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(t, sync_order[i] == i);
        semaphore_give(&places);
    }
}

static struct semaphore turns[2] = {SEMAPHORE_INIT("first's turn", 1),
                                    SEMAPHORE_INIT("second's turn", 0)};

static void sync_take_turns(void *number)
{
    unsigned me = *(const unsigned *)number;

    for (unsigned i = 0; i < SYNC_TURNS; i++) {
        semaphore_take(&turns[me]);
        semaphore_give(&turns[1 - me]);
    }
}

/* One is on the way all the time: lost, the two would wait for ever. */
TEST(semaphore, loses_none)
{
    struct team team = {0};

    for (unsigned i = 0; i < 2; i++) {
        sync_numbers[i] = i;
        (void)team_add(t, &team, sync_take_turns, &sync_numbers[i]);
    }
    team_join(&team);
    EXPECT(t, turns[0].count == 1 && turns[1].count == 0);
}
