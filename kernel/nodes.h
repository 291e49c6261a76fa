/*
 * Nodes: which memory and which CPUs are near each other (NUMA).  As the port found them, or, with
 * nodes=N, N of about the same memory each that only the kernel believes in: CPUs take turns, each
 * node is as far from the others as the next, and nodes=1 has the firmware's ignored.
 *
 * All of it: any context, constant from before mm_init on, but for CPUs that have not started.
 */
#pragma once

#include "arch/arch.h"

#define NODE_MAX       ARCH_NODE_MAX
#define NODE_PARTS_MAX ARCH_NODE_RANGE_MAX /* into which node_of may cut the address space */

/*
 * nodes_pretend -- boot CPU, once, before the first use.
 *   ends  physical: node i has what lies below ends[i] and not below ends[i - 1]; the last: 2^64 - 1
 */
void nodes_pretend(const uint64_t *ends, unsigned count);

unsigned node_count(void); /* nodes are 0 .. node_count() - 1, at most NODE_MAX */
unsigned node_of_cpu(unsigned cpu);
unsigned node_distance(unsigned from, unsigned to); /* 10: local; the farther the larger */

/*
 * node_of -- the node of a physical address; where nothing is said of it, that of the next above
 * of which something is, else of the last below.
 *   end  out: all of [address, *end) is on it; UINT64_MAX: and all above
 */
unsigned node_of(uint64_t address, uint64_t *end);

void nodes_report(void); /* a line for each, unless there is one */
