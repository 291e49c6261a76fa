/* Mutexes: exclusion, order of hand-off, reports, and what is a panic. */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/thread/sync.h"
#include "tests/kernel/thread/team.h"

#define MUTEX_TURNS   300u
#define MUTEX_THREADS 8u

static struct mutex first = MUTEX_INIT("first");
static struct mutex second = MUTEX_INIT("second");
static uint64_t mutex_count;                  /* [first] */
static unsigned mutex_order[MUTEX_THREADS];   /* [first] */
static unsigned mutex_arrived;                /* [first] */
static unsigned mutex_numbers[MUTEX_THREADS]; /* [C] */

static void mutex_count_up(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < MUTEX_TURNS; i++) {
        if (i % 4 != 0 || !mutex_try_lock(&first))
            mutex_lock(&first);

        uint64_t seen = *(volatile uint64_t *)&mutex_count;

        if (i % 8 == 0)
            thread_yield(); /* others find it taken, and sleep */
        else if (i % 8 == 1)
            arch_relax();
        *(volatile uint64_t *)&mutex_count = seen + 1;
        mutex_unlock(&first);
    }
}

TEST(mutex, excludes_others)
{
    struct team team = {0};

    mutex_count = 0;
    for (unsigned i = 0; i < MUTEX_THREADS; i++)
        (void)team_add(t, &team, mutex_count_up, NULL);
    team_join(&team);
    EXPECT(t, mutex_count == (uint64_t)MUTEX_TURNS * MUTEX_THREADS);
    EXPECT(t, atomic_load(&first.owner) == 0);
}

/* Taken at once by two: who unlocks and who comes to wait for it meet at every instruction. */
static void mutex_short_turns(void *arrived)
{
    atomic_fetch_add_explicit((_Atomic unsigned *)arrived, 1, memory_order_relaxed);
    while (atomic_load_explicit((_Atomic unsigned *)arrived, memory_order_relaxed) != 3)
        thread_yield();
    for (unsigned i = 0; i < 20 * MUTEX_TURNS; i++) {
        mutex_lock(&first);
        for (unsigned relax = 0; relax < i % 8; relax++)
            arch_relax();
        *(volatile uint64_t *)&mutex_count = *(volatile uint64_t *)&mutex_count + 1;
        mutex_unlock(&first);
    }
}

TEST(mutex, meets_its_unlocking)
{
    struct team team = {0};
    _Atomic unsigned arrived = 0;

    mutex_count = 0;
    for (unsigned i = 0; i < 3; i++)
        REQUIRE(t, team_add(t, &team, mutex_short_turns, &arrived));
    team_join(&team);
    EXPECT(t, mutex_count == 20ull * MUTEX_TURNS * 3);
}

TEST(mutex, try_takes_only_what_is_free)
{
    EXPECT(t, !mutex_is_held(&first));
    REQUIRE(t, mutex_try_lock(&first));
    EXPECT(t, mutex_is_held(&first));
    EXPECT(t, !mutex_try_lock(&first));
    mutex_unlock(&first);
    EXPECT(t, !mutex_is_held(&first));
    REQUIRE(t, mutex_try_lock(&first));
    mutex_unlock(&first);
}

static void mutex_arrive(void *number)
{
    mutex_lock(&first);
    mutex_order[mutex_arrived++] = *(const unsigned *)number;
    mutex_unlock(&first);
}

/* Handed over: even who asks again at once comes after those who wait. */
TEST(mutex, goes_to_the_longest_waiter)
{
    struct team team = {0};

    mutex_arrived = 0;
    mutex_lock(&first);
    for (unsigned i = 0; i < MUTEX_THREADS; i++) {
        mutex_numbers[i] = i;
        REQUIRE(t, team_add(t, &team, mutex_arrive, &mutex_numbers[i]));
        team_await(team.threads[i], "waits for mutex first");
    }
    mutex_unlock(&first);
    mutex_lock(&first);
    EXPECT(t, mutex_arrived == MUTEX_THREADS);
    mutex_unlock(&first);
    team_join(&team);
    for (unsigned i = 0; i < MUTEX_THREADS; i++)
        EXPECT(t, mutex_order[i] == i);
}

TEST(mutex, says_who_waits_for_whom)
{
    struct team team = {0};
    char said[80];

    EXPECT(t, !sync_describe(thread_self(), said, sizeof(said)) && said[0] == '\0');
    mutex_arrived = 0;
    mutex_lock(&first);
    REQUIRE(t, team_add(t, &team, mutex_arrive, &mutex_numbers[0]));
    team_await(team.threads[0], "waits for mutex first, owned by ");
    EXPECT(t, sync_describe(team.threads[0], said, sizeof(said)));
    EXPECT(t, strcmp(strrchr(said, ' ') + 1, thread_name(thread_self())) == 0);
    mutex_unlock(&first);
    team_join(&team);
}

/* ---- Freed by who has had it last ---- */

struct mutex_pair {
    struct mutex mutex;
    _Atomic unsigned turns; /* [A] relaxed */
};

static void mutex_scribble(void *arg)
{
    struct mutex_pair *pair = arg;

    mutex_lock(&pair->mutex);
    mutex_unlock(&pair->mutex);
    memset(pair, 0xa5, sizeof(*pair)); /* the last: nobody else has any business here */
}

/*
 * The waiter, whom permits come to from elsewhere, sees itself the owner while the one that hands
 * over is not through with the mutex.
 */
TEST(mutex, may_be_freed_by_its_last_owner)
{
    for (unsigned i = 0; i < 50; i++) {
        struct mutex_pair pair = {.mutex = MUTEX_INIT("pair")};
        struct team team = {0};
        struct pest pest;

        mutex_lock(&pair.mutex);
        REQUIRE(t, team_add(t, &team, mutex_scribble, &pair));
        team_await(team.threads[0], "waits for mutex pair");
        REQUIRE(t, pest_start(t, &pest, team.threads[0]));
        mutex_unlock(&pair.mutex);
        pest_end(&pest);
        team_join(&team);

        const unsigned char *bytes = (const unsigned char *)&pair;

        for (size_t b = 0; b < sizeof(pair); b++)
            REQUIRE(t, bytes[b] == 0xa5);
    }
}

/* ---- Misuse ---- */

static struct mutex ring[3] = {MUTEX_INIT("ring 0"), MUTEX_INIT("ring 1"), MUTEX_INIT("ring 2")};
static _Atomic bool mutex_shall_go; /* [A] release, acquire */

static void mutex_hold_second(void *unused)
{
    (void)unused;
    mutex_lock(&second);
    while (!atomic_load_explicit(&mutex_shall_go, memory_order_acquire))
        thread_yield();
    mutex_unlock(&second);
}

static void mutex_unlock_one(void *mutex)
{
    mutex_unlock(mutex);
}

static void mutex_lock_twice(void *mutex)
{
    mutex_lock(mutex);
    mutex_lock(mutex);
}

static void mutex_lock_one(void *mutex)
{
    mutex_lock(mutex);
}

TEST(mutex, is_its_owners)
{
    struct team team = {0};

    EXPECT_PANIC(t, mutex_unlock_one, &first,
                 "mutex_unlock: mutex first is owned by nobody, not by ");
    EXPECT_PANIC(t, mutex_lock_twice, &first, "has mutex first already");

    atomic_store_explicit(&mutex_shall_go, false, memory_order_relaxed);
    REQUIRE(t, team_add(t, &team, mutex_hold_second, NULL));
    while (atomic_load_explicit(&second.owner, memory_order_relaxed) == 0)
        thread_yield();
    EXPECT_PANIC(t, mutex_unlock_one, &second,
                 "mutex_unlock: mutex second is owned by team, not by ");
    atomic_store_explicit(&mutex_shall_go, true, memory_order_release);
    team_join(&team);
}

static struct condition mutex_condition = CONDITION_INIT("condition");

static void mutex_wait_without(void *mutex)
{
    condition_wait(&mutex_condition, mutex);
}

TEST(condition, needs_its_mutex)
{
    EXPECT_PANIC(t, mutex_wait_without, &first, "does not have mutex first");
}

/* Has ring[i], and waits for ring[i + 1]. */
static void mutex_join_ring(void *arg)
{
    struct mutex *mutex = arg;

    mutex_lock(&mutex[0]);
    mutex_lock(&mutex[1]);
    mutex_unlock(&mutex[1]);
    mutex_unlock(&mutex[0]);
}

/* Waits, but not in a ring: the one that all wait for goes on. */
TEST(mutex, finds_rings)
{
    struct team team = {0};
    const char *report;

    mutex_lock(&ring[2]);
    REQUIRE(t, team_add(t, &team, mutex_join_ring, &ring[1]));
    team_await(team.threads[0], "waits for mutex ring 2");
    REQUIRE(t, team_add(t, &team, mutex_join_ring, &ring[0]));
    team_await(team.threads[1], "waits for mutex ring 1, owned by team");

    report = PANIC_REPORT(t, mutex_lock_one, &ring[0]);
    if (report != NULL) {
        EXPECT(t, strstr(report, "mutex_lock: deadlock: 3 threads wait in a ring") != NULL);
        EXPECT(t, strstr(report, "waits for mutex ring 0, owned by team") != NULL);
        EXPECT(t, strstr(report, "team waits for mutex ring 1, owned by team") != NULL);
        EXPECT(t, strstr(report, "team waits for mutex ring 2, owned by ") != NULL);
        EXPECT(t, strstr(report, "  thread team waits for mutex ring 1, owned by team") != NULL);
    }
    mutex_unlock(&ring[2]);
    team_join(&team);
}
