/*
 * Objects that flow: half of the CPUs only allocate, each for another one that only frees, for as
 * long as it goes on; and all of memory, taken by all CPUs at once, which others give back.
 */
#include <stdatomic.h>
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/magazine.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

/* ---- Producers and consumers ---- */

#define PAIRS_MAX     2u
#define PIPE_OBJECTS  4096u /* under way at most; a power of two */
#define FLOW_PER_PIPE (__STDC_HOSTED__ && !CONFIG_DEBUG ? 400000u : 60000u)

static struct pipe {
    void *objects[PIPE_OBJECTS];
    _Atomic size_t put __attribute__((aligned(64)));   /* [A] by the producer; release */
    _Atomic size_t taken __attribute__((aligned(64))); /* [A] by the consumer; release */
} pipes[PAIRS_MAX];

static struct flow {
    struct test *t;
    size_t bytes;        /* of each object */
    unsigned pairs;      /* CPU 2 * i produces, CPU 2 * i + 1 consumes */
    size_t spans_before; /* bytes */
    _Atomic size_t heap; /* [A] relaxed: most bytes of spans seen */
    _Atomic size_t peak; /* [A] relaxed: most objects live */
    _Atomic size_t live; /* [A] relaxed: now */
} flow;

static void flow_note(_Atomic size_t *most, size_t value)
{
    size_t was = atomic_load_explicit(most, memory_order_relaxed);

    while (value > was && !atomic_compare_exchange_weak_explicit(
                              most, &was, value, memory_order_relaxed, memory_order_relaxed))
        continue;
}

static void flow_produce(struct pipe *pipe)
{
    uint64_t state = (uintptr_t)pipe | 1;

    for (size_t put = 0; put < FLOW_PER_PIPE; put++) {
        /* The pipe fills up, and runs dry, by turns. */
        size_t depth = put / (4 * PIPE_OBJECTS) % 2 != 0 ? PIPE_OBJECTS : PIPE_OBJECTS / 2;

        while (put - atomic_load_explicit(&pipe->taken, memory_order_acquire) >= depth)
            arch_relax();

        uintptr_t *object = kmalloc(flow.bytes);

        CHECK(object != NULL); /* the consumer would wait for ever */
        object[0] = (uintptr_t)object;
        object[1] = put;
        flow_note(&flow.peak, atomic_fetch_add_explicit(&flow.live, 1, memory_order_relaxed) + 1);
        pipe->objects[put % PIPE_OBJECTS] = object;
        atomic_store_explicit(&pipe->put, put + 1, memory_order_release);
        if (random_next(&state) % 64 == 0)
            flow_note(&flow.heap, span_bytes_now());
    }
}

/* Waits at first, so that there is something under way however the CPUs get on. */
static void flow_consume(struct pipe *pipe)
{
    while (atomic_load_explicit(&pipe->put, memory_order_relaxed) < PIPE_OBJECTS / 2)
        arch_relax();
    for (size_t taken = 0; taken < FLOW_PER_PIPE; taken++) {
        while (atomic_load_explicit(&pipe->put, memory_order_acquire) == taken)
            arch_relax();

        uintptr_t *object = pipe->objects[taken % PIPE_OBJECTS];

        EXPECT(flow.t, object[0] == (uintptr_t)object && object[1] == taken);
        atomic_fetch_sub_explicit(&flow.live, 1, memory_order_relaxed);
        kfree(object);
        atomic_store_explicit(&pipe->taken, taken + 1, memory_order_release);
    }
}

static void flow_job(void *unused)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    (void)unused;
    port_irq_restore(irq);
    if (cpu % 2 == 0)
        flow_produce(&pipes[cpu / 2]);
    else
        flow_consume(&pipes[cpu / 2]);
}

/*
 * What is not in use: of each CPU two magazines, one that is on its way, and a span that is not full;
 * depots hold a sixteenth of the heap when it grows.
 */
static void flow_run(struct test *t, size_t bytes, unsigned pairs)
{
    const struct slot_layout *layout = &size_class_layout[size_class_of(bytes)];
    size_t each_cpu = 3 * MAGAZINE_SLOTS * bytes + layout->granules * GRANULE_BYTES;

    mm_drain();
    memset(pipes, 0, sizeof(pipes));
    flow = (struct flow){.t = t, .bytes = bytes, .pairs = pairs, .spans_before = span_bytes_now()};
    cpu_run_all(2 * pairs, flow_job, NULL);

    size_t heap = flow.heap - flow.spans_before, live = flow.peak * bytes;

    EXPECT(t, flow.peak >= PIPE_OBJECTS / 2);
    EXPECT(t, heap <= live + live / 4 + 2 * pairs * each_cpu);
    EXPECT(t, flow.live == 0);
    memset(pipes, 0, sizeof(pipes)); /* no references: the tests of leaks look at all of memory */
    mm_drain();
    EXPECT(t, span_bytes_now() == flow.spans_before);
    mm_check();
}

TEST(slab_flow, one_allocates_another_frees)
{
    if (!slots_are_cached(t))
        return;
    if (cpus_online() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    for (unsigned pairs = 1; pairs <= MIN(cpus_online() / 2, PAIRS_MAX); pairs++) {
        flow_run(t, 64, pairs);
        flow_run(t, 1024, pairs);
    }
}

/* ---- All of memory ---- */

#define FILLERS_MAX 8u
#define FILL_LARGE  (64 * KIB)

struct fill_link {
    struct fill_link *next;
    struct kmem_cache *cache; /* NULL: kmalloc's */
};

static struct filling {
    struct kmem_cache *caches[3];
    size_t largest;                       /* bytes that are asked for first */
    unsigned cpus;                        /* that take part */
    struct fill_link *lists[FILLERS_MAX]; /* by CPU */
    _Atomic size_t objects;               /* [A] relaxed */
} filling;

static unsigned fill_cpu(void)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    port_irq_restore(irq);
    return cpu;
}

/* At most `most` bytes; small ones from caches too. */
static struct fill_link *fill_one(uint64_t random, size_t most)
{
    struct kmem_cache *cache = random >> 62 == 0 ? filling.caches[random % 3] : NULL;
    size_t bytes = sizeof(struct fill_link) + (random >> 8) % most;
    struct fill_link *link = cache != NULL ? kmem_cache_alloc(cache) : kmalloc(bytes);

    if (link != NULL)
        link->cache = cache;
    return link;
}

/* Until there is nothing more, not for the smallest. */
static void fill_job(void *unused)
{
    unsigned cpu = fill_cpu();
    struct fill_link *list = NULL;
    uint64_t state = cpu + 1;
    size_t most = filling.largest, count = 0;

    (void)unused;
    while (most > 0) {
        struct fill_link *link = fill_one(random_next(&state), most);

        if (link == NULL) {
            most /= 2;
            continue;
        }
        link->next = list;
        list = link;
        count++;
    }
    filling.lists[cpu] = list;
    atomic_fetch_add_explicit(&filling.objects, count, memory_order_relaxed);
}

/* What the CPU before has taken. */
static void unfill_job(void *unused)
{
    unsigned cpu = fill_cpu();
    struct fill_link *link = filling.lists[(cpu + 1) % filling.cpus];

    (void)unused;
    while (link != NULL) {
        struct fill_link *next = link->next;

        if (link->cache != NULL)
            kmem_cache_free(link->cache, link);
        else
            kfree(link);
        link = next;
    }
}

/* Twice, so that the second finds what the first has left; once where memory is large. */
TEST(slab_flow, all_of_memory_comes_back)
{
    static const size_t sizes[] = {48, 700, 5000};
    unsigned rounds = page_stats().ram_pages > GIB / PAGE_BYTES ? 1 : 2;

    mm_drain();
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        filling.caches[i] =
            kmem_cache_create("filling", sizes[i], 0, NULL, i == 1 ? KMEM_CACHE_SHARE : 0);
        REQUIRE(t, filling.caches[i] != NULL);
    }
    filling.cpus = MIN(cpus_online(), FILLERS_MAX);
    filling.largest = MAX(FILL_LARGE, page_stats().ram_pages * PAGE_BYTES / 2048);
    for (unsigned round = 0; round < rounds; round++) {
        size_t free_before = page_free_count(), span_bytes = span_bytes_now();

        atomic_store(&filling.objects, 0);
        cpu_run_all(filling.cpus, fill_job, NULL);
        EXPECT(t, kmalloc(FILL_LARGE) == NULL);
        EXPECT(t, page_free_count() < page_stats().reserved_pages + free_before / 256);
        cpu_run_all(filling.cpus, unfill_job, NULL);
        mm_drain();
        mm_check();
        EXPECT(t, page_free_count() == free_before && span_bytes_now() == span_bytes);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++)
        kmem_cache_destroy(filling.caches[i]);
    memset(&filling, 0, sizeof(filling));
}
