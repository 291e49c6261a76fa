/*
 * The soak: soak=N operations, from seed=, on all CPUs at once; without soak= a short one.
 *
 *     build/hosted/tests cpus=8 soak=100000000 seed=7 guard_rate=500 slab_soak
 *
 * `make stress` runs it for about an hour in all (tests/stress.sh), every run of the tests a little.
 *
 * Idea: operations come in rounds.  In a round each CPU works on a table of items (tests/soak/soak.h)
 * in the round's mood: all sorts, more allocations than frees, the other way round, few sizes, caches
 * that come and go under drains, hardly any memory, idle work beside.  Any step may run with
 * interrupts off, or have its Nth acquisition fail.  Items go to other CPUs by rings, and other CPUs'
 * interrupt handlers have items too.  Between rounds nothing runs: mm_check(), and what is live is
 * counted; every so often all is freed, drained, and every page must be back.
 *
 * NULL is right where memory is short or a fault fired, and nowhere else.
 */
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/fault.h"
#include "kernel/print.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "tests/mm/slab/objects.h"
#include "tests/soak/ring.h"
#include "tests/soak/soak.h"

#define STEPS       500u /* of a CPU in a round */
#define SHORT_STEPS 100u /* where each may have all CPUs give back what they hold */
#define SHORT_PAGES 600u /* then left, at most */
#define CPU_PAGES   (12 * MIB / PAGE_BYTES) /* many times what a CPU's items need, as a rule */
#define EMPTY_EVERY 16u                     /* rounds */
#define SOAK_SHORT  (!__STDC_HOSTED__ ? 10000ul : CONFIG_DEBUG ? 20000ul : 60000ul)

enum soak_mood {
    MOOD_MIXED,
    MOOD_FILL,
    MOOD_EMPTY,
    MOOD_FEW_SIZES,
    MOOD_CACHES,
    MOOD_SHORT,
    MOOD_IDLE,
    MOOD_COUNT,
};

struct soak_cpu {
    struct soak_worker worker; /* [P] */
    struct soak_worker handler;
    struct soak_item items[SOAK_ITEMS];
    struct soak_item irq_items[SOAK_IRQ_ITEMS];
    struct soak_cache own;         /* [P] comes and goes */
    struct kmem_prefill *prefill;  /* [P] */
    struct soak_cache *prefill_of; /* [P] its cache */
    bool can_wait;                 /* [P] interrupts are on in this step */
};

static struct soak {
    struct test *t;
    unsigned cpus;
    enum soak_mood mood;                   /* [C] in a round */
    struct soak_cache caches[SOAK_CACHES]; /* [C] */
    struct soak_cpu cpu[SOAK_CPUS_MAX];
    struct ring rings[SOAK_CPUS_MAX][SOAK_CPUS_MAX]; /* to, from */
} soak;

static struct hog hog;

/* ---- Steps ---- */

static unsigned this_cpu_id(void)
{
    unsigned long irq = port_irq_save();
    unsigned cpu = port_cpu_id();

    port_irq_restore(irq);
    return cpu;
}

/* In interrupt context, on whatever was going on.  A fault that the interrupted step has armed may
 * fire here. */
static void soak_interrupt(void *unused)
{
    struct soak_cpu *cpu = &soak.cpu[port_cpu_id()];
    bool may_fail = fault_is_armed() || soak.mood == MOOD_SHORT;

    (void)unused;
    cpu->handler.failures = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct soak_item *item = &cpu->irq_items[soak_random(&cpu->handler, SOAK_IRQ_ITEMS)];

        if (item->kind == SOAK_NONE)
            soak_item_alloc(&cpu->handler, item);
        else
            soak_item_free(&cpu->handler, item);
    }
    EXPECT(soak.t, cpu->handler.failures == 0 || may_fail);
}

static void step_drain(struct soak_cpu *cpu)
{
    switch (soak_random(&cpu->worker, 8)) {
    case 0:
        mm_drain();
        break;
    case 1:
        slab_trim_depots(soak_random(&cpu->worker, 4));
        break;
    case 2:
    case 3:
        slab_drain_all();
        break;
    default:
        slab_drain_this_cpu(NULL);
    }
}

/* Without a cache of its own, a CPU makes one; with one, it ends when its last object is back. */
static void step_cache(struct soak_cpu *cpu)
{
    struct soak_cache *own = &cpu->own;

    if (own->cache == NULL) {
        cpu->worker.failures += !soak_cache_create_random(&cpu->worker, own);
        return;
    }
    own->is_closing = true;
    if (cpu->prefill_of == own || atomic_load_explicit(&own->items, memory_order_acquire) != 0)
        return;
    kmem_cache_destroy(own->cache);
    own->cache = NULL;
}

static void prefill_end(struct soak_cpu *cpu)
{
    kmem_prefill_release(cpu->prefill);
    cpu->prefill = NULL;
    cpu->prefill_of = NULL;
}

static void step_prefill(struct soak_cpu *cpu, struct soak_item *item)
{
    struct soak_cache *cache = &cpu->worker.caches[soak_random(&cpu->worker, SOAK_CACHES)];

    if (cpu->prefill == NULL) {
        if (cpu->own.cache != NULL && !cpu->own.is_closing)
            cache = &cpu->own;
        cpu->prefill = kmem_cache_prefill(cache->cache, soak_random(&cpu->worker, 100));
        cpu->prefill_of = cpu->prefill != NULL ? cache : NULL;
        cpu->worker.failures += cpu->prefill == NULL;
    } else if (soak_random(&cpu->worker, 8) == 0) {
        prefill_end(cpu);
    } else if (kmem_prefill_left(cpu->prefill) > 0 && item->kind == SOAK_NONE) {
        soak_item_adopt(&cpu->worker, item, cpu->prefill_of, kmem_prefill_take(cpu->prefill));
        EXPECT(soak.t, item->kind != SOAK_NONE);
    }
}

/* A row of items: the empty ones are filled at once, or the others emptied at once. */
static void step_bulk(struct soak_cpu *cpu)
{
    size_t n = 1 + soak_random(&cpu->worker, SOAK_BULK);
    struct soak_item *items = &cpu->items[soak_random(&cpu->worker, SOAK_ITEMS - n)];

    soak_item_free_bulk(&cpu->worker, items, n);
    if (soak_random(&cpu->worker, 100) < cpu->worker.alloc_percent)
        soak_item_alloc_bulk(&cpu->worker, items, n);
}

static void step_look(void)
{
    struct slab_class_stats row;

    for (size_t i = 0; slab_class_stats(i, &row); i++)
        EXPECT(soak.t, row.slot_bytes >= 8);
    (void)mm_stats();
}

static void step_item(struct soak_cpu *cpu, struct soak_item *item)
{
    unsigned self = (unsigned)(cpu - soak.cpu);
    unsigned other = (unsigned)soak_random(&cpu->worker, soak.cpus);
    size_t draw = soak_random(&cpu->worker, 100);
    struct soak_item came;

    if (draw < 25 && ring_take(&soak.rings[self][other], &came))
        soak_item_free(&cpu->worker, &came);
    else if (item->kind == SOAK_NONE && draw < cpu->worker.alloc_percent)
        soak_item_alloc(&cpu->worker, item);
    else if (item->kind == SOAK_NONE)
        return;
    else if (draw < 40)
        soak_item_resize(&cpu->worker, item);
    else if (draw < 60)
        ring_put(&soak.rings[other][self], item);
    else if (draw >= cpu->worker.alloc_percent / 2)
        soak_item_free(&cpu->worker, item);
    else
        soak_item_holds(&cpu->worker, item);
}

static void soak_step(struct soak_cpu *cpu)
{
    /* How much more often than by default it is something else than a step with one item. */
    static const unsigned factor[MOOD_COUNT] = {1, 1, 1, 2, 4, 1, 1};
    struct soak_item *item = &cpu->items[soak_random(&cpu->worker, SOAK_ITEMS)];
    size_t draw = soak_random(&cpu->worker, 1000) / factor[soak.mood];

    if (draw < 1 && cpu->can_wait)
        step_drain(cpu);
    else if (draw < 8 && cpu->can_wait)
        step_cache(cpu);
    else if (draw < 10 && cpu->can_wait)
        cpu_call((unsigned)soak_random(&cpu->worker, soak.cpus), soak_interrupt, NULL);
    else if (draw < 11)
        step_look();
    else if (draw < 25)
        step_bulk(cpu);
    else if (draw < 50)
        step_prefill(cpu, item);
    else
        step_item(cpu, item);
}

/* A step in circumstances: interrupts off, or an acquisition that fails. */
static void soak_step_somehow(struct soak_cpu *cpu)
{
    size_t draw = soak_random(&cpu->worker, 64);
    unsigned long irq = 0;
    bool has_fired = false;

    cpu->can_wait = draw >= 8;
    cpu->worker.failures = 0;
    if (!cpu->can_wait)
        irq = port_irq_save();
    if (draw % 8 == 0 && draw < 16)
        fault_fail_nth(1 + (unsigned)soak_random(&cpu->worker, 6));
    soak_step(cpu);
    if (draw % 8 == 0 && draw < 16)
        has_fired = fault_disarm();
    if (!cpu->can_wait)
        port_irq_restore(irq);
    if (!EXPECT(soak.t, cpu->worker.failures == 0 || has_fired || soak.mood == MOOD_SHORT))
        printk(
            "# %u times NULL; if for an item, then of %zu bytes; interrupts %s; %zu pages free\n",
            cpu->worker.failures, cpu->worker.failed_bytes, cpu->can_wait ? "on" : "off",
            page_free_count());
}

static void soak_job(void *unused)
{
    struct soak_cpu *cpu = &soak.cpu[this_cpu_id()];
    unsigned steps = soak.mood == MOOD_SHORT ? SHORT_STEPS : STEPS;

    (void)unused;
    for (unsigned step = 0; step < steps && soak.t->failures == 0; step++)
        soak_step_somehow(cpu);
}

/* ---- Rounds ---- */

static uint64_t soak_round(enum soak_mood mood, size_t short_pages)
{
    static const unsigned alloc_percent[MOOD_COUNT] = {60, 90, 30, 60, 50, 60, 60};
    unsigned cpus = mood == MOOD_IDLE ? 1 : soak.cpus;

    soak.mood = mood;
    for (unsigned i = 0; i < soak.cpus; i++) {
        soak.cpu[i].worker.alloc_percent = alloc_percent[mood];
        soak.cpu[i].worker.has_few_sizes = mood == MOOD_FEW_SIZES;
    }
    if (mood == MOOD_SHORT) {
        mm_drain();
        hog_take(&hog, short_pages);
    }
    if (mood == MOOD_IDLE)
        cpu_idle_release();
    cpu_run_all(cpus, soak_job, NULL);
    if (mood == MOOD_IDLE)
        cpu_idle_hold();
    if (mood == MOOD_SHORT)
        hog_give(&hog);
    return (uint64_t)cpus * (mood == MOOD_SHORT ? SHORT_STEPS : STEPS);
}

/* Objects that slab says are live; of those in the guard pool rows know nothing. */
static size_t slab_live(void)
{
    struct slab_class_stats row;
    size_t live = slab_stats().large_objects + mm_stats().guard_objects;

    for (size_t i = 0; slab_class_stats(i, &row); i++)
        live += row.live;
    return live;
}

static size_t items_live(const struct soak_item *items, size_t n)
{
    size_t live = 0;

    for (size_t i = 0; i < n; i++)
        live += items[i].kind != SOAK_NONE && items[i].kind != SOAK_PAGES;
    return live;
}

/* The same as the soak knows it; what has been taken out of a ring is still in its array. */
static size_t soak_live(void)
{
    size_t live = 0;

    for (unsigned i = 0; i < soak.cpus; i++) {
        struct soak_cpu *cpu = &soak.cpu[i];

        live += items_live(cpu->items, SOAK_ITEMS) + items_live(cpu->irq_items, SOAK_IRQ_ITEMS);
        if (cpu->prefill != NULL)
            live += 1 + kmem_prefill_left(cpu->prefill); /* it is an object itself */
        for (unsigned from = 0; from < soak.cpus; from++) {
            const struct ring *ring = &soak.rings[i][from];

            for (unsigned at = ring->taken; at != ring->put; at++)
                live += items_live(&ring->items[at % RING_ITEMS], 1);
        }
    }
    return live;
}

static void soak_empty_job(void *unused)
{
    struct soak_cpu *cpu = &soak.cpu[this_cpu_id()];

    (void)unused;
    prefill_end(cpu);
    for (unsigned i = 0; i < SOAK_ITEMS; i++)
        soak_item_free(&cpu->worker, &cpu->items[i]);
    for (unsigned i = 0; i < SOAK_IRQ_ITEMS; i++)
        soak_item_free(&cpu->worker, &cpu->irq_items[i]);
    for (unsigned from = 0; from < soak.cpus; from++) {
        struct soak_item came;

        while (ring_take(&soak.rings[cpu - soak.cpu][from], &came))
            soak_item_free(&cpu->worker, &came);
    }
}

/* Everything is freed, on the CPU that has it, and all pages are back that were free `before`. */
static void soak_empty(size_t live_before, size_t pages_before)
{
    cpu_run_all(soak.cpus, soak_empty_job, NULL);
    EXPECT(soak.t, slab_live() == live_before);
    for (unsigned i = 0; i < soak.cpus; i++) {
        if (soak.cpu[i].own.cache != NULL)
            kmem_cache_destroy(soak.cpu[i].own.cache);
        soak.cpu[i].own.cache = NULL;
    }
    mm_drain();
    mm_check();
    EXPECT(soak.t, page_free_count() == pages_before);
}

static bool soak_begin(struct test *t)
{
    static const struct soak_cache shapes[SOAK_CACHES] = {
        {.bytes = 24},
        {.bytes = 104, .has_ctor = true},
        {.bytes = 200, .align = 64, .flags = KMEM_CACHE_DMA32},
        {.bytes = 333, .flags = KMEM_CACHE_SHARE},
        {.bytes = 1500, .has_ctor = true},
        {.bytes = 9000, .align = PAGE_BYTES},
    };
    uint64_t random = test_seed(t);

    memset(&soak, 0, sizeof(soak));
    soak.t = t;
    soak.cpus = MIN(cpus_online(), SOAK_CPUS_MAX);
    for (unsigned i = 0; i < SOAK_CACHES; i++) {
        soak.caches[i].bytes = shapes[i].bytes;
        soak.caches[i].align = shapes[i].align;
        soak.caches[i].flags = shapes[i].flags;
        soak.caches[i].has_ctor = shapes[i].has_ctor;
        if (!EXPECT(t, soak_cache_create(&soak.caches[i], "soak")))
            return false;
    }
    for (unsigned i = 0; i < soak.cpus; i++) {
        struct soak_cpu *cpu = &soak.cpu[i];

        cpu->worker = (struct soak_worker){
            .t = t, .random = random_next(&random), .caches = soak.caches, .own = &cpu->own};
        cpu->handler =
            (struct soak_worker){.t = t, .random = random_next(&random), .caches = soak.caches};
    }
    return true;
}

TEST(slab_soak, everything_on_all_cpus)
{
    uint64_t wanted = settings.soak != 0 ? settings.soak : SOAK_SHORT;
    uint64_t random = test_seed(t) ^ 1, done = 0, next_said = wanted / 10;
    size_t live_before, pages_before;

    if (page_free_count() < MIN(cpus_online(), SOAK_CPUS_MAX) * CPU_PAGES) {
        test_skip(t, "needs 12 MiB for each CPU");
        return;
    }
    if (!soak_begin(t))
        return;
    mm_drain();
    live_before = slab_live();
    pages_before = page_free_count();
    for (unsigned round = 1; done < wanted && t->failures == 0; round++) {
        enum soak_mood mood = (random_next(&random) >> 32) % MOOD_COUNT;

        done += soak_round(mood, 16 + random_next(&random) % SHORT_PAGES);
        mm_check();
        EXPECT(t, slab_live() == live_before + soak_live());
        if (round % EMPTY_EVERY == 0)
            soak_empty(live_before, pages_before);
        if (t->failures != 0)
            printk("# in round %u, mood %u, after %lu operations\n", round, mood, done);
        if (settings.soak != 0 && done >= next_said) {
            printk("# %lu operations\n", done);
            next_said += wanted / 10;
        }
    }
    soak_empty(live_before, pages_before);
    for (unsigned i = 0; i < SOAK_CACHES; i++)
        kmem_cache_destroy(soak.caches[i].cache);
}
