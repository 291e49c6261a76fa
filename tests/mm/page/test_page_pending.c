/*
 * Pending frees: they take no lock, are found by whoever needs memory, and by no way is a page free
 * twice.
 */
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/pending.h"
#include "tests/mm/page/free_case.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define SPREAD_BLOCKS 200u /* more than a list has */
#define RUN_PAGES     20u  /* more than a window hands out: from the heap, one block or two */

static size_t page_number(const void *addr)
{
    return ((uintptr_t)addr - port_direct_base()) / PAGE_BYTES;
}

/* A block of 64 pages of this CPU's node, none of it free, as runs of one page; NULL: no memory. */
static char *take_block(void)
{
    char *block = page_alloc_aligned(PAGE_BLOCK_PAGES, PAGE_BLOCK_PAGES, 0, 0);

    if (block == NULL)
        return NULL;

    struct page_heap *heap = page_heap_of(page_number(block));
    unsigned long irq_state = page_heap_lock(heap);

    CHECK(page_heap_put(heap, page_number(block), PAGE_BLOCK_PAGES));
    for (size_t i = 0; i < PAGE_BLOCK_PAGES; i++)
        page_heap_take(heap, page_number(block) + i, 1);
    page_heap_unlock(heap, irq_state);
    return block;
}

static bool windows_are_off(struct test *t)
{
    if (page_debug_is_on())
        test_skip(t, "pages are checked: every free takes the lock");
    return page_debug_is_on();
}

TEST(page_pending, frees_take_no_lock_and_count_as_free)
{
    size_t before = page_free_count();

    if (windows_are_off(t))
        return;
    page_drain_all();

    char *block = take_block();

    REQUIRE(t, block != NULL);

    uint64_t locks = page_stats().heap_locks;

    for (size_t i = 0; i < PAGE_BLOCK_PAGES; i++)
        page_free(block + (i * 37 % PAGE_BLOCK_PAGES) * PAGE_BYTES, 1);
    EXPECT(t, page_stats().heap_locks == locks + port_node_count()); /* page_stats' own */
    EXPECT(t, page_stats().pending_pages == PAGE_BLOCK_PAGES && page_free_count() == before);
    page_check();
    page_drain_all();
    EXPECT(t, page_stats().pending_pages == 0 && page_free_count() == before);
    page_check();
}

/* One page from each of so many blocks that the list runs full; a list is a part of memory only. */
TEST(page_pending, a_full_list_is_collected)
{
    static char *blocks[SPREAD_BLOCKS];
    size_t before = page_free_count(), count = 0;

    if (windows_are_off(t))
        return;
    while (count < SPREAD_BLOCKS && page_free_count() > before / 4 &&
           (blocks[count] = take_block()) != NULL)
        count++;
    page_drain_all();
    for (size_t i = 0; i < count; i++)
        page_free(blocks[i] + 5 * PAGE_BYTES, 1);
    EXPECT(t, page_stats().pending_pages < MAX(count, 2ul));
    EXPECT(t, page_stats().pending_pages <= page_stats().ram_pages / 16 / PAGE_BLOCK_PAGES + 1);
    page_check();
    for (size_t i = 0; i < count * (PAGE_BLOCK_PAGES - 1); i++)
        page_free(blocks[i % count] + ((i / count + 6) % PAGE_BLOCK_PAGES) * PAGE_BYTES, 1);
    page_check();
    page_drain_all();
    EXPECT(t, page_stats().pending_pages == 0 && page_free_count() == before);
    page_check();
}

/* Where nobody may be asked, interrupts being off, the other CPU's frees are found all the same. */
static void free_last(void *run)
{
    if (port_cpu_id() == port_cpu_count() - 1)
        page_free(run, RUN_PAGES);
}

TEST(page_pending, any_cpu_finds_what_another_has_freed)
{
    char *run = page_alloc_aligned(RUN_PAGES, 32, 0, 0);

    REQUIRE(t, run != NULL);
    if (windows_are_off(t)) {
        page_free(run, RUN_PAGES);
        return;
    }
    page_drain_all();

    struct hoard *hoard = hoard_all_but(0);

    EXPECT(t, page_alloc(1, 0) == NULL);
    cpu_run_all(port_cpu_count(), free_last, run);
    EXPECT(t, page_stats().pending_pages == RUN_PAGES);

    unsigned long irq_state = port_irq_save();
    char *again = page_alloc(RUN_PAGES, 0);

    port_irq_restore(irq_state);
    EXPECT(t, again == run && page_stats().pending_pages == 0);
    page_check();
    page_free(run, RUN_PAGES);
    hoard_free(hoard);
}

TEST(page_pending, an_idle_cpu_collects_its_own)
{
    char *run = page_alloc_aligned(RUN_PAGES, 32, 0, 0);

    REQUIRE(t, run != NULL);
    page_drain_all();
    if (port_cpu_count() < 2 || page_debug_is_on()) {
        test_skip(t, "needs two CPUs, and pages that are not checked");
        page_free(run, RUN_PAGES);
        return;
    }
    cpu_run_all(port_cpu_count(), free_last, run);
    EXPECT(t, page_stats().pending_pages == RUN_PAGES);
    cpu_idle_release();
    while (page_stats().pending_pages > 0)
        arch_relax();
    cpu_idle_hold();
    page_check();
}

/* ---- Frees that are wrong ---- */

TEST(page_pending, wrong_frees_are_found)
{
    char *run = page_alloc_aligned(RUN_PAGES, 32, 0, 0);

    REQUIRE(t, run != NULL);

    struct free_case inside = {run + PAGE_BYTES, RUN_PAGES - 1}, tail = {run + PAGE_BYTES, 1};
    struct free_case shorter = {run, RUN_PAGES - 1}, longer = {run, RUN_PAGES + 1};
    struct free_case crooked = {run + 8, RUN_PAGES}, twice = {run, RUN_PAGES};
    struct free_case first = {run, 1};

    EXPECT_PANIC(t, free_run, &inside, "wrong address, it is inside a run");
    EXPECT_PANIC(t, free_run, &tail, "wrong address, it is inside a run");
    EXPECT_PANIC(t, free_run, &shorter, "wrong length");
    EXPECT_PANIC(t, free_run, &longer, "wrong length");
    EXPECT_PANIC(t, free_run, &crooked, "not the address of a page");
    page_free(run, RUN_PAGES);
    EXPECT_PANIC(t, free_run, &twice, "double free, it is in the heap");
    EXPECT_PANIC(t, free_run, &first, "double free, it is in the heap");
    page_drain_all();
    EXPECT_PANIC(t, free_run, &twice, "double free, it is in the heap");
    EXPECT_PANIC(t, free_run, &first, "double free, it is in the heap");
    page_check();
}

/* To the end of its first block the run is as it should be: what shows is in the next. */
TEST(page_pending, a_run_that_goes_on_in_the_next_block_is_found)
{
    char *run = page_alloc_aligned(2 * PAGE_BLOCK_PAGES, PAGE_BLOCK_PAGES, 0, 0);
    struct free_case first_block = {run, PAGE_BLOCK_PAGES};

    REQUIRE(t, run != NULL);
    EXPECT_PANIC(t, free_run, &first_block, "wrong length");
    page_free(run, 2 * PAGE_BLOCK_PAGES);
}

/* ---- All at once ---- */

#define RACE_ROUNDS 300u
#define RACE_RUN    24u

static struct {
    char *block;
} race;

/*
 * All CPUs free pages of one block, each its own, and take windows and runs meanwhile, which
 * collects: the one list, hold or release that loses a page shows in the count.
 */
static void race_job(void *unused)
{
    unsigned cpu = port_cpu_id(), cpus = port_cpu_count();

    (void)unused;
    for (size_t i = cpu; i < PAGE_BLOCK_PAGES; i += cpus) {
        page_free(race.block + i * PAGE_BYTES, 1);
        if (i % 8 == cpu % 8)
            page_free(page_alloc_aligned(RACE_RUN, 1, 0, 0), RACE_RUN);
        if (i % 16 == cpu)
            page_drain_this_cpu(NULL);
        page_free(page_alloc(1, 0), 1);
    }
}

TEST(page_pending, frees_into_one_block_race)
{
    size_t before = page_free_count();

    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        race.block = take_block();
        REQUIRE(t, race.block != NULL);
        cpu_run_all(port_cpu_count(), race_job, NULL);
        REQUIRE(t, page_free_count() == before);
        page_drain_all();
        REQUIRE(t, page_stats().pending_pages == 0);
        page_check();
    }
    EXPECT(t, page_free_count() == before);
}
