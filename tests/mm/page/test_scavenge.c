/*
 * The scavenger: which runs it gives back and in what order, what it keeps, how fast it may go; and
 * that what is in flight hides nothing from allocations.
 */
#include "kernel/balloon.h"
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/page/scavenge.h"
#include "mm/page/zero.h"
#include "tests/mm/page/hoard.h"
#include "tests/mm/page/private_heap.h"
#include "tests/test.h"

#define SCAV_ARENAS    4
#define SCAV_PAGES     (SCAV_ARENAS * PAGE_ARENA_PAGES)
#define SCAV_RUNS_MAX  4096
#define SCAV_STEPS_MAX 100000

/* ---- A scavenger of a private heap; what it releases is written down ---- */

static struct {
    struct private_heap private;
    struct scavenger scavenger;
    struct scavenge_run *runs; /* page_alloc'ed, SCAV_RUNS_MAX */
    size_t count;
    enum port_release answer;
} scav;

#define SCAV_RUNS_PAGES (SCAV_RUNS_MAX * sizeof(struct scavenge_run) / PAGE_BYTES)

static enum port_release scav_note(void *addr, size_t pages)
{
    CHECK(scav.count < SCAV_RUNS_MAX);
    CHECK(scav.private.heap.flight_pages == pages);
    scav.runs[scav.count++] =
        (struct scavenge_run){((uintptr_t)addr - port_direct_base()) / PAGE_BYTES, pages};
    return scav.answer;
}

static bool scav_open(struct test *t)
{
    scav.count = 0;
    scav.answer = PORT_RELEASED;
    scav.scavenger = (struct scavenger){0};
    scav.runs = page_alloc(SCAV_RUNS_PAGES, 0);
    if (!EXPECT(t, scav.runs != NULL))
        return false;
    if (!EXPECT(t, private_heap_create(&scav.private, SCAV_PAGES))) {
        page_free(scav.runs, SCAV_RUNS_PAGES);
        return false;
    }
    return true;
}

static void scav_begin(uint64_t now)
{
    scavenger_open(&scav.scavenger, &scav.private.heap, 1, scav_note, now);
}

static void scav_close(void)
{
    page_heap_check(&scav.private.heap);
    private_heap_destroy(&scav.private);
    page_free(scav.runs, SCAV_RUNS_PAGES);
}

/* A third of memory, here and there, is taken; most of it as single pages. */
static void scav_break_up(struct test *t)
{
    uint64_t seed = test_seed(t);

    private_heap_add(&scav.private, PAGE_DMA_PAGES + 100, PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    private_heap_add(&scav.private, 2 * PAGE_ARENA_PAGES, 2 * PAGE_ARENA_PAGES);
    for (unsigned i = 0; i < 2000; i++) {
        size_t page = random_next(&seed) % SCAV_PAGES;
        struct page_heap *heap = &scav.private.heap;
        unsigned long irq_state = page_heap_lock(heap);

        /* Chunks of even number stay whole. */
        if (page / CHUNK_PAGES % 2 != 0 &&
            page_block_free(&heap->blocks[page / PAGE_BLOCK_PAGES]) >> page % PAGE_BLOCK_PAGES & 1)
            page_heap_take(heap, page, 1);
        page_heap_unlock(heap, irq_state);
    }
}

static unsigned scav_grain_of(struct scavenge_run run)
{
    if (run.pages == CHUNK_PAGES)
        return SCAVENGE_CHUNKS;
    return run.pages == SCAVENGE_QUANTUM_PAGES && run.page % SCAVENGE_QUANTUM_PAGES == 0
               ? SCAVENGE_QUANTA
               : SCAVENGE_PAGES;
}

TEST(scavenge, gives_whole_chunks_first_and_the_highest_of_each_kind)
{
    REQUIRE(t, scav_open(t));
    scav_break_up(t);
    scav_begin(0);
    scavenger_all(&scav.scavenger);

    unsigned grain = SCAVENGE_CHUNKS;
    size_t counts[SCAVENGE_END] = {0};

    for (size_t i = 0; i < scav.count; i++) {
        struct scavenge_run run = scav.runs[i];

        EXPECT(t, run.pages <= SCAVENGE_QUANTUM_PAGES || run.page % CHUNK_PAGES == 0);
        if (i > 0 && scav_grain_of(run) <= grain)
            EXPECT(t, run.page + run.pages <= scav.runs[i - 1].page);
        grain = MAX(grain, scav_grain_of(run));
        counts[scav_grain_of(run)]++;
    }
    EXPECT(t, counts[SCAVENGE_CHUNKS] == page_heap_whole_chunks(&scav.private.heap));
    EXPECT(t, counts[SCAVENGE_QUANTA] > 0 && counts[SCAVENGE_PAGES] > 0);
    EXPECT(t, scav.private.heap.scavenged_pages == scav.private.heap.free_pages);
    EXPECT(t, scav.scavenger.eager_pages == scav.private.heap.free_pages);

    scavenger_all(&scav.scavenger); /* nothing twice */
    EXPECT(t, scav.scavenger.eager_pages == scav.private.heap.free_pages);
    scav_close();
}

TEST(scavenge, forgets_what_is_allocated)
{
    REQUIRE(t, scav_open(t));
    private_heap_add(&scav.private, PAGE_DMA_PAGES, PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    scav_begin(0);
    scavenger_all(&scav.scavenger);

    struct page_heap *heap = &scav.private.heap;
    size_t free_pages = heap->free_pages;
    size_t page = private_heap_alloc(&scav.private, 700, 1, PAGE_NONE);

    EXPECT(t, heap->scavenged_pages == free_pages - 700);
    private_heap_free(&scav.private, page, 700);
    EXPECT(t, heap->scavenged_pages == free_pages - 700);
    page_heap_check(heap);

    scav.count = 0;
    scavenger_all(&scav.scavenger);
    EXPECT(t, heap->scavenged_pages == free_pages);
    EXPECT(t, scav.count > 0 && scav.runs[0].page / CHUNK_PAGES == (page + 699) / CHUNK_PAGES);
    scav_close();
}

TEST(scavenge, knows_zero_pages_if_the_host_says_so)
{
    struct page_heap *heap = &scav.private.heap;

    REQUIRE(t, scav_open(t));
    private_heap_add(&scav.private, PAGE_DMA_PAGES, PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    scav_begin(0);
    scavenger_all(&scav.scavenger);
    EXPECT(t, heap->scavenged_pages == heap->free_pages && page_heap_zero_pages(heap) == 0);
    scav.answer = PORT_RELEASED_AS_ZERO;
    private_heap_free(&scav.private, private_heap_alloc(&scav.private, CHUNK_PAGES, 1, PAGE_NONE),
                      CHUNK_PAGES);
    scavenger_all(&scav.scavenger);
    EXPECT(t, page_heap_zero_pages(heap) == CHUNK_PAGES);
    page_zero_check(heap);
    scav_close();
}

TEST(scavenge, stops_for_good_when_the_host_fails)
{
    REQUIRE(t, scav_open(t));
    private_heap_add(&scav.private, PAGE_DMA_PAGES, PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    scav_begin(0);
    scav.answer = PORT_RELEASE_FAILED;
    scavenger_all(&scav.scavenger);
    EXPECT(t, scav.count == 1);
    EXPECT(t, scav.private.heap.free_pages == PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    EXPECT(t, scav.private.heap.scavenged_pages == 0);
    EXPECT(t, !scav.scavenger.is_on);
    scav_close();
}

/* ---- What it keeps ---- */

/* Steps until none wants more, over `seconds` of a clock that is the test's. */
static void scav_pass_time(uint64_t *now, unsigned seconds)
{
    for (unsigned tick = 0; tick < 100 * seconds; tick++) {
        *now += port_ticks_per_second() / 100;
        for (unsigned i = 0; scavenger_step(&scav.scavenger, *now); i++)
            CHECK(i < SCAV_STEPS_MAX);
    }
}

/* While an allocation holds it up no flight starts; it goes on afterwards. */
TEST(scavenge, waits_while_it_is_held)
{
    uint64_t now = 0;

    REQUIRE(t, scav_open(t));
    private_heap_add(&scav.private, PAGE_DMA_PAGES, PAGE_ARENA_PAGES - PAGE_DMA_PAGES);
    scav_begin(now);
    scav.scavenger.holds = 1;
    scav_pass_time(&now, 3 * SCAVENGE_PERIOD_SECONDS);
    EXPECT(t, scav.count == 0);
    scav.scavenger.holds = 0;
    scav_pass_time(&now, 1);
    EXPECT(t, scav.count > 0);
    scav_close();
}

TEST(scavenge, retains_a_tenth_over_the_peak)
{
    const unsigned period = SCAVENGE_PERIOD_SECONDS;
    uint64_t now = 0;

    REQUIRE(t, scav_open(t));
    private_heap_add(&scav.private, PAGE_ARENA_PAGES, 3 * PAGE_ARENA_PAGES);

    struct page_heap *heap = &scav.private.heap;
    size_t low = private_heap_alloc(&scav.private, 10000, 1, PAGE_NONE);

    scav_begin(now);
    scav_pass_time(&now, period - 1);
    EXPECT(t, scav.count == 0); /* the first period measures */

    /* At its peak 20000 pages are in use, for a moment. */
    size_t high = private_heap_alloc(&scav.private, 10000, 1, PAGE_NONE);

    scavenger_step(&scav.scavenger, now);
    private_heap_free(&scav.private, high, 10000);
    scav_pass_time(&now, 2);
    scav_pass_time(&now, period - 2);
    EXPECT(t, scavenger_goal(&scav.scavenger) == 22000);

    size_t retained = heap->present_pages - heap->scavenged_pages;

    EXPECT(t, retained >= 22000 && retained < 22000 + CHUNK_PAGES);

    /* The peak is past: the tenth is of 10000 now. */
    scav_pass_time(&now, 3 * period);
    EXPECT(t, scavenger_goal(&scav.scavenger) == 11000);
    retained = heap->present_pages - heap->scavenged_pages;
    EXPECT(t, retained >= 11000 && retained < 11000 + CHUNK_PAGES);

    /* Only the highest went: what is left begins below all of it. */
    for (size_t page = heap->page_limit - heap->scavenged_pages + CHUNK_PAGES;
         page < heap->page_limit; page += PAGE_BLOCK_PAGES)
        EXPECT(t, ~page_block_scavenged(&heap->blocks[page / PAGE_BLOCK_PAGES]) == 0);
    private_heap_free(&scav.private, low, 10000);
    scav_close();
}

/* ---- Its pace ---- */

TEST(scavenge, spends_one_percent_of_time)
{
    const uint64_t hz = 1000000000, piece_max = 300000;
    struct scavenge_pace pace = {.seen = 5};
    uint64_t seed = test_seed(t), now = 5, spent = 0;

    for (unsigned i = 0; i < 200000; i++) {
        now += random_next(&seed) % 2000000;
        scavenge_earn(&pace, now, hz);
        while (pace.credit > 0) {
            uint64_t piece = random_next(&seed) % piece_max;

            scavenge_spend(&pace, piece);
            spent += piece;
        }
        EXPECT(t, spent <= now / SCAVENGE_SHARE + piece_max);
    }
    EXPECT(t, spent >= now / SCAVENGE_SHARE - piece_max); /* and it gets its share */

    scavenge_earn(&pace, now + 3600 * hz, hz); /* an hour's rest is no licence */
    EXPECT(t, pace.credit <= (int64_t)(hz / SCAVENGE_SHARE));
}

/* ---- The kernel's own ---- */

static bool scav_is_possible(struct test *t)
{
    if (!balloon_is_on())
        test_skip(t, "nobody below takes memory");
    return balloon_is_on();
}

TEST(scavenge, conserves_pages)
{
    if (!scav_is_possible(t))
        return;

    size_t free_before = page_free_count();

    EXPECT(t, page_scavenge_all());
    EXPECT(t, page_free_count() == free_before);
    EXPECT(t, page_stats().scavenged_pages == free_before);
    page_check();

    unsigned char *run = page_alloc(1000, 0);

    REQUIRE(t, run != NULL);
    EXPECT(t, page_stats().scavenged_pages == free_before - 1000);
    for (size_t i = 0; i < 1000; i++)
        run[i * PAGE_BYTES] = (unsigned char)i;
    for (size_t i = 0; i < 1000; i++)
        EXPECT(t, run[i * PAGE_BYTES] == (unsigned char)i);
    page_free(run, 1000);
    page_check();
}

#define SCAV_LEAVE_PAGES 64
#define SCAV_WAITS       20000u /* enough for a page_alloc that does not wait to fail */

/* [A] acquire / release */
static _Atomic bool scav_flies;     /* the first run is in flight */
static _Atomic bool scav_exhausted; /* an allocation has failed */
static bool scav_has_flown;         /* read when both CPUs are done */

/* A slow host: it is done when an allocation has waited for it for a while, or has failed. */
static enum port_release scav_dawdle(void *addr, size_t pages)
{
    (void)addr, (void)pages;
    scav_has_flown = true;
    atomic_store_explicit(&scav_flies, true, memory_order_release);
    for (unsigned waits = 0; waits < SCAV_WAITS; arch_relax()) {
        if (atomic_load_explicit(&scav_exhausted, memory_order_acquire))
            break;
        waits += atomic_load_explicit(&page_scavenger.holds, memory_order_relaxed) != 0;
    }
    return PORT_RELEASED;
}

/* Take all there is, page by page; returns the last, which links to the others. */
static void **scav_take_all(size_t *count)
{
    void **first = NULL, **page;

    while ((page = page_alloc(1, 0)) != NULL) {
        *page = first;
        first = page;
        ++*count;
    }
    return first;
}

static void scav_free_all(void **first)
{
    while (first != NULL) {
        void **next = *first;

        page_free(first, 1);
        first = next;
    }
}

/* CPU 1 has a run in flight while CPU 0 takes all there is, into *count. */
static void scav_race(void *count)
{
    if (arch_cpu_id() == 1) {
        page_scavenge_all();
        atomic_store_explicit(&scav_flies, true, memory_order_release); /* whatever it has found */
    }
    if (arch_cpu_id() != 0)
        return;
    while (!atomic_load_explicit(&scav_flies, memory_order_acquire))
        arch_relax();

    void **first = scav_take_all(count);

    atomic_store_explicit(&scav_exhausted, true, memory_order_release);
    scav_free_all(first);
}

TEST(scavenge, hides_nothing_from_an_allocation)
{
    if (!scav_is_possible(t))
        return;
    if (cpus_online() < 2) {
        test_skip(t, "takes two CPUs");
        return;
    }

    struct hoard *hoard = hoard_all_but(SCAV_LEAVE_PAGES);
    size_t free_pages = page_free_count(), taken = 0;
    size_t dirtied = 0;

    /* What is left may have been scavenged before: used once, it can be again. */
    scav_free_all(scav_take_all(&dirtied));
    page_drain_all();
    scav_has_flown = false;
    scav_flies = false;
    scav_exhausted = false;
    page_scavenger.release = scav_dawdle;
    cpu_run_all(2, scav_race, &taken);
    page_scavenger.release = port_release_pages;
    EXPECT(t, free_pages == SCAV_LEAVE_PAGES);
    EXPECT(t, scav_has_flown);
    EXPECT(t, taken == free_pages);
    hoard_free(hoard);
    page_check();
}

/* Idle CPUs scavenge, and pages come and go beside them. */
TEST(scavenge, runs_beside_allocations)
{
    if (!scav_is_possible(t))
        return;

    size_t free_before = page_free_count();
    uint64_t seed = test_seed(t);

    cpu_idle_release();
    for (unsigned i = 0; i < 2000; i++) {
        size_t pages = 1 + random_next(&seed) % 700;
        unsigned char *run = page_alloc(pages, 0);

        if (!EXPECT(t, run != NULL))
            break;
        run[0] = run[pages * PAGE_BYTES - 1] = (unsigned char)i;
        if (i % 500 == 0)
            page_scavenge_all();
        EXPECT(t, run[0] == (unsigned char)i && run[pages * PAGE_BYTES - 1] == (unsigned char)i);
        page_free(run, pages);
    }
    cpu_idle_hold();
    page_drain_all();
    EXPECT(t, page_free_count() == free_before);
    page_check();
}
