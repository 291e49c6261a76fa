/*
 * Stopping all other CPUs.  Interleaving provoked: all ask at the same moment, so that each but one
 * is about to when the first one's call comes.
 */
#include "kernel/stop.h"
#include "tests/test.h"

#define STOP_ROUNDS 200u

struct stop_race {
    unsigned cpus;
    _Atomic unsigned arrived; /* relaxed: all begin a round when all have come */
    unsigned stops;           /* who has stopped all others counts */
};

static void stop_count(void *arg)
{
    struct stop_race *race = arg;

    race->stops++;
}

static void stop_ask_too(void *arg)
{
    struct stop_race *race = arg;

    for (unsigned round = 1; round <= STOP_ROUNDS; round++) {
        atomic_fetch_add_explicit(&race->arrived, 1, memory_order_relaxed);
        while (atomic_load_explicit(&race->arrived, memory_order_relaxed) < round * race->cpus)
            arch_relax();
        stop_others(stop_count, race);
    }
}

TEST(stop, all_ask_at_once)
{
    struct stop_race race = {.cpus = cpus_online()};

    cpu_run_all(race.cpus, stop_ask_too, &race);
    EXPECT(t, race.stops == race.cpus * STOP_ROUNDS);
}
