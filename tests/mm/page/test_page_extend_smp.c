/* Runs that grow on all CPUs at once, while others are taken and given back. */
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "tests/test.h"

#define RUNS     60u
#define ROUNDS   3000u
#define CPUS_MAX 4u

struct run {
    uint64_t *addr; /* NULL: none; each page begins with its run's address */
    size_t pages;
};

static void run_mark(struct run *run, size_t from)
{
    for (size_t page = from; page < run->pages; page++)
        run->addr[page * (PAGE_BYTES / 8)] = (uintptr_t)run->addr;
}

static bool run_is_whole(const struct run *run)
{
    for (size_t page = 0; page < run->pages; page++) {
        if (run->addr[page * (PAGE_BYTES / 8)] != (uintptr_t)run->addr)
            return false;
    }
    return true;
}

static void run_take(struct run *run, size_t pages)
{
    *run = (struct run){page_alloc(pages, 0), pages};
    if (run->addr != NULL)
        run_mark(run, 0);
}

static void run_give(struct test *t, struct run *run)
{
    if (run->addr == NULL)
        return;
    EXPECT(t, run_is_whole(run));
    page_free(run->addr, run->pages);
    run->addr = NULL;
}

static bool run_extend(struct run *run, size_t more)
{
    if (!page_extend(run->addr, run->pages, more))
        return false;
    run->pages += more;
    run_mark(run, run->pages - more);
    return true;
}

/* Take, give or extend one of some runs. */
static void extend_turn(struct test *t, struct run *runs, uint64_t *state)
{
    struct run *run = &runs[random_next(state) % RUNS];
    size_t pages = 1 + random_next(state) % (random_next(state) % 2 ? 8 : 150);

    if (run->addr == NULL)
        run_take(run, pages);
    else if (random_next(state) % 3 == 0)
        run_give(t, run);
    else if (run->pages < 1000)
        run_extend(run, pages);
}

static struct test *extend_test;

static void extend_job(void *unused)
{
    struct run runs[RUNS] = {0};
    uint64_t state = port_cpu_id() + 1;

    (void)unused;
    for (unsigned round = 0; round < ROUNDS; round++)
        extend_turn(extend_test, runs, &state);
    for (unsigned i = 0; i < RUNS; i++)
        run_give(extend_test, &runs[i]);
}

TEST(page_extend, on_all_cpus)
{
    if (page_debug_is_on()) {
        test_skip(t, "pages are debugged");
        return;
    }
    extend_test = t;
    cpu_run_all(MIN(cpus_online(), CPUS_MAX), extend_job, NULL);
    page_check();
}
