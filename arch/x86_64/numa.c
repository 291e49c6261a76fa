/*
 * Nodes, as the firmware says: SRAT and SLIT through the port's window, read by numa_tables.c.
 *
 * The memory half is needed before the page heap opens, the CPUs only once the MADT has been read;
 * the CPU that boots is asked for its APIC id by CPUID, since its local APIC is not in use yet.
 *
 * Locks: none; everything is constant once the CPUs start.
 */
#include "arch/x86_64/numa.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/numa_tables.h"

static struct numa numa;                 /* [C] from arch_node_init on */
static unsigned cpu_nodes[ARCH_CPU_MAX]; /* [C] from numa_place_cpus on; [0] from the start */

/* The table, with what is wrong with it said; `otherwise`: what the kernel does then. */
static bool numa_is_taken(const char *table, struct numa_fault fault, const char *otherwise)
{
    if (fault.what != NULL)
        kernel_log("acpi: %s: byte %zu: %s: %s", table, fault.at, fault.what, otherwise);
    return fault.what == NULL;
}

/* The initial APIC id of this CPU. */
static uint32_t numa_boot_apic_id(void)
{
    struct cpuid topology = cpuid(0xb);

    return topology.ebx != 0 ? topology.edx : cpuid(1).ebx >> 24;
}

void arch_node_init(uint64_t rsdp)
{
    const struct acpi_header *table = NULL;

    numa_one_node(&numa);
    if (acpi_init(rsdp))
        table = acpi_table("SRAT");
    if (table == NULL ||
        !numa_is_taken("SRAT", numa_read_srat(&numa, table, table->bytes), "one node"))
        return;
    cpu_nodes[0] = numa_cpu_node(&numa, table, table->bytes, numa_boot_apic_id());
    table = acpi_table("SLIT");
    if (table != NULL)
        numa_is_taken("SLIT", numa_read_slit(&numa, table, table->bytes), "distances unknown");
}

void numa_place_cpus(void)
{
    const struct acpi_header *srat = numa.node_count > 1 ? acpi_table("SRAT") : NULL;

    for (unsigned cpu = 0; srat != NULL && cpu < arch_cpu_count(); cpu++)
        cpu_nodes[cpu] = numa_cpu_node(&numa, srat, srat->bytes, cpu_blocks[cpu].apic_id);
}

unsigned arch_node_count(void)
{
    return numa.node_count;
}

unsigned arch_cpu_node(unsigned cpu)
{
    return cpu_nodes[cpu];
}

unsigned arch_node_distance(unsigned from, unsigned to)
{
    return numa.distances[from][to];
}

size_t arch_node_ranges(const struct arch_node_range **ranges)
{
    *ranges = numa.ranges;
    return numa.range_count;
}
