/*
 * Memory runs out: NULL, nothing changed, every page comes back; the Nth acquisition fails; the
 * same with interrupts off.
 */
#include "kernel/base/string.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "tests/mm/slab/objects.h"
#include "tests/test.h"

#define LEFT_PAGES 2048u /* 8 MiB to exhaust */

static struct hog hog;

/* Objects in a list through their first word. */
struct link {
    struct link *next;
};

static size_t fill(size_t bytes, struct link **list)
{
    size_t count = 0;

    for (;;) {
        struct link *link = kmalloc(bytes);

        if (link == NULL)
            return count;
        link->next = *list;
        *list = link;
        count++;
    }
}

static void free_list(struct link *list)
{
    while (list != NULL) {
        struct link *next = list->next;

        kfree(list);
        list = next;
    }
}

TEST(slab, exhausts_and_comes_back)
{
    static const size_t sizes[] = {8, 64, 480, 1400, 4096, 20000, 32768, 32769, 1000000};
    size_t smallest = slab_debug_flags(NULL) == 0 ? 16 : 256; /* of slots, in the end */

    mm_drain();
    hog_take(&hog, LEFT_PAGES);
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
        size_t free_before = page_free_count();
        struct link *list = NULL;
        size_t count = fill(sizes[i], &list);

        EXPECT(t, count * MAX(sizes[i], smallest) > LEFT_PAGES * PAGE_BYTES / 4);
        EXPECT(t, kmalloc(sizes[i]) == NULL && kzalloc(sizes[i]) == NULL);
        free_list(list);
        mm_drain();
        mm_check();
        EXPECT(t, page_free_count() == free_before);
    }
    hog_give(&hog);
}

/* Small objects take every page; what is left of that, and only that, is lost to other classes. */
TEST(slab, large_after_small)
{
    struct link *list = NULL;
    void *large;

    mm_drain();
    hog_take(&hog, LEFT_PAGES);
    fill(64, &list);
    EXPECT(t, kmalloc(MIB) == NULL);
    free_list(list);
    large = kmalloc(MIB); /* drains by itself what the magazines and centrals still hold */
    EXPECT(t, large != NULL);
    kfree(large);
    hog_give(&hog);
}

/* All memory is objects of `bytes`, of which the newest `count` are then in a magazine and spans. */
static struct link *fill_and_cache(size_t bytes, unsigned count)
{
    struct link *list = NULL;

    mm_drain();
    hog_take(&hog, LEFT_PAGES / 8);
    fill(bytes, &list);
    while (count-- > 0) {
        struct link *next = list->next;

        kfree(list);
        list = next;
    }
    return list;
}

static void fill_end(struct link *list, void *object)
{
    kfree(object);
    free_list(list);
    hog_give(&hog);
}

/* The only free memory is in another class's magazine and span: three objects, two to a span. */
TEST(slab, small_after_small)
{
    struct link *list = fill_and_cache(4096, 3);
    void *small = kmalloc(64);

    EXPECT(t, small != NULL);
    fill_end(list, small);
}

/* Every page that is to be had without asking anybody, in a list through their first words. */
static struct link *take_free_pages(void)
{
    struct link *list = NULL, *page;
    unsigned long irq = port_irq_save();

    while ((page = page_alloc(1, 0)) != NULL) {
        page->next = list;
        list = page;
    }
    port_irq_restore(irq);
    return list;
}

static void give_pages(struct link *list)
{
    while (list != NULL) {
        struct link *next = list->next;

        page_free(list, 1);
        list = next;
    }
}

/*
 * Likewise where a new span lacks a page for its descriptor, which is asked for with interrupts off:
 * with each number of descriptors that may be left over.
 */
TEST(slab, small_after_small_without_descriptors)
{
    static void *others[PAGE_BYTES / sizeof(struct span)];
    unsigned served = 0;

    for (unsigned count = 0; count < ARRAY_COUNT(others); count++) {
        for (unsigned i = 0; i < count; i++)
            others[i] = kmalloc(KMALLOC_SMALL_MAX + 1);

        struct link *list = fill_and_cache(4096, 3), *pages;
        void *small;

        span_drain();
        pages = take_free_pages();
        small = kmalloc(64);
        served += small != NULL;
        fill_end(list, small);
        give_pages(pages);
        kfree_bulk(count, others);
    }
    EXPECT(t, served == ARRAY_COUNT(others));
}

/* Where nobody may be asked: from this CPU's magazines, for an object of either kind. */
TEST(slab, any_after_small_with_interrupts_off)
{
    static const struct {
        size_t held_bytes, bytes;
        unsigned count;
    } cases[] = {{4096, 64, 3}, {32768, 32769, 8}};

    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct link *list = fill_and_cache(cases[i].held_bytes, cases[i].count);
        unsigned long irq = port_irq_save();
        void *object = kmalloc(cases[i].bytes);

        port_irq_restore(irq);
        EXPECT(t, object != NULL);
        fill_end(list, object);
    }
}

TEST(slab, exhausts_with_interrupts_off)
{
    struct link *list = NULL;
    unsigned long irq;
    size_t free_before;

    mm_drain();
    free_before = page_free_count();
    hog_take(&hog, LEFT_PAGES / 8);
    irq = port_irq_save();
    EXPECT(t, fill(256, &list) > 0);
    EXPECT(t, kmalloc(MIB) == NULL);
    free_list(list);
    list = kmalloc(8192);
    EXPECT(t, list != NULL); /* only this CPU holds anything back */
    kfree(list);
    port_irq_restore(irq);
    hog_give(&hog);
    mm_drain();
    EXPECT(t, page_free_count() == free_before);
}

/* What no machine could serve costs nobody what he has cached. */
TEST(slab, impossible_requests_drain_nothing)
{
    if (!slots_are_plain(t))
        return;
    mm_drain();
    kfree(kmalloc(64));

    size_t cached = slab_stats().magazine_bytes;
    unsigned long irq = port_irq_save();

    EXPECT(t, cached > 0);
    EXPECT(t, kmalloc(MM_PHYS_BYTES) == NULL);
    port_irq_restore(irq);
    EXPECT(t, kmalloc(MM_PHYS_BYTES) == NULL);
    EXPECT(t, slab_stats().magazine_bytes == cached);
}

/* krealloc that fails leaves the object as it is. */
TEST(slab, realloc_fails_cleanly)
{
    uint8_t *p = kmalloc(100);

    REQUIRE(t, p != NULL);
    object_fill(p, 100, 1);
    mm_drain();
    hog_take(&hog, 8);
    EXPECT(t, krealloc(p, MIB) == NULL);
    EXPECT(t, object_holds(p, 100, 1));
    hog_give(&hog);
    kfree_sized(p, 100);
}

/* ---- Fail the 1st, then the 2nd, ... acquisition until a run needs none ---- */

static bool run_kmalloc(void)
{
    void *p = kmalloc(64);

    kfree(p);
    return p != NULL;
}

static bool run_kzalloc_large(void)
{
    void *p = kzalloc(100000);

    kfree(p);
    return p != NULL;
}

static bool run_aligned(void)
{
    void *p = kmalloc_aligned(100, CHUNK_BYTES);

    kfree(p);
    return p != NULL;
}

static bool run_krealloc(void)
{
    uint8_t *p = kmalloc(64), *moved;

    if (p == NULL)
        return false;
    p[63] = 7;
    moved = krealloc(p, 5000);

    bool succeeded = moved != NULL && moved[63] == 7;

    kfree(moved != NULL ? moved : p);
    return succeeded;
}

static bool run_bulk(void)
{
    void *objects[40];
    size_t n = kmalloc_bulk(1000, 40, objects);

    kfree_bulk(n, objects);
    return n == 40;
}

static void test_every_failure(struct test *t, bool (*run)(void))
{
    for (unsigned nth = 1;; nth++) {
        mm_drain();

        size_t free_before = page_free_count();

        fault_fail_nth(nth);
        bool succeeded = run();
        bool fired = fault_disarm();

        /* the first is not retried; later ones may be made up for by draining */
        EXPECT(t, succeeded || fired);
        EXPECT(t, nth > 1 || !succeeded);
        mm_drain();
        EXPECT(t, page_free_count() == free_before);
        if (!fired)
            return;
        REQUIRE(t, nth < 100);
    }
}

TEST(slab, every_failure_unwinds)
{
    test_every_failure(t, run_kmalloc);
    test_every_failure(t, run_kzalloc_large);
    test_every_failure(t, run_aligned);
    test_every_failure(t, run_krealloc);
    test_every_failure(t, run_bulk);
}

TEST(slab, every_failure_unwinds_with_interrupts_off)
{
    for (unsigned nth = 1; nth < 10; nth++) {
        mm_drain();

        size_t free_before = page_free_count();
        unsigned long irq = port_irq_save();

        fault_fail_nth(nth);
        EXPECT(t, run_kmalloc() || nth == 1);
        fault_disarm();
        port_irq_restore(irq);
        mm_drain();
        EXPECT(t, page_free_count() == free_before);
    }
}

/* What many frees leave behind: two magazines at this CPU, and what the depots may hold. */
TEST(slab, frees_strand_magazines_and_depots_within_bounds)
{
    if (!slots_are_plain(t))
        return;

    static void *objects[4096];

    mm_drain();

    size_t bytes_before = span_stats().span_bytes;

    REQUIRE(t, kmalloc_bulk(128, ARRAY_COUNT(objects), objects) == ARRAY_COUNT(objects));
    kfree_bulk(ARRAY_COUNT(objects), objects);
    EXPECT(t, slab_stats().magazine_bytes <= 2 * 31 * 128);
    EXPECT(t, slab_stats().depot_bytes >= 4096 * 128 - 2 * 31 * 128 - 31 * 128);
    mm_check();
    slab_drain_this_cpu(NULL);
    EXPECT(t, slab_stats().magazine_bytes == 0);
    slab_drain_all();
    EXPECT(t, slab_stats().depot_bytes == 0 && span_stats().span_bytes == bytes_before);

    REQUIRE(t, kmalloc_bulk(2048, 64, objects) == 64);
    kfree_bulk(64, objects);
    EXPECT(t, slab_stats().magazine_bytes <= 2 * 8 * 2048);
    memset(objects, 0, sizeof(objects)); /* else they refer to other tests' objects */
}

/* Free slots in depots do not make the heap larger: before it grows they go back to their spans. */
TEST(slab, depots_come_down_before_the_heap_grows)
{
    if (!slots_are_plain(t))
        return;

    static void *small[8192], *large[512];

    mm_drain();
    REQUIRE(t, kmalloc_bulk(64, ARRAY_COUNT(small), small) == ARRAY_COUNT(small));

    size_t before = span_stats().span_bytes;

    kfree_bulk(ARRAY_COUNT(small), small);
    EXPECT(t, slab_stats().depot_bytes > 400 * KIB);
    EXPECT(t, span_stats().span_bytes == before);
    REQUIRE(t, kmalloc_bulk(1024, ARRAY_COUNT(large), large) == ARRAY_COUNT(large));
    EXPECT(t, slab_stats().depot_bytes <= span_stats().span_bytes / 16);
    EXPECT(t, span_stats().span_bytes <= before + 100 * KIB);
    kfree_bulk(ARRAY_COUNT(large), large);
    memset(small, 0, sizeof(small)); /* else they refer to other tests' objects */
    memset(large, 0, sizeof(large));
    mm_drain();
    mm_check();
}

/* A heap that has been larger of late grows without asking: below that, slots would only move. */
TEST(slab, depots_stay_below_the_high_water_mark)
{
    if (!slots_are_plain(t))
        return;

    static void *small[8192], *large[512];
    struct central *central = &slab_centrals[size_class_of(1024)];

    mm_drain();
    REQUIRE(t, kmalloc_bulk(1024, ARRAY_COUNT(large), large) == ARRAY_COUNT(large));
    REQUIRE(t, kmalloc_bulk(64, ARRAY_COUNT(small), small) == ARRAY_COUNT(small));

    size_t most = span_stats().span_bytes;

    kfree_bulk(ARRAY_COUNT(large), large);
    (void)central_trim_depot(central, SIZE_MAX);
    central_trim(central);
    kfree_bulk(ARRAY_COUNT(small), small);

    size_t held = slab_stats().depot_bytes;

    EXPECT(t, held > 400 * KIB && span_stats().span_bytes < most - 300 * KIB);
    REQUIRE(t, kmalloc_bulk(1024, ARRAY_COUNT(large) / 2, large) == ARRAY_COUNT(large) / 2);
    EXPECT(t, span_stats().span_bytes < most && slab_stats().depot_bytes == held);
    kfree_bulk(ARRAY_COUNT(large) / 2, large);
    memset(small, 0, sizeof(small)); /* else they refer to other tests' objects */
    memset(large, 0, sizeof(large));
    mm_drain();
}
