/*
 * A program outside the tree: it knows arch/hosted/hosted.h and the public names of mm/, and starts
 * and stops the machine several times.  KTAP; exit status 0 if nothing failed.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arch/hosted/hosted.h"
#include "mm/gc/gc_types.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"

#define RAM_BYTES (64ul << 20)
#define CPUS      4
#define OBJECTS   2000

static unsigned failures; /* of the test that runs */

#define EXPECT(condition)                                            \
    do {                                                             \
        if (!(condition)) {                                          \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            failures++;                                              \
        }                                                            \
    } while (0)

/* ---- Threads that allocate, and free what their neighbour allocated ---- */

static pthread_barrier_t all_allocated;
static void *objects[CPUS][OBJECTS];
static _Atomic unsigned without_cpu;

static void *worker(void *arg)
{
    size_t me = (size_t)arg, neighbour = (me + 1) % CPUS;

    if (hosted_cpu_enter() < 0)
        atomic_fetch_add(&without_cpu, 1);
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[me][i] = kmalloc(8 + i % 1000);
        memset(objects[me][i], (int)me, 8 + i % 1000);
    }
    pthread_barrier_wait(&all_allocated);
    for (size_t i = 0; i < OBJECTS; i++)
        kfree(objects[neighbour][i]);
    hosted_cpu_leave();
    return NULL;
}

static void run_workers(void)
{
    pthread_t threads[CPUS];

    without_cpu = 0;
    pthread_barrier_init(&all_allocated, NULL, CPUS);
    for (size_t i = 0; i < CPUS; i++)
        pthread_create(&threads[i], NULL, worker, (void *)i);
    for (size_t i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_allocated);
    EXPECT(without_cpu == 0);
}

static size_t free_pages(void)
{
    mm_drain();
    return page_free_count();
}

/* ---- Tests ---- */

/* Nobody enters: the thread that started allocates at once. */
static void starter_works_on_its_loan(void)
{
    EXPECT(hosted_start(RAM_BYTES, CPUS, "") == 0);
    size_t before = free_pages();
    char *object = kmalloc(100);

    memset(object, 1, 100);
    EXPECT(free_pages() < before);
    kfree(object);
    EXPECT(free_pages() == before);
    hosted_stop();
}

/* As many threads as CPUs; the one that started waits in pthread_join and then looks around. */
static void starter_waits_for_workers(void)
{
    EXPECT(hosted_start(RAM_BYTES, CPUS, "") == 0);
    size_t before = free_pages();

    for (unsigned turn = 0; turn < 5; turn++)
        run_workers();
    EXPECT(free_pages() == before); /* its loan has come back */
    hosted_stop();
}

/* The loan made firm: then there is one CPU less for others. */
static void starter_enters(void)
{
    EXPECT(hosted_start(RAM_BYTES, 1, "seed=3") == 0);
    EXPECT(hosted_cpu_enter() == 0);
    kfree(kmalloc(1000));
    hosted_cpu_leave();
    EXPECT(hosted_cpu_enter() == 0);
    hosted_cpu_leave();
    hosted_stop();
    EXPECT(hosted_cpu_enter() == -1);
}

static GC_ROOT(void, left_over);

/* What one machine leaves undone is gone with it; so is what a root of the program led to. */
static void each_start_finds_the_first_state(void)
{
    size_t first = 0;

    for (unsigned turn = 0; turn < 3; turn++) {
        EXPECT(hosted_start(RAM_BYTES, 2, NULL) == 0);
        if (turn == 0)
            first = free_pages();
        EXPECT(free_pages() == first);
        EXPECT(gc_load(&left_over) == NULL);
        EXPECT(kmem_cache_create("left over", 48, 0, NULL, 0) != NULL);
        (void)kmalloc(100000);
        (void)page_alloc(7, 0);
        EXPECT(free_pages() < first);
        **left_over = kmalloc(16); /* no barrier: nothing is collected before the stop */
        hosted_stop();
    }
}

static void bad_arguments_are_refused(void)
{
    char *line = malloc(5000);

    memset(line, 'x', 4999);
    line[4999] = '\0';
    EXPECT(hosted_start(RAM_BYTES, 0, "") == -1);
    EXPECT(hosted_start(RAM_BYTES, 65, "") == -1);
    EXPECT(hosted_start(4096, 1, "") == -1);
    EXPECT(hosted_start((size_t)1 << 60, 1, "") == -1);
    EXPECT(hosted_start(RAM_BYTES, 1, line) == -1);
    EXPECT(hosted_module_load("/does/not/exist") == -1);
    free(line);

    EXPECT(hosted_start(RAM_BYTES, 1, "") == 0);
    EXPECT(hosted_start(RAM_BYTES, 1, "") == -1); /* it runs already */
    hosted_stop();
    hosted_stop(); /* nothing to stop */
}

/* From the least there can be to more than this machine has. */
static void sizes_and_counts(void)
{
    static const struct {
        size_t ram_bytes;
        unsigned cpus;
    } machines[] = {
        {4ul << 20, 1}, {128ul << 20, 64}, {8ul << 30, 3}, {64ul << 30, 8}, {1ul << 40, 2}};

    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        size_t pages = machines[i].ram_bytes / 4096;

        EXPECT(hosted_start(machines[i].ram_bytes, machines[i].cpus, "paranoia=1") == 0);
        EXPECT(free_pages() < pages && free_pages() > pages / 2);
        kfree(kmalloc(64));
        EXPECT(machines[i].ram_bytes < (8ul << 30) ||
               mm_stats().meta_bytes <= machines[i].ram_bytes / 200);
        hosted_stop();
    }
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"starter_works_on_its_loan", starter_works_on_its_loan},
        {"starter_waits_for_workers", starter_waits_for_workers},
        {"starter_enters", starter_enters},
        {"each_start_finds_the_first_state", each_start_finds_the_first_state},
        {"bad_arguments_are_refused", bad_arguments_are_refused},
        {"sizes_and_counts", sizes_and_counts},
    };
    unsigned count = sizeof(tests) / sizeof(tests[0]), failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0); /* the kernel's lines go to the same place */
    printf("KTAP version 1\n1..%u\n", count);
    for (unsigned i = 0; i < count; i++) {
        failures = 0;
        tests[i].run();
        failed += failures != 0;
        printf("%s %u lifecycle.%s\n", failures != 0 ? "not ok" : "ok", i + 1, tests[i].name);
    }
    printf("%u passed, %u failed\n", count - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
