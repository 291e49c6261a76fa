/*
 * Stacks that grow and shrink under threads: many at once go deep and are preempted, with locks held, in
 * the middle of allocations, while others take pages from stacks.  What one stack does by itself is in
 * tests/mm/stack/.
 */
#include "kernel/cpus.h"
#include "kernel/lock.h"
#include "kernel/preempt.h"
#include "kernel/stat.h"
#include "kernel/thread/mutex.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "mm/stack/stack.h"
#include "tests/kernel/thread/team.h"

#define DIVE_DEEPEST 60u /* pages: of 63 that a thread may use; interrupts have the others */
#define DIVE_FILL    20u

/* A thread that goes deep, and comes back. */
struct dive {
    struct test *t;
    uintptr_t top;                               /* about that of its stack */
    size_t pages;                                /* how deep */
    void (*step)(struct dive *, unsigned depth); /* in each frame, on the way down; NULL: nothing */
    _Atomic unsigned dives;                      /* complete ones; relaxed */
    bool is_damaged;
};

/* A frame, to which the next one has a pointer. */
struct dive_frame {
    volatile struct dive_frame *older;
    uint64_t mark;
    uint64_t from_below; /* what the next one has written */
    uint64_t fill[DIVE_FILL];
};

static uint64_t dive_mark(const struct dive *dive, unsigned depth)
{
    return ((uintptr_t)dive << 16) + depth;
}

/* Every frame above, by pointers; returns how many. */
static unsigned dive_chain(const struct dive *dive, const volatile struct dive_frame *frame,
                           unsigned depth)
{
    unsigned whole = 0;

    for (; frame != NULL && frame->mark == dive_mark(dive, depth - whole); frame = frame->older)
        whole++;
    return whole;
}

static NOINLINE void dive_down(struct dive *dive, volatile struct dive_frame *older, unsigned depth)
{
    volatile struct dive_frame frame = {.older = older, .mark = dive_mark(dive, depth)};

    frame.fill[depth % DIVE_FILL] = depth;
    if (older != NULL)
        older->from_below = dive_mark(dive, depth);
    if (dive->step != NULL)
        dive->step(dive, depth);
    arch_relax();
    if ((uintptr_t)&frame > dive->top - dive->pages * PAGE_BYTES) {
        dive_down(dive, &frame, depth + 1);
        dive->is_damaged |= frame.from_below != dive_mark(dive, depth + 1);
    } else {
        dive->is_damaged |= dive_chain(dive, &frame, depth) != depth + 1;
    }
    dive->is_damaged |= frame.older != older || frame.mark != dive_mark(dive, depth) ||
                        frame.fill[depth % DIVE_FILL] != depth;
}

static void dive_run(struct dive *dive, size_t pages)
{
    dive->top = (uintptr_t)__builtin_frame_address(0);
    dive->pages = pages;
    dive_down(dive, NULL, 0);
    atomic_fetch_add_explicit(&dive->dives, 1, memory_order_relaxed);
}

/* ---- To the limit, preempted, and shrunk meanwhile ---- */

static _Atomic bool limit_is_over;

static void limit_dives(void *arg)
{
    do
        dive_run(arg, DIVE_DEEPEST);
    while (!atomic_load_explicit(&limit_is_over, memory_order_relaxed));
}

TEST(thread_stacks, recursion_of_many_who_are_preempted)
{
    const struct stat *preempted = stat_find("sched", "preempted");
    unsigned count = MIN(2 * cpus_online() + 2, (unsigned)TEAM_MAX);
    static struct dive dives[TEAM_MAX];
    struct team team = {0};
    uint64_t before = stat_read(preempted);

    atomic_store_explicit(&limit_is_over, false, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        dives[i] = (struct dive){.t = t};
        REQUIRE(t, team_add(t, &team, limit_dives, &dives[i]));
    }
    while (stat_read(preempted) - before < 4 * count) {
        (void)thread_shrink_stacks();
        thread_yield();
    }
    atomic_store_explicit(&limit_is_over, true, memory_order_relaxed);
    team_join(&team);
    for (unsigned i = 0; i < count; i++)
        EXPECT(t, dives[i].dives > 0 && !dives[i].is_damaged);
}

/* ---- With locks held ---- */

#define LOCKED_TEAM   8u
#define LOCKED_STAGES 6u
#define LOCKED_PAGES  5u /* that each stage goes deeper: fewer than a reserve has */

static struct mutex stacks_mutex = MUTEX_INIT("tests' stacks");
static struct spinlock stacks_lock = SPINLOCK_INIT(TEST);
static unsigned stacks_locked; /* times that either was held, by one thread at a time */

static void mutex_dives(void *arg)
{
    for (unsigned stage = 1; stage <= LOCKED_STAGES; stage++) {
        mutex_lock(&stacks_mutex);
        unsigned held = stacks_locked;

        dive_run(arg, stage * LOCKED_PAGES);
        stacks_locked = held + 1;
        mutex_unlock(&stacks_mutex);
    }
}

/* Interrupts are off there, so the pages come from this CPU's reserve; it is filled before. */
static void spinlock_dives(void *arg)
{
    for (unsigned stage = 1; stage <= LOCKED_STAGES; stage++) {
        unsigned long irq = arch_irq_save();

        stack_refill();
        spin_lock_off(&stacks_lock);
        unsigned held = stacks_locked;

        dive_run(arg, stage * LOCKED_PAGES);
        stacks_locked = held + 1;
        spin_unlock_off(&stacks_lock);
        arch_irq_restore(irq);
        thread_yield();
    }
}

/* Returns how many pages came from reserves. */
static uint64_t locked_run(struct test *t, void (*fn)(void *arg))
{
    static struct dive dives[LOCKED_TEAM];
    uint64_t before = stack_stats().reserve_used;
    struct team team = {0};

    stacks_locked = 0;
    for (unsigned i = 0; i < LOCKED_TEAM; i++) {
        dives[i] = (struct dive){.t = t};
        if (!team_add(t, &team, fn, &dives[i]))
            break;
    }
    team_join(&team);
    EXPECT(t, stacks_locked == LOCKED_TEAM * LOCKED_STAGES);
    for (unsigned i = 0; i < LOCKED_TEAM; i++)
        EXPECT(t, dives[i].dives == LOCKED_STAGES && !dives[i].is_damaged);
    return stack_stats().reserve_used - before;
}

TEST(thread_stacks, grow_with_a_mutex_held)
{
    locked_run(t, mutex_dives);
}

TEST(thread_stacks, grow_with_a_spinlock_held_by_the_reserve)
{
    uint64_t used = locked_run(t, spinlock_dives);

    EXPECT(t, !PORT_STACK_FAULTS || used >= LOCKED_TEAM * (LOCKED_STAGES * LOCKED_PAGES - 2));
}

/* ---- In the middle of allocations ---- */

#define ALLOC_TEAM  6u
#define ALLOC_PAGES 40u
#define ALLOC_RUN   70u /* pages: too long for a window, so by the page heap's lock */

/* The deepest calls of a frame, so it is in them that the stack grows. */
static void alloc_step(struct dive *dive, unsigned depth)
{
    size_t bytes = depth * 40 % 3000 + 8;
    uint64_t *run = page_alloc(ALLOC_RUN, 0), *object = kmalloc(bytes);
    uint64_t mark = dive_mark(dive, depth);

    if (EXPECT(dive->t, run != NULL && object != NULL)) {
        *run = *object = mark;
        dive->is_damaged |= *run != mark || *object != mark;
    }
    kfree(object);
    if (run != NULL)
        page_free(run, ALLOC_RUN);
}

static void alloc_dives(void *arg)
{
    dive_run(arg, ALLOC_PAGES);
}

TEST(thread_stacks, grow_in_the_middle_of_allocations)
{
    static struct dive dives[ALLOC_TEAM];
    uint64_t before = stack_stats().reserve_used;
    struct team team = {0};

    for (unsigned i = 0; i < ALLOC_TEAM; i++) {
        dives[i] = (struct dive){.t = t, .step = alloc_step};
        REQUIRE(t, team_add(t, &team, alloc_dives, &dives[i]));
    }
    team_join(&team);
    for (unsigned i = 0; i < ALLOC_TEAM; i++)
        EXPECT(t, dives[i].dives == 1 && !dives[i].is_damaged);
    EXPECT(t, !PORT_STACK_FAULTS || stack_stats().reserve_used > before);
    page_check();
}

/* ---- Shrunk, parked and running, and deep again ---- */

#define SHRUNK_THREADS 100u
#define SHRUNK_PAGES   40u
#define SHRUNK_LEFT    8u /* pages of each at most: twice what is in use, or some of its own */

enum shrunk_phase { SHRUNK_FIRST, SHRUNK_AGAIN };

struct shrunk {
    struct dive dive;
    struct thread *thread;
    bool spins; /* preemption off: it is nowhere but on its CPU */
};

static _Atomic unsigned shrunk_phase; /* enum shrunk_phase; release / acquire */
static _Atomic unsigned shrunk_back;  /* threads that have come back; release / acquire */

static void shrunk_await(const struct shrunk *shrunk)
{
    if (shrunk->spins)
        preempt_disable();
    atomic_fetch_add_explicit(&shrunk_back, 1, memory_order_release);
    while (atomic_load_explicit(&shrunk_phase, memory_order_acquire) != SHRUNK_AGAIN) {
        if (shrunk->spins)
            arch_relax();
        else
            thread_park();
    }
    if (shrunk->spins)
        preempt_enable();
}

static void shrunk_dives(void *arg)
{
    struct shrunk *shrunk = arg;
    volatile uint64_t words[DIVE_FILL];

    for (unsigned i = 0; i < DIVE_FILL; i++)
        words[i] = dive_mark(&shrunk->dive, i);
    dive_run(&shrunk->dive, SHRUNK_PAGES);
    shrunk_await(shrunk);
    dive_run(&shrunk->dive, SHRUNK_PAGES);
    for (unsigned i = 0; i < DIVE_FILL; i++)
        shrunk->dive.is_damaged |= words[i] != dive_mark(&shrunk->dive, i);
}

/* Those that are about to park stand between parked and running: they are shrunk the next time. */
static void shrunk_shrink(struct test *t, size_t before)
{
    size_t deep = stack_stats().backed_bytes - before, pages = 0;

    EXPECT(t, deep >= SHRUNK_THREADS * SHRUNK_PAGES * PAGE_BYTES);
    for (unsigned turn = 0; turn < 1000 && stack_stats().backed_bytes - before >
                                               SHRUNK_THREADS * SHRUNK_LEFT * PAGE_BYTES;
         turn++) {
        pages += thread_shrink_stacks();
        thread_yield();
    }
    EXPECT(t, stack_stats().backed_bytes - before <= SHRUNK_THREADS * SHRUNK_LEFT * PAGE_BYTES);
    EXPECT(t, pages >= SHRUNK_THREADS * (SHRUNK_PAGES - SHRUNK_LEFT));
}

static size_t shrunk_backed(const struct thread *wanted)
{
    struct thread_info info = {0};

    for (struct thread *at = thread_next(NULL); at != NULL; at = thread_next(at)) {
        if (at == wanted)
            thread_info(at, &info);
    }
    return info.stack_backed;
}

TEST(thread_stacks, shrunk_parked_and_running_and_deep_again)
{
    static struct shrunk all[SHRUNK_THREADS];
    size_t before;

    if (!PORT_STACK_FAULTS) {
        test_skip(t, "stacks do not grow by faults, nor shrink");
        return;
    }
    stack_drain();
    before = stack_stats().backed_bytes;
    atomic_store_explicit(&shrunk_phase, SHRUNK_FIRST, memory_order_relaxed);
    atomic_store_explicit(&shrunk_back, 0, memory_order_relaxed);
    for (unsigned i = 0; i < SHRUNK_THREADS; i++) {
        bool spins = i == 0 && cpus_online() > 1;
        struct thread_options options = {.priority = THREAD_NORMAL, .cpus = spins ? 2 : 0};

        all[i] = (struct shrunk){.dive.t = t, .spins = spins};
        all[i].thread = thread_create("dives", shrunk_dives, &all[i], &options);
        REQUIRE(t, all[i].thread != NULL);
    }
    while (atomic_load_explicit(&shrunk_back, memory_order_acquire) != SHRUNK_THREADS)
        thread_yield();
    shrunk_shrink(t, before);
    EXPECT(t, shrunk_backed(all[0].thread) <= SHRUNK_LEFT * PAGE_BYTES);

    atomic_store_explicit(&shrunk_phase, SHRUNK_AGAIN, memory_order_release);
    for (unsigned i = 0; i < SHRUNK_THREADS; i++)
        thread_wake(all[i].thread);
    for (unsigned i = 0; i < SHRUNK_THREADS; i++)
        thread_join(all[i].thread);
    for (unsigned i = 0; i < SHRUNK_THREADS; i++)
        EXPECT(t, all[i].dive.dives == 2 && !all[i].dive.is_damaged);
    EXPECT(t, stack_stats().backed_bytes == before);
    stack_check();
}
