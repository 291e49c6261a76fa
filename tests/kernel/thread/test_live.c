/* What threads live on is found: registers and stacks, of threads that run and that do not. */
#include "kernel/cpus.h"
#include "kernel/stop.h"
#include "mm/stack/stack.h"
#include "tests/kernel/thread/crew.h"

#define LIVE_MARK 0x1234567890abcdeful

struct live_seen {
    uintptr_t wanted;
    unsigned words;
    size_t bytes;
};

static __attribute__((no_sanitize("address", "thread"))) void live_look(uintptr_t start,
                                                                        uintptr_t end, void *arg)
{
    struct live_seen *seen = arg;

    seen->bytes += end - start;
    for (const volatile uintptr_t *at = (const uintptr_t *)start; at < (const uintptr_t *)end; at++)
        seen->words += *at == seen->wanted;
}

/* The mark is in a local variable only, and made so that no copy of it is elsewhere. */
static void live_parks(void *arg)
{
    struct crew_pair *pair = arg;
    volatile uintptr_t mark = LIVE_MARK ^ (uintptr_t)pair;

    atomic_fetch_add_explicit(&pair->count, 1, memory_order_release);
    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire))
        thread_park();
    (void)mark;
}

static void live_spins(void *arg)
{
    struct crew_pair *pair = arg;
    volatile uintptr_t mark = LIVE_MARK ^ (uintptr_t)pair;

    atomic_fetch_add_explicit(&pair->count, 1, memory_order_release);
    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire))
        arch_relax();
    (void)mark;
}

static void live_expect(struct test *t, void (*entry)(void *), unsigned looks)
{
    struct crew_pair pair = {0};
    struct thread *thread = thread_create("lives", entry, &pair, NULL);

    REQUIRE(t, thread != NULL);
    while (atomic_load_explicit(&pair.count, memory_order_acquire) == 0)
        thread_yield();
    for (unsigned i = 0; i < looks; i++) {
        struct live_seen seen = {.wanted = LIVE_MARK ^ (uintptr_t)&pair};

        EXPECT(t, thread_live(thread, live_look, &seen));
        EXPECT(t, seen.words >= 1 && seen.bytes > 64 && seen.bytes < 16 * KIB);
    }
    atomic_store_explicit(&pair.is_over, true, memory_order_release);
    thread_wake(thread);
    thread_join(thread);
}

TEST(thread_live, of_one_that_is_parked)
{
    live_expect(t, live_parks, 50);
}

/* It runs on another CPU, or waits for this one: and is preempted meanwhile. */
TEST(thread_live, of_one_that_runs)
{
    live_expect(t, live_spins, 50);
}

static void live_yields(void *arg)
{
    struct crew_pair *pair = arg;
    volatile uintptr_t mark = LIVE_MARK ^ (uintptr_t)pair;

    atomic_fetch_add_explicit(&pair->count, 1, memory_order_release);
    while (!atomic_load_explicit(&pair->is_over, memory_order_acquire))
        thread_yield();
    (void)mark;
}

TEST(thread_live, of_one_that_moves)
{
    live_expect(t, live_yields, 1000 / cpus_online()); /* who may have to take turns */
}

static void live_ends(void *unused)
{
    (void)unused;
}

TEST(thread_live, of_one_that_has_ended)
{
    struct live_seen seen = {0};
    struct thread *thread = thread_create("ends", live_ends, NULL, NULL);

    REQUIRE(t, thread != NULL);
    while (thread_live(thread, live_look, &seen))
        thread_yield();
    seen.bytes = 0;
    EXPECT(t, !thread_live(thread, live_look, &seen) && seen.bytes == 0);
    thread_join(thread);
}

/* ---- CPUs' own flows ---- */

/* Where a flow has the mark in its stack, and who it is. */
struct live_own {
    struct thread *thread;
    uintptr_t mark_at;
    unsigned words;    /* that thread_live has found there */
    bool is_walked_to; /* by thread_own */
    bool is_root;      /* a range of stop_each_root covers the mark */
    _Atomic bool is_seen;
};

static void live_covers(uintptr_t start, uintptr_t end, void *arg)
{
    struct live_own *own = arg;

    own->is_root |= start <= own->mark_at && own->mark_at < end;
}

static void live_roots(void *arg)
{
    stop_each_root(live_covers, arg);
}

static void live_looks_at_main(void *arg)
{
    struct live_own *own = arg;
    struct live_seen seen = {.wanted = LIVE_MARK ^ (uintptr_t)own};
    struct thread *at;

    for (unsigned idx = 0; (at = thread_own(idx)) != NULL; idx++)
        own->is_walked_to |= at == own->thread;
    if (thread_live(own->thread, live_look, &seen))
        own->words = seen.words;
    stop_others(live_roots, own);
    atomic_store_explicit(&own->is_seen, true, memory_order_release);
    thread_wake(own->thread);
}

/* Main, or who has entered, waits while another thread looks. */
TEST(thread_live, of_a_cpus_own_that_is_parked)
{
    for (unsigned i = 0; i < 20; i++) {
        struct live_own own = {.thread = thread_self()};
        volatile uintptr_t mark = LIVE_MARK ^ (uintptr_t)&own;
        struct thread *thread;

        own.mark_at = (uintptr_t)&mark;
        thread = thread_create("looks", live_looks_at_main, &own, NULL);
        REQUIRE(t, thread != NULL);
        while (!atomic_load_explicit(&own.is_seen, memory_order_acquire))
            thread_park();
        thread_join(thread);
        EXPECT(t, own.is_walked_to && own.words >= 1 && own.is_root);
    }
}

/* All CPUs' own flows: who runs is found where he runs, who is not there lives on nothing. */
TEST(thread_live, of_cpus_own_at_any_time)
{
    struct live_seen seen = {.wanted = 1};
    struct thread *at;
    unsigned found = 0, idx = 0;

    for (; (at = thread_own(idx)) != NULL; idx++)
        found += thread_live(at, live_look, &seen);
    EXPECT(t, idx == 2 * cpus_online() && found >= 1 && seen.bytes < found * STACK_DEFAULT_BYTES);
    EXPECT(t, thread_live(thread_self(), live_look, &seen));
}
