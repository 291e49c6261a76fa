/*
 * page_alloc and page_free interrupted by handlers that allocate and free on the same CPU.
 *
 * Once at every instruction of every sequence, in turn, one instruction at a time; then at whatever
 * instruction the IPIs of other CPUs come.  Without the rewind (arch/sequence.h) a page is handed
 * out twice, or lost: tests/mutants/arch.txt takes it away and sees these tests fail.
 */
#include "arch/sequence.h"
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "tests/arch/step.h"
#include "tests/test.h"

#define STEPS_MIN   12u  /* instructions of a hit, at least */
#define STEPS_MAX   400u /* no call has so many */
#define WINDOW_ROOM 48u  /* pages */

/* What the interrupted code does, and what the handler does at one of its instructions. */
struct interruption {
    size_t pages;       /* of every run here */
    bool is_free;       /* the interrupted call is page_free(held, pages); else page_alloc */
    bool handler_frees; /* the handler frees `kept`; else it allocates into it */
    void *held, *kept;  /* runs */
    unsigned at;        /* the handler's instruction, from 1 in functions that are RESTARTABLE */
    unsigned steps;     /* of these so far */
    struct cpu_post post;
};

static struct interruption interruption;

static void interrupt_handler(void *unused)
{
    struct interruption *in = &interruption;

    (void)unused;
    if (in->handler_frees) {
        page_free(in->kept, in->pages);
        in->kept = NULL;
    } else {
        in->kept = page_alloc(in->pages, 0);
    }
}

static void interrupt_before(uintptr_t pc)
{
    struct interruption *in = &interruption;

    if (pc - (uintptr_t)__start_restartable <
            (uintptr_t)(__stop_restartable - __start_restartable) &&
        ++in->steps == in->at)
        cpu_post(&in->post, arch_cpu_id(), interrupt_handler, NULL);
}

static void interrupted_code(void *unused)
{
    struct interruption *in = &interruption;

    (void)unused;
    if (in->is_free)
        page_free(in->held, in->pages);
    else
        in->held = page_alloc(in->pages, 0);
}

/* One call, interrupted at its instruction `at`; false: it does not have so many. */
static bool interrupt_once(struct test *t, unsigned at)
{
    struct interruption *in = &interruption;
    void *other = page_alloc(in->pages, 0); /* so that the window has a hole */

    in->held = in->is_free ? page_alloc(in->pages, 0) : NULL;
    in->kept = in->handler_frees ? page_alloc(in->pages, 0) : NULL;
    page_free(other, in->pages);

    size_t free_before = page_free_count();
    size_t freed = 0;

    in->at = at;
    in->steps = 0;
    step_run(interrupted_code, NULL, interrupt_before);

    bool was_interrupted = in->steps >= at;

    EXPECT(t, !was_interrupted || cpu_post_is_done(&in->post));
    freed = (in->is_free ? in->pages : 0) + (in->handler_frees && was_interrupted ? in->pages : 0);
    EXPECT(t, page_free_count() + (in->is_free ? 0 : in->pages) +
                      (!in->handler_frees && was_interrupted ? in->pages : 0) ==
                  free_before + freed);
    if (!in->is_free) {
        EXPECT(t, in->held != NULL && in->held != in->kept);
        page_free(in->held, in->pages);
    }
    if (in->kept != NULL)
        page_free(in->kept, in->pages);
    page_check();
    return was_interrupted;
}

/* Take single pages, chained, until this CPU's window has room for all that is done here. */
static void **interrupt_fill(void)
{
    void **chain = NULL;

    page_drain_all();
    do {
        void **page = page_alloc(1, 0);

        if (page == NULL)
            break;
        *page = chain;
        chain = page;
    } while (page_stats().window_pages < WINDOW_ROOM);
    return chain;
}

static void interrupt_empty(void **chain)
{
    while (chain != NULL) {
        void **next = *chain;

        page_free(chain, 1);
        chain = next;
    }
}

TEST(page, interrupted_at_every_instruction)
{
    static const size_t lengths[] = {1, 2, 8};

    if (!ARCH_HAS_SEQUENCES) {
        test_skip(t, "built without sequences");
        return;
    }
    for (unsigned kind = 0; kind < 4 * ARRAY_COUNT(lengths); kind++) {
        unsigned at = 1;

        interruption.pages = lengths[kind / 4];
        interruption.is_free = kind % 2;
        interruption.handler_frees = kind / 2 % 2;

        void **chain = interrupt_fill();

        while (t->failures == 0 && at < STEPS_MAX && interrupt_once(t, at))
            at++;
        EXPECT(t, at > STEPS_MIN && at < STEPS_MAX);
        interrupt_empty(chain);
    }
}

/* ---- A storm ---- */

#define STORM_HELD 8u

struct storm {
    unsigned rounds;
    void *held[STORM_HELD]; /* [P] CPU 0's handler; each a run of 1 + index % 3 pages */
    uint64_t state;         /* [P] CPU 0's handler */
    _Atomic unsigned busy;  /* [A] CPUs that still send; release / acquire */
    _Atomic size_t damaged; /* [A] runs that were not as left; relaxed */
};

static void storm_put(void **slot, size_t pages)
{
    *slot = page_alloc(pages, 0);
    if (*slot != NULL)
        *(void **)*slot = slot;
}

static void storm_drop(struct storm *storm, void **slot, size_t pages)
{
    if (*slot == NULL)
        return;
    if (*(void **)*slot != slot)
        atomic_fetch_add_explicit(&storm->damaged, 1, memory_order_relaxed);
    page_free(*slot, pages);
    *slot = NULL;
}

static void storm_turn(struct storm *storm, void **held, uint64_t *state)
{
    unsigned i = random_next(state) % STORM_HELD;

    if (held[i] == NULL)
        storm_put(&held[i], 1 + i % 3);
    else
        storm_drop(storm, &held[i], 1 + i % 3);
}

static void storm_handler(void *arg)
{
    struct storm *storm = arg;

    for (unsigned i = 0; i < 3; i++)
        storm_turn(storm, storm->held, &storm->state);
}

static void storm_job(void *arg)
{
    struct storm *storm = arg;

    if (port_cpu_id() != 0) {
        for (unsigned i = 0; i < storm->rounds; i++)
            cpu_call(0, storm_handler, storm);
        atomic_fetch_sub_explicit(&storm->busy, 1, memory_order_release);
        return;
    }

    void *held[STORM_HELD] = {NULL};
    uint64_t state = storm->state ^ 1;

    while (atomic_load_explicit(&storm->busy, memory_order_acquire) != 0)
        storm_turn(storm, held, &state);
    for (unsigned i = 0; i < STORM_HELD; i++)
        storm_drop(storm, &held[i], 1 + i % 3);
}

TEST(page, interrupted_by_a_storm_of_calls)
{
    static struct storm storm;
    size_t free_before = page_free_count();

    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    storm = (struct storm){.state = test_seed(t), .busy = port_cpu_count() - 1};
    storm.rounds = (__STDC_HOSTED__ ? 20000 : 4000) / (port_cpu_count() - 1);
    cpu_run_all(port_cpu_count(), storm_job, &storm);
    for (unsigned i = 0; i < STORM_HELD; i++)
        storm_drop(&storm, &storm.held[i], 1 + i % 3);
    EXPECT(t, storm.damaged == 0);
    EXPECT(t, page_free_count() == free_before);
    page_check();
}
