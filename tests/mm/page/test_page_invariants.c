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
    heap->levels[0][20]--;
    page_heap_check(heap);
}

static void break_p2_root(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    heap->levels[heap->top][0] = 0;
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
    heap->low = PAGE_DMA_PAGES + 1001;
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

static void put_back_what_is_free(void *unused)
{
    struct page_heap *heap = heap_to_break();

    (void)unused;
    page_heap_lock(heap);
    page_heap_put_block(heap, 300 / PAGE_BLOCK_PAGES, 1);
}

TEST(page, operations_refuse_what_breaks_an_invariant)
{
    EXPECT_PANIC(t, add_twice, NULL, "present");
    EXPECT_PANIC(t, take_what_is_taken, NULL, "free");
    EXPECT_PANIC(t, put_back_what_is_free, NULL, "free");
}

TEST(page, check_names_the_broken_invariant)
{
    EXPECT_PANIC(t, break_p1, NULL, "page heap: P1");
    EXPECT_PANIC(t, break_p2_leaf, NULL, "page heap: P2: level 0 entry 20");
    EXPECT_PANIC(t, break_p2_root, NULL, "page heap: P2: level 1 entry 0");
    EXPECT_PANIC(t, break_p3, NULL, "page heap: P3");
    EXPECT_PANIC(t, break_p4, NULL, "page heap: P4");
}
