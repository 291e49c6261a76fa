/*
 * What threads of the process live on that have entered: parked, running, coming and going.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "arch/arch.h"
#include "arch/hosted/hosted.h"
#include "kernel/cpus.h"
#include "kernel/thread/thread.h"
#include "tests/test.h"

#define LIVE_MARK   0x1234567890abcdeful
#define LIVE_VISITS 200u

enum live_phase { LIVE_OUT, LIVE_IN, LIVE_OVER };

/* One that enters, and how it is told to go on. */
struct live_guest {
    struct test *t;
    bool parks;                  /* else it spins */
    _Atomic(struct thread *) is; /* who it is while it is in; release / acquire */
    _Atomic unsigned phase;      /* enum live_phase; release / acquire */
};

struct live_seen {
    uintptr_t wanted;
    unsigned words;
};

static __attribute__((no_sanitize("address", "thread"))) void live_look(uintptr_t start,
                                                                        uintptr_t end, void *arg)
{
    struct live_seen *seen = arg;

    for (const volatile uintptr_t *at = (const uintptr_t *)start; at < (const uintptr_t *)end; at++)
        seen->words += *at == seen->wanted;
}

static unsigned live_phase(struct live_guest *guest)
{
    return atomic_load_explicit(&guest->phase, memory_order_acquire);
}

static void live_phase_set(struct live_guest *guest, unsigned phase)
{
    atomic_store_explicit(&guest->phase, phase, memory_order_release);
}

/* The mark stands in a local variable only. */
static void *live_enters(void *arg)
{
    struct live_guest *guest = arg;

    EXPECT(guest->t, hosted_cpu_enter() > 0);

    volatile uintptr_t mark = LIVE_MARK ^ (uintptr_t)guest;

    atomic_store_explicit(&guest->is, thread_self(), memory_order_release);
    live_phase_set(guest, LIVE_IN);
    while (live_phase(guest) != LIVE_OVER) {
        if (guest->parks)
            thread_park();
        else
            arch_relax();
    }
    (void)mark;
    hosted_cpu_leave();
    return NULL;
}

static void live_expect(struct test *t, bool parks)
{
    struct live_guest guest = {.t = t, .parks = parks};
    struct thread *thread;
    struct thread_info info;
    pthread_t pthread;

    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    pthread_create(&pthread, NULL, live_enters, &guest);
    while (live_phase(&guest) != LIVE_IN)
        thread_yield();
    thread = atomic_load_explicit(&guest.is, memory_order_acquire);
    do
        thread_info(thread, &info);
    while (parks && info.state[0] != 'p');
    for (unsigned i = 0; i < 50; i++) {
        struct live_seen seen = {.wanted = LIVE_MARK ^ (uintptr_t)&guest};

        EXPECT(t, thread_live(thread, live_look, &seen) && seen.words >= 1);
    }
    live_phase_set(&guest, LIVE_OVER);
    thread_wake(thread);
    pthread_join(pthread, NULL);

    struct live_seen seen = {.wanted = LIVE_MARK ^ (uintptr_t)&guest};

    EXPECT(t, !thread_live(thread, live_look, &seen) && seen.words == 0);
}

TEST(live_hosted, of_one_that_has_entered_and_is_parked)
{
    live_expect(t, true);
}

TEST(live_hosted, of_one_that_has_entered_and_runs)
{
    live_expect(t, false);
}

/* ---- Coming and going ---- */

static void *live_visits(void *arg)
{
    struct live_guest *guest = arg;

    for (unsigned i = 0; i < LIVE_VISITS; i++) {
        EXPECT(guest->t, hosted_cpu_enter() > 0);
        atomic_store_explicit(&guest->is, thread_self(), memory_order_release);
        live_phase_set(guest, LIVE_IN);
        while (live_phase(guest) == LIVE_IN)
            arch_relax();
        hosted_cpu_leave();
    }
    live_phase_set(guest, LIVE_OVER);
    return NULL;
}

/* Race: one enters while he is looked at, and found to be out.  He is there afterwards. */
TEST(live_hosted, of_one_that_comes_and_goes)
{
    struct live_guest guest = {.t = t};
    struct live_seen seen = {.wanted = 1};
    pthread_t pthread;
    unsigned phase;

    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    pthread_create(&pthread, NULL, live_visits, &guest);
    while ((phase = live_phase(&guest)) != LIVE_OVER) {
        struct thread *own;

        for (unsigned idx = 2; (own = thread_own(idx)) != NULL; idx += 2)
            (void)thread_live(own, live_look, &seen);
        if (phase == LIVE_IN) {
            EXPECT(t, thread_live(atomic_load_explicit(&guest.is, memory_order_acquire), live_look,
                                  &seen));
            live_phase_set(&guest, LIVE_OUT);
        }
    }
    pthread_join(pthread, NULL);
}
