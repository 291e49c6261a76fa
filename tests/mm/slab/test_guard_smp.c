/*
 * The guard pool on all CPUs at once.  Interleavings provoked: objects freed on another CPU than the
 * one that allocated, the pool used up by several, interrupts that allocate and free in the middle of
 * the interrupted CPU's allocations and frees, checks and listings meanwhile.
 */
#include <stdatomic.h>
#include "kernel/cpus.h"
#include "mm/slab/guard.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define CPUS_MAX 8u
#define SHELVES  64u
#define ROUNDS   2000u

struct parcel {
    size_t bytes; /* of the object, which this stands in */
    uint64_t tag;
    uint8_t rest[];
};

static struct test *smp_test;
static _Atomic(struct parcel *) shelves[SHELVES]; /* [A] acq_rel: objects of whoever takes them */
static _Atomic unsigned smp_interrupts, smp_allocs;

static unsigned smp_this_cpu(void)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    port_irq_restore(irq);
    return cpu;
}

static struct parcel *parcel_alloc(uint64_t random)
{
    static const char names[SHELVES]; /* sites */
    size_t bytes = sizeof(struct parcel) + random % 1000;
    struct parcel *parcel = guard_alloc(&names[random >> 32 & (SHELVES - 1)], &shelves, bytes, 8);

    if (parcel == NULL)
        return NULL;
    atomic_fetch_add_explicit(&smp_allocs, 1, memory_order_relaxed);
    parcel->bytes = bytes;
    parcel->tag = random;
    object_fill(parcel->rest, bytes - sizeof(*parcel), random);
    return parcel;
}

static void parcel_free(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    EXPECT(smp_test, object_holds(parcel->rest, parcel->bytes - sizeof(*parcel), parcel->tag));
    EXPECT(smp_test, guard_object_bytes("test", parcel) == parcel->bytes);
    guard_free("test", &shelves, parcel);
}

static void smp_worker(void *unused)
{
    uint64_t state = smp_this_cpu() + 1;

    (void)unused;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t random = random_next(&state);

        parcel_free(atomic_exchange_explicit(&shelves[random >> 40 & (SHELVES - 1)],
                                             random & 1 ? parcel_alloc(random) : NULL,
                                             memory_order_acq_rel));
    }
}

static void smp_in_interrupt(void *unused)
{
    (void)unused;
    struct parcel *parcel = parcel_alloc(smp_interrupts);

    EXPECT(smp_test, !port_can_wait());
    atomic_fetch_add_explicit(&smp_interrupts, 1, memory_order_relaxed);
    parcel_free(parcel);
}

/* CPU 0 interrupts the others, and looks at all that there is. */
static void smp_worker_interrupted(void *unused)
{
    struct guard_object object;

    if (smp_this_cpu() != 0) {
        smp_worker(unused);
        return;
    }
    for (unsigned round = 0; round < ROUNDS / 20; round++) {
        cpu_call_all(smp_in_interrupt, NULL);
        for (size_t slot = 0; slot < guard_stats().slots; slot += 16)
            (void)guard_object_at(slot, &object);
    }
}

static void smp_run(struct test *t, void (*worker)(void *))
{
    struct guard_stats before = guard_stats();

    if (before.slots == 0) {
        test_skip(t, "the pool is off");
        return;
    }
    smp_test = t;
    smp_allocs = 0;
    cpu_run_all(MIN(cpus_online(), CPUS_MAX), worker, NULL);
    guard_check();
    for (unsigned i = 0; i < SHELVES; i++)
        parcel_free(atomic_exchange_explicit(&shelves[i], NULL, memory_order_acq_rel));
    guard_check();

    struct guard_stats after = guard_stats();

    EXPECT(t, after.live == before.live);
    EXPECT(t, after.taken - before.taken == smp_allocs);
    EXPECT(t, smp_allocs >= ROUNDS / 20);
}

TEST(guard_smp, free_on_another_cpu)
{
    smp_run(t, smp_worker);
}

TEST(guard_smp, in_interrupts)
{
    smp_interrupts = 0;
    smp_run(t, smp_worker_interrupted);
    EXPECT(t, guard_stats().slots == 0 || smp_interrupts == ROUNDS / 20 * cpus_online());
}
