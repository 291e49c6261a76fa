/* How memory opened at start-up: nothing lost, little taken. */
#include "kernel/stat.h"
#include "mm/mm.h"
#include "mm/page/arena.h"
#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define RAM_BYTES_MIN (48 * MIB) /* what firmware leaves of 64 MiB */

/* Each page that the early allocator left is the heap's, in a table, or left out and counted. */
TEST(page, opening_loses_nothing)
{
    size_t others = page_table_bytes() / PAGE_BYTES + stat_read(stat_find("page", "left_out"));
    size_t opened = 0;

    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        opened += page_opened_by(cpu);
    EXPECT(t, opened + others == page_nodes_memory());
    EXPECT(t, page_stats().ram_pages >= opened); /* more: what start-up has given back */
}

TEST(page, metadata_is_half_a_percent_at_most)
{
    struct mm_stats stats = mm_stats();

    if (page_debug.has_owners || stats.ram_bytes < RAM_BYTES_MIN) {
        test_skip(t, "little memory, or the table of owners");
        return;
    }
    mm_drain();
    stats = mm_stats();
    EXPECT(t, stats.meta_bytes * 200 <= stats.ram_bytes);
    EXPECT(t, page_table_bytes() < stats.meta_bytes);
}

/* Stores are as large as tables can need: nothing was left out, and the rest came back. */
TEST(page, tables_take_no_more_than_was_planned)
{
    size_t arenas = page_arena_limit();

    EXPECT(t, page_table_bytes() / PAGE_BYTES <= page_arenas_cost(arenas, arenas));
    EXPECT(t, stat_read(stat_find("page", "left_out")) <= PAGE_BLOCK_PAGES);
}
