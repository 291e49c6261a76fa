/* Windows on all CPUs: a hit takes no lock, and a quiet CPU keeps no page. */
#include "kernel/cpus.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/port.h"
#include "tests/test.h"

#define HITS 1000u

static void window_pairs(void *arg)
{
    size_t pages = *(size_t *)arg;

    for (unsigned i = 0; i < HITS; i++)
        page_free(page_alloc(pages, 0), pages);
}

/* A window that a miss has brought stays: each CPU may miss a few times, and then hits. */
TEST(page, hits_take_no_lock)
{
    unsigned cpus = port_cpu_count();

    for (size_t pages = 1; pages <= 15; pages++) {
        cpu_run_all(cpus, window_pairs, &pages);

        uint64_t before = page_stats().heap_locks;

        cpu_run_all(cpus, window_pairs, &pages);
        EXPECT(t, page_stats().heap_locks - before <= 1 + 2 * cpus);
    }
}

static void window_open_on_others(void *unused)
{
    (void)unused;
    if (port_cpu_id() != 0)
        page_free(page_alloc(1, 0), 1);
}

/* The runner holds idle work back; here it runs until it has done what it is to do. */
TEST(page, an_idle_cpu_gives_its_window_back)
{
    size_t free_before = page_free_count();

    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    page_drain_all();
    cpu_run_all(port_cpu_count(), window_open_on_others, NULL);
    EXPECT(t, page_stats().window_pages > 0);
    cpu_idle_release();
    while (page_stats().window_pages > 0)
        arch_relax();
    cpu_idle_hold();
    EXPECT(t, page_free_count() == free_before);
}

/* The block of a page in this CPU's window, held by nobody. */
static void break_p6(void *page)
{
    size_t number = ((uintptr_t)page - port_direct_base()) / PAGE_BYTES;

    page_heap_of(number)->blocks[number / PAGE_BLOCK_PAGES].holder = 0;
    page_check();
}

TEST(page, check_names_the_broken_window)
{
    unsigned long irq_state = port_irq_save();
    void *page = page_alloc(1, 0);

    REQUIRE(t, page != NULL);
    if (page_stats().window_pages > 0)
        EXPECT_PANIC(t, break_p6, page, "page heap: P6");
    page_free(page, 1);
    port_irq_restore(irq_state);
}
