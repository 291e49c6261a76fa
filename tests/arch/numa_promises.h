/* What struct numa owes its readers, whatever the tables hold.  In a header, for the fuzzer too. */
#pragma once

#include "arch/x86_64/numa_tables.h"

/* Which promise is broken; NULL: none. */
static inline const char *numa_promises_broken(const struct numa *numa)
{
    uint64_t end = 0;

    if (numa->node_count == 0 || numa->node_count > ARCH_NODE_MAX)
        return "1 to 64 nodes";
    for (unsigned node = 1; node < numa->node_count; node++)
        if (numa->domains[node] <= numa->domains[node - 1])
            return "domains ascend";
    if (numa->range_count > ARCH_NODE_RANGE_MAX)
        return "as many ranges as there is room for";
    for (size_t i = 0; i < numa->range_count; i++) {
        const struct arch_node_range *range = &numa->ranges[i];

        if (range->node >= numa->node_count)
            return "a range is on a node";
        if (!IS_ALIGNED(range->base | range->bytes, ARCH_PAGE_BYTES) || range->bytes == 0)
            return "a range is whole pages";
        if (range->base < end || range->base + range->bytes < range->base)
            return "ranges ascend and are disjoint";
        if (i > 0 && range->base == end && range->node == numa->ranges[i - 1].node)
            return "neighbours on one node are one range";
        end = range->base + range->bytes;
    }
    for (unsigned from = 0; from < numa->node_count; from++)
        for (unsigned to = 0; to < numa->node_count; to++)
            if (from == to ? numa->distances[from][to] != ARCH_NODE_DISTANCE_LOCAL
                           : numa->distances[from][to] <= ARCH_NODE_DISTANCE_LOCAL)
                return "only local memory is at 10";
    return NULL;
}
