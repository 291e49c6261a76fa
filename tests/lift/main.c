/*
 * mm/ lifted out of the tree, on tests/lift/port.h: it opens over a map with holes, several
 * threads allocate, free each other's objects and drain, and every check and account holds.
 */
#include "mm/port.h"
#include <pthread.h>
#include "mm/page/early.h"
#include "mm/page/page.h"
#include "mm/slab/leaks.h"
#include "mm/slab/slab.h"

#define CPUS      4u
#define SLOTS     256u
#define ROUNDS    200000u
#define RAM_BYTES (512 * MIB)

static _Atomic(size_t *) objects[SLOTS]; /* each holds its size and, at its end, its address */

static size_t *object_end(size_t *object)
{
    return &object[*object / sizeof(size_t) - 1];
}

static void object_free(size_t *object)
{
    if (object == NULL)
        return;
    CHECK(*object_end(object) == (size_t)object && ksize(object) >= *object);
    kfree(object);
}

static size_t *object_alloc(uint64_t random)
{
    size_t bytes = 16 + (random >> 8) % (1ul << (4 + random % 13)) / 8 * 8;
    size_t *object = kmalloc(bytes);

    CHECK(object != NULL);
    *object = bytes;
    *object_end(object) = (size_t)object;
    return object;
}

static void *cpu_main(void *arg)
{
    unsigned cpu = (unsigned)(uintptr_t)arg;
    uint64_t random = cpu + 1;

    lift_enter(cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        object_free(atomic_exchange(&objects[(random >> 32) % SLOTS], object_alloc(random >> 16)));
        if (round % 8192 == 0)
            mm_drain();
        if (round % 16 == 0) {
            size_t pages = 1 + (random >> 40) % 40;

            page_free(page_alloc(pages, 0), pages);
        }
    }
    return NULL;
}

static void run_cpus(void)
{
    pthread_t threads[CPUS];

    for (unsigned cpu = 1; cpu < CPUS; cpu++)
        CHECK(pthread_create(&threads[cpu], NULL, cpu_main, (void *)(uintptr_t)cpu) == 0);
    cpu_main(NULL);
    for (unsigned cpu = 1; cpu < CPUS; cpu++)
        pthread_join(threads[cpu], NULL);
}

static void open_mm(void)
{
    static struct mm_range map[2 * 4 + 1] = {
        {0, RAM_BYTES, MM_RANGE_USABLE},
        {0, MIB, MM_RANGE_RESERVED},
        {100 * MIB + 123, 50 * MIB, MM_RANGE_RESERVED},
        {RAM_BYTES - 64 * KIB, UINT64_MAX, MM_RANGE_RESERVED},
    };

    mm_early_init(map, 4, ARRAY_COUNT(map));
    char *early = early_alloc(100, 64);
    CHECK(IS_ALIGNED((uintptr_t)early, 64) && early[0] == 0 && early[99] == 0);
    mm_init();
    mm_open();
}

/* What `objects` holds is reachable; once hidden, nothing is, but for what is left on the stack. */
static void find_leaks(void)
{
    uintptr_t hidden[SLOTS];
    size_t count = 0;

    CHECK(kmem_leaks(NULL, NULL) == 0);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        count += objects[slot] != NULL;
        hidden[slot] = ~(uintptr_t)objects[slot];
        objects[slot] = NULL;
    }

    size_t leaked = kmem_leaks(NULL, NULL);

    CHECK(leaked <= count && leaked + 8 >= count);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        objects[slot] = (size_t *)~hidden[slot];
}

int main(void)
{
    lift_start(RAM_BYTES, CPUS);
    open_mm();
    mm_check();
    mm_drain();

    size_t free_pages = page_free_count();

    run_cpus();
    mm_drain();
    mm_check();
    find_leaks();
    for (unsigned slot = 0; slot < SLOTS; slot++)
        object_free(objects[slot]);
    mm_drain();
    mm_check();

    struct mm_stats stats = mm_stats();

    CHECK(page_free_count() == free_pages);
    CHECK(stats.object_bytes == 0 && stats.page_alloc_bytes == 0);
    CHECK(mm_give(100 * MIB + 4096, 4096) == 1 && page_free_count() == free_pages + 1);
    port_print("lift: %u threads, %u rounds each: nothing lost; metadata %zu KiB of %zu MiB\n",
               CPUS, ROUNDS, stats.meta_bytes / KIB, stats.ram_bytes / MIB);
    return 0;
}
