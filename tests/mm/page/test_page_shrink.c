/* Shrinkers: run before a request fails, once, never by one another. */
#include "kernel/cpus.h"
#include "kernel/stat.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/shrink.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define CACHED_PAGES 8u

/* A layer that caches pages, while a test says so. */
static struct {
    bool is_on;
    void *pages[CACHED_PAGES];
    size_t count;
    unsigned calls;
    unsigned depth, depth_max;
    size_t wanted; /* by the request that called */
} cache;

static void cache_shrink(size_t pages)
{
    if (!cache.is_on)
        return;
    cache.calls++;
    cache.wanted = pages;
    cache.depth_max = MAX(cache.depth_max, ++cache.depth);
    if (page_alloc(page_free_count() + 1, 0) != NULL) /* fails, and calls nobody */
        cache.depth_max = 0;
    while (cache.count > 0)
        page_free(cache.pages[--cache.count], 1);
    cache.depth--;
}

static struct page_shrinker cache_shrinker = {.name = "test", .shrink = cache_shrink};

/* Fill the cache, then take all the rest of memory. */
static struct hoard *cache_begin(void)
{
    static bool is_registered;

    if (!is_registered)
        page_shrinker_register(&cache_shrinker);
    is_registered = true;
    for (cache.count = 0; cache.count < CACHED_PAGES; cache.count++)
        cache.pages[cache.count] = page_alloc(1, 0);

    struct hoard *hoard = hoard_all_but(0);

    cache.calls = cache.depth_max = 0;
    cache.is_on = true;
    return hoard;
}

static void cache_end(struct hoard *hoard)
{
    cache.is_on = false;
    cache_shrink(0);
    while (cache.count > 0)
        page_free(cache.pages[--cache.count], 1);
    hoard_free(hoard);
}

TEST(page_shrink, gives_what_is_missing)
{
    struct hoard *hoard = cache_begin();
    uint64_t runs = cache_shrinker.runs, freed = cache_shrinker.freed_pages;
    void *page = page_alloc(1, 0);

    EXPECT(t, page != NULL);
    EXPECT(t, cache.calls == 1 && cache.depth_max == 1 && cache.wanted == 1);
    EXPECT(t,
           cache_shrinker.runs == runs + 1 && cache_shrinker.freed_pages == freed + CACHED_PAGES);
    EXPECT(t, page_free_count() == CACHED_PAGES - 1);
    page_free(page, 1);
    cache_end(hoard);
}

TEST(page_shrink, runs_once_before_a_request_fails)
{
    struct hoard *hoard = cache_begin();

    EXPECT(t, page_alloc(CACHED_PAGES + 1, 0) == NULL);
    EXPECT(t, cache.calls == 1 && cache.depth_max == 1);
    EXPECT(t, page_free_count() == CACHED_PAGES); /* all it gave is free, nothing else changed */
    EXPECT(t, page_alloc(CACHED_PAGES + 1, 0) == NULL);
    EXPECT(t, cache.calls == 2);
    cache_end(hoard);
    page_check();
}

TEST(page_shrink, not_where_it_could_not_wait)
{
    struct hoard *hoard = cache_begin();
    unsigned long irq_state = port_irq_save();

    EXPECT(t, page_alloc(1, 0) == NULL);
    EXPECT(t, cache.calls == 0 && page_free_count() == 0);
    port_irq_restore(irq_state);
    cache_end(hoard);
}

static void hold_in_window_of_cpu_1(void *unused)
{
    (void)unused;
    if (port_cpu_id() == 1)
        page_free(page_alloc(1, 0), 1);
}

TEST(page_shrink, not_while_others_windows_have_pages)
{
    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }

    struct hoard *hoard = cache_begin();

    page_free(cache.pages[--cache.count], 1);
    page_drain_all();
    cpu_run_all(2, hold_in_window_of_cpu_1, NULL);

    void *page = page_alloc(1, 0);

    EXPECT(t, page != NULL && cache.calls == 0);
    page_free(page, 1);
    cache_end(hoard);
}

/* What no heap could ever serve disturbs nobody. */
TEST(page_shrink, not_for_what_is_impossible)
{
    const struct stat *drains = stat_find("page", "drain_retry");
    struct hoard *hoard = cache_begin();
    uint64_t before = stat_read(drains);

    EXPECT(t, page_alloc(page_nodes_memory() + 1, 0) == NULL);
    EXPECT(t, page_alloc(PAGE_RUN_MAX, 0) == NULL);
    EXPECT(t, page_alloc_aligned(17, 1, 16 * PAGE_BYTES, 0) == NULL);
    EXPECT(t, cache.calls == 0 && stat_read(drains) == before);
    EXPECT(t, page_alloc_aligned(16, 1, 16 * PAGE_BYTES, 0) == NULL);
    EXPECT(t, cache.calls == 1 && stat_read(drains) > before);
    cache_end(hoard);
}

/* The slab allocator's magazines and empty spans are among what comes back. */
TEST(page_shrink, slab_is_registered)
{
    const struct page_shrinker *shrinker = page_shrinker_first();

    while (shrinker != NULL && shrinker->name[0] != 's')
        shrinker = shrinker->next;
    EXPECT(t, shrinker != NULL);
}
