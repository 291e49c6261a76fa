/*
 * The native benchmark of one allocator: `native [quick]` takes SAMPLES of each workload and prints
 * a line for each
 *
 *     sample Pair/size=64 THREADS OPERATIONS NS EMPTY
 *
 * NS and EMPTY are nanoseconds of the workload's loop and of the same loop without the calls, each
 * the mean over the threads.  run.sh runs the allocators in turns and makes figures of the samples.
 * The clock is the thread's own, its time on a core: what else the machine does meanwhile takes
 * cache from the loop, but no time.  Other lines are the allocator's.
 *
 *     Pair    an object is allocated and freed at once; an operation is both
 *     Batch   BATCH_OBJECTS in a row, then all freed in random order; an operation is both, of one
 *     Churn   CHURN_SLOTS live objects; a step, the operation, replaces one by one of random size
 *
 * Each workload runs on one thread, before there are others, then on two, each with objects of its
 * own, both at once.  Thread k is bound to the k-th core that this process may run on.  Before a
 * workload's samples a part of one runs unmeasured: memory is touched, caches are filled.
 *
 * Linked with one allocator: see native.h.
 */
#define _GNU_SOURCE
#include "tests/bench/native/native.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))

#define THREADS       2u
#define BATCH_OBJECTS 10000u
#define CHURN_SLOTS   4096u
#define SEED          0x9e3779b97f4a7c15ull
#define SAMPLES       3u
#define WARM_PARTS    4u    /* a part of a sample runs before the first */
#define QUICK_PARTS   1000u /* a quick sample is so small a part of a true one */

/* What a thread does: [C] constant while it runs. */
struct work {
    uint64_t n;  /* [C] operations, at least */
    uint64_t ns; /* of the loop */
    void *objects[BATCH_OBJECTS];
};

struct workload {
    const char *name;
    void (*run)(struct work *work);
    void (*empty)(struct work *work);
    uint64_t n;    /* operations in a sample */
    uint64_t unit; /* n is a multiple of it */
};

/* ---- Stand-ins for what an empty loop leaves out ---- */

static inline void *opaque(size_t value)
{
    void *p;

    __asm__ volatile("" : "=r"(p) : "0"(value));
    return p;
}

static inline void use(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Not found in the loops: a null pointer in the last place says that memory was exhausted. */
static void check_object(const void *p)
{
    if (p != NULL)
        return;
    fprintf(stderr, "native: memory is exhausted\n");
    exit(1);
}

/* xorshift64 of Marsaglia, "Xorshift RNGs", 2003. */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* ---- Pair ---- */

#define PAIR_BYTES 64

static NOINLINE void pair_loop(uint64_t n, size_t bytes)
{
    for (uint64_t i = n; i > 0; i--)
        subject_free(subject_alloc(bytes));
}

static NOINLINE void pair_loop_empty(uint64_t n, size_t bytes)
{
    for (uint64_t i = n; i > 0; i--)
        use(opaque(bytes));
}

static void pair(struct work *work)
{
    void *object = subject_alloc(PAIR_BYTES);

    check_object(object);
    subject_free(object);

    uint64_t start = now_ns();
    pair_loop(work->n, PAIR_BYTES);
    work->ns = now_ns() - start;
}

static void pair_empty(struct work *work)
{
    uint64_t start = now_ns();

    pair_loop_empty(work->n, PAIR_BYTES);
    work->ns = now_ns() - start;
}

/* ---- Batch ---- */

#define BATCH_BYTES 64

static NOINLINE void batch_alloc(void **objects, size_t bytes)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        objects[i] = subject_alloc(bytes);
}

static NOINLINE void batch_free(void **objects)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        subject_free(objects[i]);
}

static NOINLINE void batch_alloc_empty(void **objects, size_t bytes)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        objects[i] = opaque(bytes);
}

static NOINLINE void batch_free_empty(void **objects)
{
    for (size_t i = 0; i < BATCH_OBJECTS; i++)
        use(objects[i]);
}

static void batch_shuffle(void **objects, uint64_t *state)
{
    for (size_t i = BATCH_OBJECTS - 1; i > 0; i--) {
        size_t j = draw(state) % (i + 1);
        void *object = objects[i];

        objects[i] = objects[j];
        objects[j] = object;
    }
}

static void batch(struct work *work)
{
    uint64_t state = SEED;

    work->ns = 0;
    for (uint64_t done = 0; done < work->n; done += BATCH_OBJECTS) {
        uint64_t start = now_ns();
        batch_alloc(work->objects, BATCH_BYTES);
        work->ns += now_ns() - start;

        check_object(work->objects[BATCH_OBJECTS - 1]);
        batch_shuffle(work->objects, &state);

        start = now_ns();
        batch_free(work->objects);
        work->ns += now_ns() - start;
    }
}

static void batch_empty(struct work *work)
{
    work->ns = 0;
    for (uint64_t done = 0; done < work->n; done += BATCH_OBJECTS) {
        uint64_t start = now_ns();
        batch_alloc_empty(work->objects, BATCH_BYTES);
        work->ns += now_ns() - start;

        start = now_ns();
        batch_free_empty(work->objects);
        work->ns += now_ns() - start;
    }
}

/* ---- Churn ---- */

/* A step's slot and size: 16 .. 4095 bytes, each octave as likely as the others. */
static inline size_t churn_draw(uint64_t *state, size_t *bytes)
{
    uint64_t x = draw(state);
    size_t octave = (size_t)16 << (x >> 12 & 7);

    *bytes = octave + (x >> 16 & (octave - 1));
    return x % CHURN_SLOTS;
}

static NOINLINE void churn_loop(void **slots, uint64_t n)
{
    uint64_t state = SEED;

    for (uint64_t i = n; i > 0; i--) {
        size_t bytes;
        void **slot = &slots[churn_draw(&state, &bytes)];

        subject_free(*slot);
        *slot = subject_alloc(bytes);
    }
}

static NOINLINE void churn_loop_empty(void **slots, uint64_t n)
{
    uint64_t state = SEED;

    for (uint64_t i = n; i > 0; i--) {
        size_t bytes;
        void **slot = &slots[churn_draw(&state, &bytes)];

        use(*slot);
        *slot = opaque(bytes);
    }
}

static void churn(struct work *work)
{
    void **slots = work->objects;

    for (size_t i = 0; i < CHURN_SLOTS; i++) {
        slots[i] = subject_alloc(16);
        check_object(slots[i]);
    }

    uint64_t start = now_ns();
    churn_loop(slots, work->n);
    work->ns = now_ns() - start;

    for (size_t i = 0; i < CHURN_SLOTS; i++) {
        check_object(slots[i]);
        subject_free(slots[i]);
    }
}

static void churn_empty(struct work *work)
{
    uint64_t start = now_ns();

    churn_loop_empty(work->objects, work->n);
    work->ns = now_ns() - start;
}

static const struct workload workloads[] = {
    {"Pair/size=64", pair, pair_empty, 1000000, 1},
    {"Batch/size=64", batch, batch_empty, 200000, BATCH_OBJECTS},
    {"Churn/slots=4096", churn, churn_empty, 500000, 1},
};

#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

/* ---- Threads ---- */

/* One a page at least, so that two threads share nothing. */
static struct work works[THREADS] __attribute__((aligned(4096)));
static unsigned parts = 1;                       /* [C] a sample's n is divided by it */
static cpu_set_t allowed;                        /* [C] the cores of this process */
static pthread_barrier_t at_start, at_end;       /* both threads, around each piece of work */
static void (*_Atomic piece)(struct work *work); /* [A] what thread 1 does next; NULL: end */

static int bind_to_core(unsigned thread)
{
    cpu_set_t one;
    int core = -1;

    do {
        core++;
        if (CPU_ISSET(core, &allowed))
            thread--;
    } while (thread != -1u);
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    return pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void *second_thread(void *unused)
{
    (void)unused;
    if (bind_to_core(1) != 0 || subject_thread_enter() != 0)
        exit(1);
    for (;;) {
        pthread_barrier_wait(&at_start);
        if (piece == NULL)
            break;
        piece(&works[1]);
        pthread_barrier_wait(&at_end);
    }
    subject_thread_leave();
    return NULL;
}

/* Run fn on `threads` threads at once; nanoseconds, the mean over the threads. */
static uint64_t run_piece(void (*fn)(struct work *), unsigned threads, uint64_t n)
{
    for (unsigned i = 0; i < threads; i++)
        works[i].n = n;
    if (threads == 1) {
        fn(&works[0]);
        return works[0].ns;
    }
    piece = fn;
    pthread_barrier_wait(&at_start);
    fn(&works[0]);
    pthread_barrier_wait(&at_end);
    return (works[0].ns + works[1].ns) / 2;
}

static void take_samples(const struct workload *workload, unsigned threads)
{
    uint64_t units = workload->n / parts / workload->unit;
    uint64_t n = (units > 0 ? units : 1) * workload->unit;

    run_piece(workload->run, threads, n / WARM_PARTS + 1);
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t ns = run_piece(workload->run, threads, n);
        uint64_t empty = run_piece(workload->empty, threads, n);

        printf("sample %s %u %lu %lu %lu\n", workload->name, threads, n, ns, empty);
    }
}

static void sample_two_threads(void)
{
    pthread_t second;

    pthread_barrier_init(&at_start, NULL, THREADS);
    pthread_barrier_init(&at_end, NULL, THREADS);
    if (pthread_create(&second, NULL, second_thread, NULL) != 0) {
        fprintf(stderr, "native: no second thread\n");
        exit(1);
    }
    for (size_t i = 0; i < WORKLOADS; i++)
        take_samples(&workloads[i], THREADS);
    piece = NULL;
    pthread_barrier_wait(&at_start);
    pthread_join(second, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "quick") == 0)
        parts = QUICK_PARTS;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return 1;

    unsigned threads = CPU_COUNT(&allowed) < (int)THREADS ? 1 : THREADS;

    memset(works, 0xff, sizeof(works)); /* backed before anything is measured */
    if (subject_start(threads) != 0 || subject_thread_enter() != 0 || bind_to_core(0) != 0)
        return 1;
    for (size_t i = 0; i < WORKLOADS; i++)
        take_samples(&workloads[i], 1);
    if (threads == THREADS)
        sample_two_threads();
    subject_thread_leave();
    return fflush(stdout) != 0;
}
