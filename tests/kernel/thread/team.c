#include "tests/kernel/thread/team.h"
#include "arch/arch.h"
#include "kernel/base/string.h"
#include "kernel/thread/sync.h"

bool team_add(struct test *t, struct team *team, void (*fn)(void *arg), void *arg)
{
    struct thread *thread;

    if (!EXPECT(t, team->count < TEAM_MAX))
        return false;
    thread = thread_create("team", fn, arg, NULL);
    if (!EXPECT(t, thread != NULL))
        return false;
    team->threads[team->count++] = thread;
    return true;
}

void team_join(struct team *team)
{
    while (team->count != 0)
        thread_join(team->threads[--team->count]);
}

/* Let other threads run, and other CPUs: QEMU gives them their turn at once. */
static void team_relax(void)
{
    thread_yield();
    arch_relax();
}

void team_await(const struct thread *thread, const char *text)
{
    char said[80];

    while (!sync_describe(thread, said, sizeof(said)) || strncmp(said, text, strlen(text)) != 0)
        thread_yield();
}

static void pest_run(void *arg)
{
    struct pest *pest = arg;

    while (!atomic_load_explicit(&pest->shall_end, memory_order_relaxed)) {
        thread_wake(pest->victim);
        atomic_fetch_add_explicit(&pest->turns, 1, memory_order_relaxed);
        team_relax();
    }
}

bool pest_start(struct test *t, struct pest *pest, struct thread *victim)
{
    *pest = (struct pest){.victim = victim};
    pest->thread = thread_create("pest", pest_run, pest, NULL);
    if (!EXPECT(t, pest->thread != NULL))
        return false;
    while (atomic_load_explicit(&pest->turns, memory_order_relaxed) < 2)
        team_relax();
    return true;
}

void pest_end(struct pest *pest)
{
    atomic_store_explicit(&pest->shall_end, true, memory_order_relaxed);
    thread_join(pest->thread);
}
