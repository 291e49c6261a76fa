/*
 * Runs that grow where they are: into what is free in the heap's tables behind them, and into
 * nothing else.  All of memory but a few chunks is taken away first, so that what is free is known.
 */
#include "kernel/base/string.h"
#include "kernel/fault.h"
#include "mm/mm.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/slab/debug.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "tests/mm/page/free_case.h"
#include "tests/mm/page/hoard.h"
#include "tests/test.h"

#define FIELD_CHUNKS 4u
#define FIELD_PAGES  (FIELD_CHUNKS * CHUNK_PAGES)
#define RUNS         24u
#define STEPS        4000u
#define RUN_MIN      16u /* more than comes from windows */

/* The only memory that is free. */
static struct field {
    char *base;
    struct hoard *hoard;
    size_t free_before;
} field;

static bool field_open(struct test *t)
{
    mm_drain();
    field.free_before = page_free_count();
    field.base = page_alloc_aligned(FIELD_PAGES, CHUNK_PAGES, 0, 0);
    if (!EXPECT(t, field.base != NULL))
        return false;
    field.hoard = hoard_all_but(0);
    page_free(field.base, FIELD_PAGES);
    page_drain_all();
    return EXPECT(t, page_free_count() == FIELD_PAGES);
}

static void field_close(struct test *t)
{
    page_drain_all();
    EXPECT(t, page_free_count() == FIELD_PAGES);
    page_check();
    hoard_free(field.hoard);
    mm_drain();
    EXPECT(t, page_free_count() == field.free_before);
}

/* The run [page, page + pages) of the field, with all else of it free; a limit keeps it out of windows. */
static void *field_run(struct test *t, size_t page, size_t pages)
{
    void *below = page > 0 ? page_alloc_aligned(page, CHUNK_PAGES, MM_PHYS_BYTES, 0) : NULL;
    void *run = page_alloc_aligned(pages, 1, MM_PHYS_BYTES, 0);

    EXPECT(t, page == 0 || below == field.base);
    EXPECT(t, run == field.base + page * PAGE_BYTES);
    if (below != NULL)
        page_free(below, page);
    page_drain_all();
    return run;
}

static bool extends(void)
{
    return !page_debug_is_on(); /* which knows runs as they were handed out */
}

/* Within a block, to its end, across blocks, to a chunk's end, across chunks, to all there is. */
TEST(page_extend, takes_what_is_free_behind)
{
    static const struct {
        size_t page, pages, more;
    } cases[] = {{0, 1, 1},      {0, 3, 61},    {3, 20, 41},    {3, 20, 42},      {60, 4, 1},
                 {60, 4, 64},    {60, 4, 448},  {60, 4, 449},   {448, 64, 1},     {448, 64, 512},
                 {448, 63, 513}, {511, 1, 512}, {511, 1, 1024}, {500, 100, 1448}, {0, 1, 2047},
                 {2046, 1, 1},   {1, 511, 512}, {0, 512, 512},  {0, 512, 1536}};

    if (!field_open(t))
        return;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t pages = cases[i].pages, more = cases[i].more;
        void *run = field_run(t, cases[i].page, pages);

        EXPECT(t, page_extend(run, pages, more) == extends());
        if (extends())
            pages += more;
        EXPECT(t, page_free_count() == FIELD_PAGES - pages);
        page_check();
        page_free(run, pages);
        page_drain_all();
        EXPECT(t, page_free_count() == FIELD_PAGES);

        /* It was one run, and nothing is left of that. */
        run = page_alloc_aligned(FIELD_PAGES, 1, 0, 0);
        EXPECT(t, run == field.base);
        page_free(run, FIELD_PAGES);
        page_drain_all();
    }
    field_close(t);
}

TEST(page_extend, not_into_what_is_taken)
{
    if (!field_open(t))
        return;

    char *run = page_alloc_aligned(100, CHUNK_PAGES, 0, 0);
    char *next = page_alloc_aligned(100, 1, 0, 0);
    void *last = page_alloc_aligned(FIELD_PAGES - 200, 1, 0, 0);

    REQUIRE(t, run != NULL && next == run + 100 * PAGE_BYTES && last != NULL);
    EXPECT(t, !page_extend(run, 100, 1) && !page_extend(next, 100, 1));
    page_free(next, 100);
    page_drain_all();
    EXPECT(t, !page_extend(run, 100, 101));
    EXPECT(t, !page_extend(run, 100, 0));
    EXPECT(t, !page_extend(last, FIELD_PAGES - 200, 1)); /* the hoard's, or no memory */
    EXPECT(t, page_free_count() == 100);
    EXPECT(t, page_extend(run, 100, 100) == extends());
    EXPECT(t, !page_extend(run, extends() ? 200 : 100, extends() ? 1 : 101));
    page_check();
    page_free(run, extends() ? 200 : 100);
    page_free(last, FIELD_PAGES - 200);
    field_close(t);
}

/* The end of the node, of memory, of numbers. */
TEST(page_extend, not_beyond_the_end)
{
    if (!field_open(t))
        return;

    void *run = field_run(t, 0, 20);
    size_t page = ((uintptr_t)run - port_direct_base()) / PAGE_BYTES, node_end;

    (void)page_node_of(page, &node_end);
    EXPECT(t, !page_extend(run, 20, FIELD_PAGES - 20 + 1));
    EXPECT(t, !page_extend(run, 20, page_heap_of(page)->page_limit - page - 20 + 1));
    if (node_end != SIZE_MAX)
        EXPECT(t, !page_extend(run, 20, node_end - page - 20 + 1));
    EXPECT(t, !page_extend(run, 20, SIZE_MAX) && !page_extend(run, 20, SIZE_MAX - page - 20));
    EXPECT(t, !page_extend(run, 20, SIZE_MAX - page - 19) && !page_extend(run, 20, SIZE_MAX / 2));
    page_free(run, 20);
    field_close(t);
}

static void field_set_reserve(struct page_reserve to)
{
    size_t page = ((uintptr_t)field.base - port_direct_base()) / PAGE_BYTES;
    struct page_heap *heap = page_heap_of(page);
    unsigned long irq_state = page_heap_lock(heap);

    heap->reserve = to;
    page_heap_unlock(heap, irq_state);
}

TEST(page_extend, not_into_reserves)
{
    struct page_reserve none = {.device_end = PAGE_DMA_PAGES};

    if (!field_open(t))
        return;

    char *run = field_run(t, 0, 20);
    size_t behind = ((uintptr_t)run - port_direct_base()) / PAGE_BYTES + 100;

    /* So many pages are for PAGE_RESERVE only. */
    field_set_reserve(
        (struct page_reserve){.pages = FIELD_PAGES - 20 - 10, .device_end = PAGE_DMA_PAGES});
    EXPECT(t, !page_extend(run, 20, 11));
    EXPECT(t, page_extend(run, 20, 10) == extends());
    field_set_reserve(none);
    page_free(run, extends() ? 30 : 20);
    page_drain_all();

    /* Devices' part begins behind the run, in the same chunk or the next. */
    run = field_run(t, CHUNK_PAGES - 30, 20);
    behind = ((uintptr_t)run - port_direct_base()) / PAGE_BYTES + 30;
    if (behind >= PAGE_DMA_PAGES)
        field_set_reserve((struct page_reserve){.device_end = behind + CHUNK_PAGES});
    else
        field_set_reserve(
            (struct page_reserve){.low_end = behind + CHUNK_PAGES, .device_end = PAGE_DMA_PAGES});
    EXPECT(t, !page_extend(run, 20, 11));
    field_set_reserve(none);
    EXPECT(t, page_extend(run, 20, 11) == extends());
    page_free(run, extends() ? 31 : 20);
    field_close(t);
}

TEST(page_extend, fails_when_told_to)
{
    if (!field_open(t))
        return;

    void *run = field_run(t, 0, 20);

    fault_fail_nth(1);
    EXPECT(t, !page_extend(run, 20, 10));
    EXPECT(t, fault_disarm());
    EXPECT(t, page_free_count() == FIELD_PAGES - 20);
    page_free(run, 20);
    field_close(t);
}

static void extend_run(void *arg)
{
    const struct free_case *run = arg;

    (void)page_extend(run->addr, run->pages, 1);
}

TEST(page_extend, of_what_is_no_run_is_found)
{
    if (!extends()) {
        test_skip(t, "runs are as they were handed out");
        return;
    }
    if (!field_open(t))
        return;

    char *run = field_run(t, 50, 100), *behind = run + 100 * PAGE_BYTES;
    struct free_case shorter = {run, 99}, longer = {run, 101}, inside = {run + PAGE_BYTES, 99};
    struct free_case odd = {run + 8, 100}, none = {run, 0}, too_many = {run, SIZE_MAX / 2};
    struct free_case outside = {run - (1ul << 46), 1}, is_free = {behind, 1};

    EXPECT_PANIC(t, extend_run, &shorter, "wrong length");
    EXPECT_PANIC(t, extend_run, &longer, "wrong length");
    EXPECT_PANIC(t, extend_run, &inside, "inside a run");
    EXPECT_PANIC(t, extend_run, &is_free, "not handed out");
    EXPECT_PANIC(t, extend_run, &odd, "not the address of a page");
    EXPECT_PANIC(t, extend_run, &none, "not pages of the heap");
    EXPECT_PANIC(t, extend_run, &too_many, "not pages of the heap");
    EXPECT_PANIC(t, extend_run, &outside, "not pages of the heap");
    EXPECT_PANIC(t, extend_run, &odd, "page_extend(0x");
    page_free(run, 100);
    field_close(t);
}

TEST(page_extend, is_freed_as_a_whole)
{
    if (!field_open(t))
        return;

    char *run = field_run(t, 50, 20);
    struct free_case as_it_was = {run, 20}, the_rest = {run + 20 * PAGE_BYTES, 30},
                     too_much = {run, 51};

    if (page_extend(run, 20, 30)) {
        EXPECT_PANIC(t, free_run, &as_it_was, "50 pages");
        EXPECT_PANIC(t, free_run, &the_rest, "50 pages");
        EXPECT_PANIC(t, free_run, &too_much, "50 pages");
        page_free(run, 50);
    } else {
        EXPECT(t, !extends());
        page_free(run, 20);
    }
    field_close(t);
}

/* ---- A model ---- */

static uint8_t taken[FIELD_PAGES]; /* by page of the field: the number of the run, 0: free */

static struct run {
    char *addr; /* NULL: none */
    size_t pages;
} runs[RUNS + 1];

static size_t run_page(const struct run *run)
{
    return (size_t)(run->addr - field.base) / PAGE_BYTES;
}

static size_t free_behind(const struct run *run)
{
    size_t page = run_page(run) + run->pages, end = page;

    while (end < FIELD_PAGES && taken[end] == 0)
        end++;
    return end - page;
}

/* Who has the first and the last page says so in it. */
static void run_mark(struct test *t, const struct run *run, uint8_t number)
{
    for (size_t page = run_page(run); page < run_page(run) + run->pages; page++) {
        EXPECT(t, taken[page] == 0 || taken[page] == number);
        taken[page] = number;
        field.base[page * PAGE_BYTES] = (char)number;
    }
}

static void run_free(struct test *t, struct run *run, uint8_t number)
{
    for (size_t page = run_page(run); page < run_page(run) + run->pages; page++) {
        EXPECT(t, field.base[page * PAGE_BYTES] == (char)number);
        taken[page] = 0;
    }
    page_free(run->addr, run->pages);
    run->addr = NULL;
}

static void run_extend(struct test *t, struct run *run, uint8_t number, uint64_t random)
{
    size_t free = free_behind(run), more = 1 + random % MIN(free + 2, 1 + (random >> 32) % 600);
    bool is_drained = random >> 60 != 0;

    if (is_drained)
        page_drain_all();

    bool is_done = page_extend(run->addr, run->pages, more);

    EXPECT(t, !is_done || more <= free);
    EXPECT(t, is_done || more > free || !is_drained || !extends());
    if (!is_done)
        return;
    run->pages += more;
    run_mark(t, run, number);
}

TEST(page_extend, agrees_with_a_model)
{
    uint64_t state = test_seed(t);

    if (!field_open(t))
        return;
    memset(taken, 0, sizeof(taken));
    for (unsigned step = 0; step < STEPS && t->failures == 0; step++) {
        uint64_t random = random_next(&state);
        uint8_t number = (uint8_t)(1 + random % RUNS);
        struct run *run = &runs[number];

        if (run->addr == NULL) {
            run->pages = RUN_MIN + (random >> 8) % ((random >> 24) % 4 == 0 ? 600 : 60);
            run->addr = page_alloc(run->pages, 0);
            if (run->addr != NULL)
                run_mark(t, run, number);
        } else if ((random >> 8) % 3 == 0) {
            run_free(t, run, number);
        } else {
            run_extend(t, run, number, random_next(&state));
        }
        if (step % 64 == 0)
            page_check();
    }
    for (uint8_t number = 1; number <= RUNS; number++)
        if (runs[number].addr != NULL)
            run_free(t, &runs[number], number);
    field_close(t);
}

/* ---- krealloc ---- */

#define LARGE_BYTES (64 * KIB)

/* Large objects grow into free pages behind, and then are as if they had been so large. */
TEST(page_extend, krealloc_grows_where_it_is)
{
    if (slab_debug_flags(NULL) != 0 || !extends()) {
        test_skip(t, "objects are debugged");
        return;
    }

    char *keeps_descriptors = kmalloc(LARGE_BYTES); /* a page of them is not among the field's */

    if (!field_open(t))
        return;

    char *object = kmalloc(LARGE_BYTES);
    size_t span_bytes = span_stats().span_bytes, live = slab_stats().large_bytes;

    REQUIRE(t, object != NULL);
    memset(object, 0x5a, LARGE_BYTES);
    for (size_t bytes = LARGE_BYTES + 1; bytes < 4 * MIB; bytes += 300 * KIB) {
        EXPECT(t, krealloc(object, bytes) == object);
        EXPECT(t, ksize(object) == ALIGN_UP(bytes, GRANULE_BYTES));
        EXPECT(t, span_of(object + bytes - 1) == span_of(object));
        EXPECT(t, span_stats().span_bytes == span_bytes - LARGE_BYTES + ksize(object));
        EXPECT(t, slab_stats().large_bytes == live - LARGE_BYTES + ksize(object));
        object[bytes - 1] = 1;
        mm_check();
    }
    EXPECT(t, object[0] == 0x5a && object[LARGE_BYTES - 1] == 0x5a);

    /* What does not fit behind cannot be had elsewhere either, and changes nothing. */
    size_t had = ksize(object);

    EXPECT(t, krealloc(object, FIELD_PAGES * PAGE_BYTES + 1) == NULL && ksize(object) == had);
    kfree(object);
    mm_drain();
    EXPECT(t, span_of(object) == NULL && span_of(object + had - 1) == NULL);

    /* An object behind: now it moves. */
    object = kmalloc(LARGE_BYTES);
    memset(object, 0x5a, LARGE_BYTES);

    char *behind = kmalloc(LARGE_BYTES), *moved = krealloc(object, 2 * LARGE_BYTES);

    EXPECT(t, moved != NULL && moved != object);
    EXPECT(t, moved[0] == 0x5a && moved[LARGE_BYTES - 1] == 0x5a);
    kfree(moved);
    kfree(behind);
    mm_drain();
    field_close(t);
    kfree(keeps_descriptors);
}
