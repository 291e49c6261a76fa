/* Nodes (kernel/nodes.h): the port's, or pretended ones. */
#include "kernel/nodes.h"
#include "kernel/base/format.h"
#include "kernel/cpus.h"
#include "kernel/print.h"

static unsigned nodes_pretended;                     /* [C] 0: the port's are taken */
static struct arch_node_range nodes_parts[NODE_MAX]; /* [C] of pretended nodes */

void nodes_pretend(const uint64_t *ends, unsigned count)
{
    uint64_t base = 0;

    for (unsigned node = 0; node < count; node++) {
        nodes_parts[node] = (struct arch_node_range){base, ends[node] - base, node};
        base = ends[node];
    }
    nodes_pretended = count;
}

unsigned node_count(void)
{
    return nodes_pretended != 0 ? nodes_pretended : arch_node_count();
}

unsigned node_of_cpu(unsigned cpu)
{
    return nodes_pretended != 0 ? cpu % nodes_pretended : arch_cpu_node(cpu);
}

unsigned node_distance(unsigned from, unsigned to)
{
    if (nodes_pretended == 0)
        return arch_node_distance(from, to);
    return from == to ? ARCH_NODE_DISTANCE_LOCAL : ARCH_NODE_DISTANCE_REMOTE;
}

static size_t nodes_ranges(const struct arch_node_range **ranges)
{
    if (nodes_pretended == 0)
        return arch_node_ranges(ranges);
    *ranges = nodes_parts;
    return nodes_pretended;
}

unsigned node_of(uint64_t address, uint64_t *end)
{
    const struct arch_node_range *ranges;
    size_t count = nodes_ranges(&ranges), i = 0;

    while (i + 1 < count && ranges[i].base + ranges[i].bytes <= address)
        i++;
    *end = i + 1 < count ? ranges[i].base + ranges[i].bytes : UINT64_MAX;
    return count > 0 ? ranges[i].node : 0;
}

/* " 0-3 8" of the CPUs that run on a node, or " none". */
static void nodes_print_cpus(char *text, size_t bytes, unsigned node)
{
    size_t at = 0;
    unsigned cpus = cpus_online();

    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        unsigned first = cpu;

        if (node_of_cpu(cpu) != node)
            continue;
        while (cpu + 1 < cpus && node_of_cpu(cpu + 1) == node)
            cpu++;
        at += first == cpu ? format_string(text + at, bytes - at, " %u", first)
                           : format_string(text + at, bytes - at, " %u-%u", first, cpu);
    }
    if (at == 0)
        format_string(text, bytes, " none");
}

static void nodes_print_distances(char *text, size_t bytes, unsigned node)
{
    size_t at = 0;

    for (unsigned to = 0; to < node_count(); to++)
        at += format_string(text + at, bytes - at, " %u", node_distance(node, to));
}

void nodes_report(void)
{
    char cpus[ARCH_CPU_MAX * 4], distances[NODE_MAX * 4 + 1];

    if (node_count() == 1)
        return;
    for (unsigned node = 0; node < node_count(); node++) {
        nodes_print_cpus(cpus, sizeof(cpus), node);
        nodes_print_distances(distances, sizeof(distances), node);
        printk("node %u: CPUs%s; distances%s\n", node, cpus, distances);
    }
}
