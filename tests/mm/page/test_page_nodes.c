/*
 * Page heaps by node: whose a page is, where an allocation comes from, where a free goes.  On one
 * node all of it holds trivially; the suites run it on several.
 */
#include "kernel/cpus.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

/* Runs that are held: each has its link and length in its first bytes. */
struct held {
    struct held *next;
    size_t pages;
};

static unsigned node_of_run(const void *addr)
{
    return page_node_of(((uintptr_t)addr - port_direct_base()) / PAGE_BYTES, NULL);
}

/* The node of the CPU that this runs on; tests stay on theirs. */
static unsigned node_here(void)
{
    return port_cpu_node(port_cpu_id());
}

static struct held *hold(struct held *held, size_t pages)
{
    struct held *run = page_alloc(pages, 0);

    if (run == NULL)
        return NULL;
    *run = (struct held){held, pages};
    return run;
}

static void release(struct held *held)
{
    while (held != NULL) {
        struct held *next = held->next;

        page_free(held, held->pages);
        held = next;
    }
}

/* The node, of those not yet full, that is nearest; port_node_count(): all are full. */
static unsigned nearest_with_memory(unsigned from)
{
    for (unsigned nth = 0; nth < port_node_count(); nth++) {
        unsigned node = (unsigned)(page_node_near(from, nth) - page_heaps);

        if (page_node_stats(node).free_pages > 0)
            return node;
    }
    return port_node_count();
}

TEST(page_nodes, parts_are_whole_chunks_of_the_ports_nodes)
{
    size_t limit = page_heaps[0].page_limit;

    for (size_t page = 0, end; page < limit; page = end) {
        uint64_t unused;
        unsigned node = page_node_of(page, &end);

        REQUIRE(t, node < port_node_count() && end > page);
        EXPECT(t, end >= limit || end % CHUNK_PAGES == 0);
        EXPECT(t, page_node_of(MIN(end, limit) - 1, NULL) == node);
        EXPECT(t, port_node_of(page * PAGE_BYTES, &unused) == node);
        if (end < limit)
            EXPECT(t, port_node_of((end - CHUNK_PAGES) * PAGE_BYTES, &unused) == node &&
                          port_node_of(end * PAGE_BYTES, &unused) != node);
    }
}

TEST(page_nodes, nearest_come_first)
{
    for (unsigned from = 0; from < port_node_count(); from++) {
        uint64_t seen = 0;
        unsigned distance = 0;

        EXPECT(t, page_node_near(from, 0) == &page_heaps[from]);
        for (unsigned nth = 0; nth < port_node_count(); nth++) {
            unsigned node = (unsigned)(page_node_near(from, nth) - page_heaps);

            EXPECT(t, port_node_distance(from, node) >= distance);
            distance = port_node_distance(from, node);
            seen |= 1ull << node;
        }
        EXPECT(t, bits_count(seen) == port_node_count());
    }
}

static void alloc_here(void *test)
{
    static const size_t lengths[] = {1, 8, 16, 600};
    struct test *t = test;
    unsigned near = nearest_with_memory(node_here());

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        if (page_node_stats(near).largest_run < CHUNK_PAGES * port_cpu_count() * 2)
            continue;
        void *run = page_alloc(lengths[i], 0);

        EXPECT(t, run != NULL && node_of_run(run) == near);
        page_free(run, lengths[i]);
        run = page_alloc_aligned(lengths[i], 64, 0, 0);
        EXPECT(t, run != NULL && node_of_run(run) == near);
        page_free(run, lengths[i]);
    }
}

TEST(page_nodes, each_cpu_gets_its_own_nodes_memory)
{
    page_drain_all();
    cpu_run_all(port_cpu_count(), alloc_here, t);
}

/* Longest runs first, so that it takes few steps; the last by pages, through the window. */
TEST(page_nodes, the_nearest_gives_when_the_own_is_full)
{
    size_t free_before = page_free_count();
    unsigned here = node_here(), last = port_node_count();
    uint64_t full = 0;
    struct held *held = NULL;

    reserves_lift();
    page_drain_all();
    for (;;) {
        unsigned near = nearest_with_memory(here);

        if (near == port_node_count())
            break;

        struct held *run = hold(held, MAX(page_node_stats(near).largest_run, 1ul));

        REQUIRE(t, run != NULL);
        held = run;
        EXPECT(t, node_of_run(run) == near);
        EXPECT(t, (full >> near & 1) == 0);
        if (near != last && last != port_node_count())
            full |= 1ull << last;
        last = near;
    }
    EXPECT(t, page_free_count() == 0 && page_alloc(1, 0) == NULL);
    release(held);
    reserves_restore();
    page_drain_all();
    EXPECT(t, page_free_count() == free_before);
    page_check();
}

static void free_on_last_cpu(void *run)
{
    if (port_cpu_id() == port_cpu_count() - 1)
        page_free(run, 20);
}

TEST(page_nodes, a_free_goes_home)
{
    page_drain_all();

    size_t here = node_here(), before = page_node_stats(node_here()).free_pages;
    void *run = page_alloc(20, 0);

    REQUIRE(t, run != NULL);
    if (node_of_run(run) != here) { /* a node without memory */
        page_free(run, 20);
        return;
    }
    EXPECT(t, page_node_stats(here).free_pages == before - 20);
    cpu_run_all(port_cpu_count(), free_on_last_cpu, run);
    EXPECT(t, page_node_stats(here).free_pages == before);
}

/* A limit is more than nearness. */
static void alloc_below(void *test)
{
    struct test *t = test;
    uintptr_t limit = 64 * MIB;
    char *run = page_alloc_aligned(3, 2, limit, 0);

    EXPECT(t, run != NULL && (uintptr_t)run - port_direct_base() + 3 * PAGE_BYTES <= limit);
    page_free(run, 3);
}

TEST(page_nodes, a_limit_reaches_far_nodes)
{
    cpu_run_all(port_cpu_count(), alloc_below, t);
}

TEST(page_nodes, nodes_add_up)
{
    struct page_stats all = page_stats(), sum = {0};

    for (unsigned node = 0; node < port_node_count(); node++) {
        struct page_stats stats = page_node_stats(node);

        EXPECT(t, stats.meta_bytes == 0);
        sum.ram_pages += stats.ram_pages;
        sum.free_pages += stats.free_pages;
        sum.whole_chunks += stats.whole_chunks;
    }
    EXPECT(t, sum.ram_pages == all.ram_pages && sum.free_pages == all.free_pages &&
                  sum.whole_chunks == all.whole_chunks);
    EXPECT(t, all.free_pages == page_free_count());
}
