/* Frees that must not be: each is named, on whichever path it comes. */
#include "kernel/cpus.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"
#include "tests/mm/page/free_case.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

static void free_twice(void *arg)
{
    const struct free_case *run = arg;

    page_free(run->addr, run->pages);
    page_free(run->addr, run->pages);
}

/* In between, the window that the pages went to is given back. */
static void free_drain_free(void *arg)
{
    const struct free_case *run = arg;

    page_free(run->addr, run->pages);
    page_drain_this_cpu(NULL);
    page_free(run->addr, run->pages);
}

TEST(page, double_free_is_found)
{
    static const size_t lengths[] = {1, 3, 15, 16, 64, 700};

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct free_case run = {page_alloc(lengths[i], 0), lengths[i]};

        REQUIRE(t, run.addr != NULL);
        EXPECT_PANIC(t, free_twice, &run, "double free");
        EXPECT_PANIC(t, free_drain_free, &run, "double free, it is in the heap");
        page_free(run.addr, run.pages);
    }
}

/* Runs of a length, freed at the wrong place or with the wrong length. */
TEST(page, free_of_what_is_not_all_of_a_run_is_found)
{
    static const size_t lengths[] = {2, 15, 16, 64, 700};

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        size_t pages = lengths[i];
        char *run = page_alloc(pages, 0), *next = page_alloc(pages, 0);
        struct free_case short_by_one = {run, pages - 1}, one = {run, 1};
        struct free_case long_by_one = {run, pages + 1}, twice = {run, 2 * pages};
        struct free_case inside = {run + PAGE_BYTES, 1};
        struct free_case tail = {run + PAGE_BYTES, pages - 1};

        REQUIRE(t, run != NULL && next != NULL);
        EXPECT_PANIC(t, free_run, &short_by_one, "wrong length");
        EXPECT_PANIC(t, free_run, &one, "wrong length");
        EXPECT_PANIC(t, free_run, &long_by_one, "wrong length");
        EXPECT_PANIC(t, free_run, &twice, "wrong length");
        EXPECT_PANIC(t, free_run, &inside, "inside a run");
        EXPECT_PANIC(t, free_run, &tail, "inside a run");
        page_free(run, pages);
        page_free(next, pages);
    }
}

TEST(page, free_of_two_runs_as_one_is_found)
{
    char *both = page_alloc(2, 0);
    struct free_case run = {both, 2};

    REQUIRE(t, both != NULL);
    page_free(both, 2);

    char *first = page_alloc(1, 0), *second = page_alloc(1, 0);

    if (first == both && second == both + PAGE_BYTES)
        EXPECT_PANIC(t, free_run, &run, "wrong length");
    page_free(first, 1);
    page_free(second, 1);
}

TEST(page, free_of_what_is_no_run_is_found)
{
    char *page = page_alloc(1, 0);
    char *end_of_heap = (char *)port_direct_base() + MM_PHYS_BYTES;
    struct free_case cases[] = {{page + 8, 1},
                                {page, 0},
                                {page, SIZE_MAX},
                                {page, SIZE_MAX / PAGE_BYTES + 2},
                                {end_of_heap, 1},
                                {(char *)port_direct_base() - PAGE_BYTES, 1},
                                {(char *)port_direct_base() + PAGE_BYTES, 1}};
    static const char *const texts[] = {"not the address of a page", "no pages",
                                        "not a page of the heap",    "not a page of the heap",
                                        "not a page of the heap",    "not a page of the heap",
                                        "not a page of the heap"};

    REQUIRE(t, page != NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        EXPECT_PANIC(t, free_run, &cases[i], texts[i]);
    page_free(page, 1);
}

static void leave_in_window_of_cpu_1(void *arg)
{
    struct free_case *run = arg;

    if (port_cpu_id() != 1)
        return;
    run->addr = page_alloc(1, 0);
    run->pages = 1;
    page_free(run->addr, 1);
}

/* The page is free in CPU 1's window only: in the heap's bitmap it is taken. */
TEST(page, double_free_of_a_page_in_another_window_is_found)
{
    struct free_case run = {NULL, 0};

    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }
    cpu_run_all(2, leave_in_window_of_cpu_1, &run);
    REQUIRE(t, run.addr != NULL);
    EXPECT_PANIC(t, free_run, &run, "double free, it is in a CPU's window");
}

static void free_on_cpu_1(void *arg)
{
    if (port_cpu_id() == 1)
        free_run(arg);
}

/* The window that holds the page's block says taken: in the heap's bitmap it is free. */
TEST(page, double_free_into_a_window_of_a_page_in_the_heap_is_found)
{
    if (port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs");
        return;
    }

    struct free_case run = {page_alloc(1, 0), 1};

    REQUIRE(t, run.addr != NULL);
    cpu_run_all(2, free_on_cpu_1, &run);
    EXPECT_PANIC(t, free_run, &run, "double free, it is in the heap");
}

/* Each page of the window; under a sanitizer, where a panic takes long, these two and a few. */
static bool is_tried(uintptr_t k, void *const pages[2])
{
    for (unsigned i = 0; i < 2; i++) {
        if (k == (uintptr_t)pages[i] / PAGE_BYTES % PAGE_BLOCK_PAGES)
            return true;
    }
    return !CONFIG_DEBUG || k % 16 == 0;
}

/* A window that has gone back, or whose gives are shut, remembers nothing that a free could hit. */
TEST(page, free_of_no_address_is_found_whatever_the_window)
{
    for (unsigned shut = 0; shut < 2; shut++) {
        void *pages[2];

        page_drain_all();
        for (unsigned i = 0; i < 2; i++)
            REQUIRE(t, (pages[i] = page_alloc(1, 0)) != NULL);

        struct free_case other = {pages[1], 1};

        if (shut == 0)
            page_drain_all();
        cpu_run_all(port_cpu_count(), free_on_cpu_1, &other); /* a page of CPU 0's window */
        for (uintptr_t k = 0; k < PAGE_BLOCK_PAGES; k++) {
            struct free_case odd = {(void *)(1 + k * PAGE_BYTES), 1};

            if (is_tried(k, pages))
                EXPECT_PANIC(t, free_run, &odd, "not the address of a page");
        }
        page_free(pages[0], 1);
        if (port_cpu_count() < 2)
            page_free(pages[1], 1);
    }
    page_check();
}

static void free_what_is_remote(void *arg)
{
    struct free_case *run = arg;
    size_t page = ((uintptr_t)run->addr - port_direct_base()) / PAGE_BYTES;
    struct page_block *block = &page_heap_of(page)->blocks[page / PAGE_BLOCK_PAGES];

    atomic_fetch_or_explicit(&block->remote, 1ull << page % PAGE_BLOCK_PAGES, memory_order_relaxed);
    page_free(run->addr, 1);
    page_check(); /* every window publishes */
}

/* The window's give was past its look when another CPU freed the page to the heap. */
TEST(page, double_free_by_a_window_and_by_the_heap_is_found)
{
    unsigned long irq_state = port_irq_save();
    struct free_case run = {page_alloc(1, 0), 1};

    REQUIRE(t, run.addr != NULL);
    if (page_stats().window_pages > 0)
        EXPECT_PANIC(t, free_what_is_remote, &run, "double free, by two CPUs at once");
    page_free(run.addr, 1);
    port_irq_restore(irq_state);
}

/* ---- A page that is not the heap's, in the block of a window ---- */

/* The first block with both a page that is free and one that is absent; PAGE_NONE: none. */
static size_t ragged_block(void)
{
    for (size_t i = 0; i < page_heaps[0].page_limit / PAGE_BLOCK_PAGES; i++)
        if (page_block_free(&page_heaps[0].blocks[i]) != 0 &&
            ~page_block_present(&page_heaps[0].blocks[i]) != 0)
            return i;
    return PAGE_NONE;
}

static void *page_of_block(size_t block, uint64_t bits)
{
    size_t page = block * PAGE_BLOCK_PAGES + (size_t)__builtin_ctzll(bits);

    return (void *)(port_direct_base() + page * PAGE_BYTES);
}

TEST(page, free_of_an_absent_page_into_a_window_is_found)
{
    page_drain_all();

    size_t block = ragged_block();

    if (block == PAGE_NONE) {
        test_skip(t, "all of memory is whole blocks");
        return;
    }

    uint64_t free = page_block_free(&page_heaps[0].blocks[block]);
    uint64_t absent = ~page_block_present(&page_heaps[0].blocks[block]);
    struct free_case hole = {page_of_block(block, absent), 1};
    void *only = page_of_block(block, free);

    /* With one page left, the window that has it is the one wanted. */
    unsigned long irq_state = page_heap_lock(&page_heaps[0]);

    page_heap_take(&page_heaps[0], block * PAGE_BLOCK_PAGES + (size_t)__builtin_ctzll(free), 1);
    page_heap_unlock(&page_heaps[0], irq_state);

    struct hoard *hoard = hoard_all_but(0);

    page_free(only, 1);
    EXPECT(t, page_alloc(1, 0) == only);
    EXPECT_PANIC(t, free_run, &hole, "not a page of the heap");
    page_free(only, 1);
    hoard_free(hoard);
}
