/* Nodes: every address is on one, distances are a port's or pretended. */
#include "kernel/nodes.h"
#include "tests/test.h"

TEST(nodes, every_address_is_on_one)
{
    uint64_t address = 0, end = 0;
    unsigned parts = 0;

    for (; end != UINT64_MAX; address = end, parts++) {
        unsigned node = node_of(address, &end);

        REQUIRE(t, node < node_count() && end > address && parts < NODE_PARTS_MAX);
        EXPECT(t, IS_ALIGNED(end, ARCH_PAGE_BYTES) || end == UINT64_MAX);
        uint64_t same_end;
        EXPECT(t, node_of(end - 1, &same_end) == node && same_end == end);
    }
}

TEST(nodes, only_local_memory_is_at_10)
{
    EXPECT(t, node_count() >= 1 && node_count() <= NODE_MAX);
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++)
        EXPECT(t, node_of_cpu(cpu) < node_count());
    for (unsigned from = 0; from < node_count(); from++)
        for (unsigned to = 0; to < node_count(); to++)
            EXPECT(t, (node_distance(from, to) == 10) == (from == to) &&
                          node_distance(from, to) >= 10);
}
