/*
 * All CPUs at once.  Interleavings provoked: objects freed on another CPU than the one that
 * allocated (a ring per pair of CPUs), draining while others allocate, interrupts that allocate
 * and free in the middle of the interrupted CPU's allocations and frees, a class's last span
 * wandering between CPUs, exhaustion on all CPUs, caches that come and go under drains and reports.
 */
#include <stdatomic.h>
#include "kernel/cpus.h"
#include "mm/mm.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/slab.h"
#include "mm/span/size_classes.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define CPUS_MAX   8u
#define RING_SLOTS 64u
#define ROUNDS     (CONFIG_DEBUG ? 5000u : 20000u)

static struct test *smp_test;
static struct kmem_cache *smp_cache;

static unsigned smp_cpus(void)
{
    return MIN(cpus_online(), CPUS_MAX);
}

static unsigned smp_this_cpu(void)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    port_irq_restore(irq);
    return cpu;
}

static void *smp_alloc(uint64_t random, size_t *bytes)
{
    *bytes = 8 + random % ((size_t)16 << (random >> 32) % 9);
    if (random >> 48 & 1)
        return kmalloc(*bytes);
    *bytes = 72;
    return kmem_cache_alloc(smp_cache);
}

/* ---- Objects cross CPUs: each hands its own to the next ---- */

struct parcel {
    void *object;
    size_t bytes;
};

static struct ring {
    struct parcel parcels[RING_SLOTS];
    _Atomic unsigned put;   /* [A] by the CPU before; release */
    _Atomic unsigned taken; /* [A] by the CPU itself; release */
} rings[CPUS_MAX];

static bool ring_put(struct ring *ring, struct parcel parcel)
{
    unsigned put = atomic_load_explicit(&ring->put, memory_order_relaxed);

    if (put - atomic_load_explicit(&ring->taken, memory_order_acquire) == RING_SLOTS)
        return false;
    ring->parcels[put % RING_SLOTS] = parcel;
    atomic_store_explicit(&ring->put, put + 1, memory_order_release);
    return true;
}

static bool ring_take(struct ring *ring, struct parcel *parcel)
{
    unsigned taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);

    if (taken == atomic_load_explicit(&ring->put, memory_order_acquire))
        return false;
    *parcel = ring->parcels[taken % RING_SLOTS];
    atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
    return true;
}

static void parcel_free(struct parcel parcel)
{
    EXPECT(smp_test, object_holds(parcel.object, parcel.bytes, (uintptr_t)parcel.object));
    kfree(parcel.object);
}

static _Atomic unsigned smp_done;

static void cross_cpu_worker(void *unused)
{
    unsigned cpu = smp_this_cpu();
    struct ring *in = &rings[cpu], *out = &rings[(cpu + 1) % smp_cpus()];
    uint64_t state = cpu + 1;
    struct parcel parcel;

    (void)unused;
    for (unsigned round = 0; round < ROUNDS; round++) {
        parcel.object = smp_alloc(random_next(&state), &parcel.bytes);
        if (!EXPECT(smp_test, parcel.object != NULL))
            break;
        object_fill(parcel.object, parcel.bytes, (uintptr_t)parcel.object);
        if (!ring_put(out, parcel))
            parcel_free(parcel);
        if (random_next(&state) % 3 != 0 && ring_take(in, &parcel))
            parcel_free(parcel);
        if (cpu == 0 && round % 2000 == 0)
            slab_drain_all();
    }
    atomic_fetch_add(&smp_done, 1);
    for (bool all_done = false; !all_done;) {
        all_done = atomic_load(&smp_done) == smp_cpus();
        while (ring_take(in, &parcel))
            parcel_free(parcel);
    }
}

TEST(slab_smp, free_on_another_cpu)
{
    smp_test = t;
    smp_cache = kmem_cache_create("smp", 72, 0, NULL, 0);
    REQUIRE(t, smp_cache != NULL);
    atomic_store(&smp_done, 0);
    cpu_run_all(smp_cpus(), cross_cpu_worker, NULL);
    kmem_cache_destroy(smp_cache);
    mm_drain();
    mm_check();
}

/* ---- Interrupts that allocate ---- */

#define HANDLER_OBJECTS 64u

/* 500 on two CPUs; where there are more than the machine has, a round takes as long as all their turns. */
#define INTERRUPT_ROUNDS (2000u / (smp_cpus() * smp_cpus()))

static struct parcel handler_objects[CPUS_MAX][HANDLER_OBJECTS];
static _Atomic bool smp_stop;

/* In interrupt context, on whatever was going on: replace some of this CPU's objects. */
static void handler(void *round)
{
    unsigned cpu = port_cpu_id();
    struct parcel *objects = handler_objects[MIN(cpu, CPUS_MAX - 1)];
    uint64_t state = *(unsigned *)round + cpu + 1;

    for (unsigned i = 0; cpu < smp_cpus() && i < 8; i++) {
        struct parcel *parcel = &objects[random_next(&state) % HANDLER_OBJECTS];

        if (parcel->object != NULL)
            parcel_free(*parcel);
        parcel->object = smp_alloc(random_next(&state), &parcel->bytes);
        if (EXPECT(smp_test, parcel->object != NULL))
            object_fill(parcel->object, parcel->bytes, (uintptr_t)parcel->object);
    }
}

static void interrupted_worker(void *unused)
{
    unsigned cpu = smp_this_cpu();
    uint64_t state = cpu + 100;

    (void)unused;
    if (cpu == 0) {
        for (unsigned round = 0; round < INTERRUPT_ROUNDS; round++)
            cpu_call_all(handler, &round);
        atomic_store(&smp_stop, true);
        return;
    }
    while (!atomic_load(&smp_stop)) {
        struct parcel parcels[20];

        for (unsigned i = 0; i < ARRAY_COUNT(parcels); i++) {
            parcels[i].object = smp_alloc(random_next(&state), &parcels[i].bytes);
            if (!EXPECT(smp_test, parcels[i].object != NULL))
                return;
            object_fill(parcels[i].object, parcels[i].bytes, (uintptr_t)parcels[i].object);
        }
        for (unsigned i = 0; i < ARRAY_COUNT(parcels); i++)
            parcel_free(parcels[i]);
    }
}

TEST(slab_smp, interrupts_allocate)
{
    smp_test = t;
    smp_cache = kmem_cache_create("smp", 72, 0, NULL, 0);
    REQUIRE(t, smp_cache != NULL);
    atomic_store(&smp_stop, false);
    cpu_run_all(smp_cpus(), interrupted_worker, NULL);
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        for (unsigned i = 0; i < HANDLER_OBJECTS; i++) {
            if (handler_objects[cpu][i].object != NULL)
                parcel_free(handler_objects[cpu][i]);
            handler_objects[cpu][i].object = NULL;
        }
    }
    kmem_cache_destroy(smp_cache);
    mm_drain();
    mm_check();
}

/* ---- Exhaustion on all CPUs ---- */

static _Atomic size_t smp_got;

static void exhausting_worker(void *bytes)
{
    for (unsigned round = 0; round < 3; round++) {
        void **list = NULL, **object;

        while ((object = kmalloc(*(size_t *)bytes)) != NULL) {
            *object = list;
            list = object;
            atomic_fetch_add(&smp_got, 1);
        }
        while (list != NULL) {
            object = *list;
            kfree(list);
            list = object;
        }
    }
}

TEST(slab_smp, exhaustion_on_all_cpus)
{
    static struct hog hog;
    static size_t sizes[] = {64, 3000, 40000};

    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        mm_drain();

        size_t free_before = page_free_count();

        hog_take(&hog, 512);
        atomic_store(&smp_got, 0);
        cpu_run_all(smp_cpus(), exhausting_worker, &sizes[i]);
        EXPECT(t, atomic_load(&smp_got) * sizes[i] > 256 * PAGE_BYTES);
        hog_give(&hog);
        mm_drain();
        mm_check();
        EXPECT(t, page_free_count() == free_before);
    }
}

/* ---- Statistics while others allocate ---- */

static void stats_worker(void *unused)
{
    unsigned cpu = smp_this_cpu();
    uint64_t state = cpu + 1;
    struct slab_class_stats row;

    (void)unused;
    if (cpu == 0) {
        for (unsigned round = 0; round < 100; round++) {
            for (size_t i = 0; slab_class_stats(i, &row); i++)
                EXPECT(smp_test, row.live + row.magazine <= row.slots + 64 * CPUS_MAX);
        }
        atomic_store(&smp_stop, true);
        return;
    }
    while (!atomic_load(&smp_stop)) {
        struct parcel parcel;

        parcel.object = smp_alloc(random_next(&state), &parcel.bytes);
        kfree(parcel.object);
    }
}

TEST(slab_smp, stats_while_others_allocate)
{
    smp_test = t;
    smp_cache = kmem_cache_create("smp", 72, 0, NULL, 0);
    REQUIRE(t, smp_cache != NULL);
    atomic_store(&smp_stop, false);
    cpu_run_all(smp_cpus(), stats_worker, NULL);
    kmem_cache_destroy(smp_cache);
}

/* ---- Caches come and go while all caches are drained and looked at ---- */

#define BRIEF_ROUNDS  60u
#define BRIEF_OBJECTS 40u

static void brief_cache_worker(void *unused)
{
    uint64_t state = smp_this_cpu() + 1;
    void *objects[BRIEF_OBJECTS];
    struct slab_class_stats row;

    (void)unused;
    for (unsigned round = 0; round < BRIEF_ROUNDS; round++) {
        size_t bytes = 8 + random_next(&state) % 600;
        struct kmem_cache *cache = kmem_cache_create("brief", bytes, 0, NULL, 0);

        if (!EXPECT(smp_test, cache != NULL))
            return;
        for (unsigned i = 0; i < BRIEF_OBJECTS; i++) {
            objects[i] = kmem_cache_alloc(cache);
            if (EXPECT(smp_test, objects[i] != NULL))
                object_fill(objects[i], bytes, (uintptr_t)cache + i);
        }
        if (round % 8 == 0)
            slab_drain_all();
        for (size_t i = SIZE_CLASS_COUNT - 1; slab_class_stats(i, &row); i++)
            EXPECT(smp_test, row.slot_bytes >= 8);
        for (unsigned i = 0; i < BRIEF_OBJECTS; i++) {
            EXPECT(smp_test, object_holds(objects[i], bytes, (uintptr_t)cache + i));
            kmem_cache_free(cache, objects[i]);
        }
        kmem_cache_destroy(cache);
    }
}

TEST(slab_smp, caches_come_and_go)
{
    smp_test = t;
    mm_drain();

    size_t free_before = page_free_count(), classes_before = slab_class_count();

    cpu_run_all(smp_cpus(), brief_cache_worker, NULL);
    mm_drain();
    mm_check();
    EXPECT(t, page_free_count() == free_before);
    EXPECT(t, slab_class_count() == classes_before);
}
