/* Each invariant of the page heap, broken by hand: the check says which. */
#include "tests/mm/page/private_heap.h"
#include "tests/test.h"

static struct page_heap *heap_to_break(void)
{
    static struct private_heap private;

    CHECK(private_heap_create(&private, PAGE_ARENA_PAGES));
    private_heap_add(&private, 256, PAGE_ARENA_PAGES - 300);
    CHECK(private_heap_alloc(&private, 1000, 1, PAGE_NONE) == PAGE_DMA_PAGES);
    page_heap_check(&private.heap);
    return &private.heap;
}

static void break_p1(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_block_set_free(&heap->blocks[0], 1);
    page_heap_check(heap);
}

static void break_p2_leaf(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->levels[0][20].max--;
    page_heap_check(heap);
}

static void break_p2_root(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->levels[heap->top][0].whole = 0;
    page_heap_check(heap);
}

/* A byte of a block that nothing else shows. */
static void break_p2_block(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->levels[0][20].block_max.at[3]--;
    page_heap_check(heap);
}

static void break_p3(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->free_pages++;
    page_heap_check(heap);
}

static void break_p4(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->hints[PAGE_HINTS - 1] = PAGE_ARENA_PAGES / CHUNK_PAGES;
    page_heap_check(heap);
}

/* Hints that do not grow with their lengths. */
static void break_p4_order(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->hints[1] = heap->hints[0] - 1;
    page_heap_check(heap);
}

static void break_p5(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_block_set_window(&heap->blocks[0], 1);
    atomic_store(&heap->blocks[0].present, 1);
    page_heap_check(heap);
}

static void break_p7(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_block_set_joined(&heap->blocks[5], 1ull << 63);
    page_heap_check(heap);
}

static void break_p7_absent(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_block_set_joined(&heap->blocks[0], 1);
    page_heap_check(heap);
}

static void break_p8(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->scavenged_pages++;
    page_heap_check(heap);
}

/* Operations that would break P1 or P3 are refused at once. */
static void add_twice(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_lock(heap);
    page_heap_add(heap, 300, 1);
}

static void take_what_is_taken(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_lock(heap);
    page_heap_take(heap, PAGE_DMA_PAGES + 999, 2);
}

static void hold_what_is_held(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_lock(heap);
    page_heap_hold(heap, 300 / PAGE_BLOCK_PAGES, 0);
    page_heap_hold(heap, 300 / PAGE_BLOCK_PAGES, 1);
}

static void release_what_is_absent(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_lock(heap);
    page_heap_hold(heap, 0, 0);
    page_block_set_window(&heap->blocks[0], 1);
    page_heap_release(heap, 0);
}

TEST(page, operations_refuse_what_breaks_an_invariant)
{
    EXPECT_PANIC(t, add_twice, NULL, "present");
    EXPECT_PANIC(t, take_what_is_taken, NULL, "free");
    EXPECT_PANIC(t, hold_what_is_held, NULL, "is_held");
    EXPECT_PANIC(t, release_what_is_absent, NULL, "present");
}

TEST(page, check_names_the_broken_invariant)
{
    EXPECT_PANIC(t, break_p1, NULL, "page heap: P1");
    EXPECT_PANIC(t, break_p2_leaf, NULL, "page heap: P2: level 0 entry 20");
    EXPECT_PANIC(t, break_p2_root, NULL, "page heap: P2: level 1 entry 0");
    EXPECT_PANIC(t, break_p2_block, NULL, "page heap: P2: level 0 entry 20");
    EXPECT_PANIC(t, break_p3, NULL, "page heap: P3");
    EXPECT_PANIC(t, break_p4, NULL, "page heap: P4: pages");
    EXPECT_PANIC(t, break_p4_order, NULL, "page heap: P4: hint");
    EXPECT_PANIC(t, break_p5, NULL, "page heap: P5");
    EXPECT_PANIC(t, break_p7, NULL, "page heap: P7");
    EXPECT_PANIC(t, break_p7_absent, NULL, "page heap: P7");
    EXPECT_PANIC(t, break_p8, NULL, "page heap: P8");
}
