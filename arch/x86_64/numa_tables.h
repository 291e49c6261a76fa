/*
 * What ACPI's SRAT and SLIT say: which memory and which CPUs are near each other, and how far the
 * others are.  Pure: bytes in, struct numa out, so that hosted tests and a fuzzer run it too.
 */
#pragma once

#include "arch/arch.h"

struct numa {
    unsigned node_count;             /* 1 .. ARCH_NODE_MAX */
    size_t range_count;              /* may be 0 */
    uint32_t domains[ARCH_NODE_MAX]; /* the firmware's proximity domain of each node; ascending */
    struct arch_node_range ranges[ARCH_NODE_RANGE_MAX]; /* ascending, disjoint, whole pages */
    uint8_t distances[ARCH_NODE_MAX][ARCH_NODE_MAX];
};

/* What is wrong with a table: the first fault, and at which of its bytes; NULL: nothing. */
struct numa_fault {
    const char *what;
    size_t at;
};

/* One node that has all memory and all CPUs; distances are those without a SLIT. */
void numa_one_node(struct numa *numa);

/*
 * numa_read_srat -- fill *numa from a SRAT whose length and checksum are right.  Entries that are
 * not enabled, and memory that may be plugged in later, count for nothing.
 *   returns  the fault for which it is refused; *numa then has one node
 */
struct numa_fault numa_read_srat(struct numa *numa, const void *srat, size_t bytes);

/*
 * numa_read_slit -- the distances between nodes of *numa, from a SLIT whose length and checksum are
 * right; where it has none they stay.
 *   returns  the fault for which it is refused; the distances then stay as they were
 */
struct numa_fault numa_read_slit(struct numa *numa, const void *slit, size_t bytes);

/* The node of a CPU by a SRAT that numa_read_srat has taken; 0 where it does not say. */
unsigned numa_cpu_node(const struct numa *numa, const void *srat, size_t bytes, uint32_t apic_id);
