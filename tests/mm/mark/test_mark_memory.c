/* The marker's side memory: what it costs, and that it comes back. */
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "mm/span/span_each.h"
#include "tests/mm/mark/nodes.h"
#include "tests/test.h"

static void count_span(struct span *span, void *arg)
{
    (void)span;
    ++*(size_t *)arg;
}

static void add_piece(uintptr_t start, uintptr_t end, void *arg)
{
    *(size_t *)arg += (end - start) / PAGE_BYTES;
}

TEST(mark, side_memory_is_what_the_header_says)
{
    enum { OBJECTS = 200000 };
    struct node *list = NULL;
    struct mark mark;

    for (unsigned i = 0; i < OBJECTS; i++)
        REQUIRE(t, (list = node_new(128, list, NULL)) != NULL);

    size_t free_pages = page_free_count(), spans = 0, pages = 0;

    REQUIRE(t, mark_open(&mark, &nodes_heap));
    span_each(count_span, &spans);
    mark_each_piece(&mark, add_piece, &pages);
    EXPECT(t, mark.spans == spans && spans == span_stats().spans);
    EXPECT(t, free_pages - page_free_count() == mark.side_pages && pages == mark.side_pages);
    EXPECT(t, mark.side_pages * PAGE_BYTES <
                  span_stats().span_bytes * 7 / 1000 + mark.chunk_count * 8 + 64 * PAGE_BYTES);
    EXPECT(t, mark_has(&mark, list) && !mark_has(&mark, mark.chunks));
    mark_close(&mark);
    EXPECT(t, page_free_count() == free_pages);
    list_free(list);
}

TEST(mark, open_unwinds_every_failure)
{
    static const size_t sizes[] = {32, 480, 6528, 70000};
    struct node *nodes[ARRAY_COUNT(sizes)];
    struct mark mark;
    unsigned nth = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++)
        REQUIRE(t, (nodes[i] = node_new(sizes[i], NULL, NULL)) != NULL);
    for (bool fired = true; fired;) {
        fault_fail_nth(++nth);

        size_t free_pages = page_free_count();
        bool done = mark_open(&mark, &nodes_heap);

        fired = fault_disarm();
        EXPECT(t, done == !fired);
        if (done)
            mark_close(&mark);
        EXPECT(t, page_free_count() == free_pages);
    }
    EXPECT(t, nth >= 3); /* the table and a piece */
    for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++)
        node_free(nodes[i]);
}
