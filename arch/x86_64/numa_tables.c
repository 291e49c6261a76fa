/*
 * SRAT and SLIT, read.
 *
 *     SRAT  header, entries of a type, a length and contents: this CPU, or this range of memory,
 *           is in proximity domain D.  Domains are any 32-bit numbers
 *     SLIT  header, n, n x n bytes: the distance from domain i to domain j, 10 being local
 *
 * Idea: one walk over the SRAT's entries, each decoded to a struct affinity with all bounds
 * checked, serves three questions: which domains are there (they become nodes 0, 1 .. in ascending
 * order, so firmware that counts from 0 and the kernel agree on numbers), which memory is whose,
 * and where is one CPU.  A table with a fault is refused as a whole: half of the truth about memory
 * would look like a machine that exists.
 *
 * Source: ACPI specification 6.5, sections 5.2.16 and 5.2.17.
 */
#include "arch/x86_64/numa_tables.h"
#include "kernel/base/sort.h"

#define ACPI_HEADER_BYTES  36u
#define ACPI_REVISION_AT   8u
#define SRAT_HEADER_BYTES  (ACPI_HEADER_BYTES + 12u)
#define SLIT_HEADER_BYTES  (ACPI_HEADER_BYTES + 8u)
#define NUMA_PHYSICAL_MAX  (1ull << 52)
#define NUMA_MEMORY_LATER  2u /* in a memory entry's flags: hot-pluggable */
#define NUMA_ENTRY_ENABLED 1u

enum srat_type {
    SRAT_APIC = 0,
    SRAT_MEMORY = 1,
    SRAT_X2APIC = 2,
};

/* One entry of the SRAT; which part of the union counts follows from the type. */
struct srat_entry {
    uint8_t type, bytes;
    union {
        struct {
            uint8_t domain_low, apic_id;
            uint32_t flags;
            uint8_t sapic_eid, domain_high[3];
            uint32_t clock;
        } __attribute__((packed)) apic;
        struct {
            uint32_t domain;
            uint16_t reserved1;
            uint64_t base, bytes;
            uint32_t reserved2, flags;
            uint64_t reserved3;
        } __attribute__((packed)) memory;
        struct {
            uint16_t reserved1;
            uint32_t domain, apic_id, flags, clock, reserved2;
        } __attribute__((packed)) x2apic;
    };
} __attribute__((packed));

struct slit_table {
    uint8_t header[ACPI_HEADER_BYTES];
    uint64_t count;
    uint8_t distances[]; /* [from * count + to] */
} __attribute__((packed));

/* An entry that counts: a CPU or a range of memory, and its domain. */
struct affinity {
    uint32_t domain;
    bool is_memory;
    uint32_t apic_id;   /* of a CPU */
    uint64_t base, end; /* of memory, bytes */
};

struct srat_walk {
    const uint8_t *table;
    size_t bytes;
    size_t at, next; /* bytes from the table's start: the entry seen last, the one after it */
    struct numa_fault fault;
};

static bool numa_fail(struct srat_walk *walk, const char *what)
{
    walk->fault = (struct numa_fault){what, walk->at};
    return false;
}

/* Bytes that an entry of this type must have. */
static size_t srat_entry_bytes(uint8_t type)
{
    switch (type) {
    case SRAT_APIC:
        return 16;
    case SRAT_MEMORY:
        return 40;
    case SRAT_X2APIC:
        return 24;
    default:
        return 2;
    }
}

/* Whether the entry counts; what it says goes to *affinity. */
static bool srat_decode(const struct srat_entry *entry, bool is_first_revision,
                        struct affinity *affinity)
{
    /* In the first revision what is now the high part of a domain was reserved. */
    uint32_t domain_mask = is_first_revision ? UINT8_MAX : UINT32_MAX;

    *affinity = (struct affinity){.is_memory = entry->type == SRAT_MEMORY};
    switch (entry->type) {
    case SRAT_APIC:
        affinity->domain = (entry->apic.domain_low | (uint32_t)entry->apic.domain_high[0] << 8 |
                            (uint32_t)entry->apic.domain_high[1] << 16 |
                            (uint32_t)entry->apic.domain_high[2] << 24) &
                           domain_mask;
        affinity->apic_id = entry->apic.apic_id;
        return (entry->apic.flags & NUMA_ENTRY_ENABLED) != 0;
    case SRAT_X2APIC:
        affinity->domain = entry->x2apic.domain;
        affinity->apic_id = entry->x2apic.apic_id;
        return (entry->x2apic.flags & NUMA_ENTRY_ENABLED) != 0;
    case SRAT_MEMORY:
        affinity->domain = entry->memory.domain & domain_mask;
        affinity->base = entry->memory.base;
        affinity->end = entry->memory.base + entry->memory.bytes;
        return (entry->memory.flags & NUMA_ENTRY_ENABLED) != 0 &&
               (entry->memory.flags & NUMA_MEMORY_LATER) == 0 && entry->memory.bytes > 0;
    default:
        return false;
    }
}

static struct srat_walk srat_walk(const void *srat, size_t bytes)
{
    return (struct srat_walk){.table = srat, .bytes = bytes, .next = SRAT_HEADER_BYTES};
}

/* The next entry that counts; false: there is none, or walk->fault says what is wrong. */
static bool srat_next(struct srat_walk *walk, struct affinity *affinity)
{
    if (walk->bytes < SRAT_HEADER_BYTES)
        return numa_fail(walk, "shorter than its header");

    while (walk->next < walk->bytes) {
        const struct srat_entry *entry = (const struct srat_entry *)(walk->table + walk->next);
        size_t left = walk->bytes - walk->next;

        walk->at = walk->next;
        if (left < 2 || entry->bytes > left)
            return numa_fail(walk, "an entry runs past the table's end");
        if (entry->bytes < srat_entry_bytes(entry->type))
            return numa_fail(walk, "an entry is too short for its type");
        walk->next += entry->bytes;
        if (!srat_decode(entry, walk->table[ACPI_REVISION_AT] < 2, affinity))
            continue;
        if (affinity->is_memory &&
            (affinity->end < affinity->base || affinity->end > NUMA_PHYSICAL_MAX))
            return numa_fail(walk, "memory past the physical addresses that there are");
        return true;
    }
    return false;
}

/* ---- Domains become nodes ---- */

/* The first node whose domain is not below; node_count: none. */
static unsigned numa_find(const struct numa *numa, uint32_t domain)
{
    unsigned node = 0;

    while (node < numa->node_count && numa->domains[node] < domain)
        node++;
    return node;
}

static bool numa_add_domain(struct numa *numa, uint32_t domain)
{
    unsigned node = numa_find(numa, domain);

    if (node < numa->node_count && numa->domains[node] == domain)
        return true;
    if (numa->node_count == ARCH_NODE_MAX)
        return false;
    for (unsigned i = numa->node_count++; i > node; i--)
        numa->domains[i] = numa->domains[i - 1];
    numa->domains[node] = domain;
    return true;
}

static void numa_read_domains(struct numa *numa, struct srat_walk *walk)
{
    struct affinity affinity;

    numa->node_count = 0;
    while (srat_next(walk, &affinity)) {
        if (!numa_add_domain(numa, affinity.domain)) {
            numa_fail(walk, "more than 64 proximity domains");
            return;
        }
    }
    numa->node_count = MAX(numa->node_count, 1u);
}
_Static_assert(ARCH_NODE_MAX == 64, "the message names it");

/* ---- Memory ---- */

static int numa_compare_ranges(const void *a, const void *b)
{
    uint64_t left = ((const struct arch_node_range *)a)->base;
    uint64_t right = ((const struct arch_node_range *)b)->base;

    return (left > right) - (left < right);
}

/* A page is where its first byte is, so both ends go up to a page. */
static void numa_read_ranges(struct numa *numa, struct srat_walk *walk)
{
    struct affinity affinity;

    while (srat_next(walk, &affinity)) {
        uint64_t base = ALIGN_UP(affinity.base, ARCH_PAGE_BYTES);
        uint64_t end = ALIGN_UP(affinity.end, ARCH_PAGE_BYTES);

        if (!affinity.is_memory || base == end)
            continue;
        if (numa->range_count == ARCH_NODE_RANGE_MAX) {
            numa_fail(walk, "more than 256 ranges of memory");
            return;
        }
        numa->ranges[numa->range_count++] =
            (struct arch_node_range){base, end - base, numa_find(numa, affinity.domain)};
    }
}
_Static_assert(ARCH_NODE_RANGE_MAX == 256, "the message names it");

/* Sort, and make one of neighbours on the same node. */
static struct numa_fault numa_join_ranges(struct numa *numa)
{
    struct arch_node_range *ranges = numa->ranges;
    size_t count = 0;

    sort(ranges, numa->range_count, sizeof(*ranges), numa_compare_ranges);
    for (size_t i = 0; i < numa->range_count; i++) {
        struct arch_node_range *last = count > 0 ? &ranges[count - 1] : NULL;
        uint64_t last_end = last != NULL ? last->base + last->bytes : 0;

        if (last == NULL || last_end < ranges[i].base ||
            (last_end == ranges[i].base && last->node != ranges[i].node))
            ranges[count++] = ranges[i];
        else if (last->node == ranges[i].node)
            last->bytes = MAX(last_end, ranges[i].base + ranges[i].bytes) - last->base;
        else
            return (struct numa_fault){"memory of two proximity domains overlaps", 0};
    }
    numa->range_count = count;
    return (struct numa_fault){NULL, 0};
}

/* ---- The tables ---- */

void numa_one_node(struct numa *numa)
{
    numa->node_count = 1;
    numa->domains[0] = 0;
    numa->range_count = 0;
    for (unsigned from = 0; from < ARCH_NODE_MAX; from++)
        for (unsigned to = 0; to < ARCH_NODE_MAX; to++)
            numa->distances[from][to] =
                from == to ? ARCH_NODE_DISTANCE_LOCAL : ARCH_NODE_DISTANCE_REMOTE;
}

struct numa_fault numa_read_srat(struct numa *numa, const void *srat, size_t bytes)
{
    struct srat_walk domains = srat_walk(srat, bytes), ranges = srat_walk(srat, bytes);
    struct numa_fault fault;

    numa_one_node(numa);
    numa_read_domains(numa, &domains);
    fault = domains.fault;
    if (fault.what == NULL) {
        numa_read_ranges(numa, &ranges);
        fault = ranges.fault;
    }
    if (fault.what == NULL)
        fault = numa_join_ranges(numa);
    if (fault.what != NULL)
        numa_one_node(numa);
    return fault;
}

struct numa_fault numa_read_slit(struct numa *numa, const void *slit, size_t bytes)
{
    const struct slit_table *table = slit;

    if (bytes < SLIT_HEADER_BYTES)
        return (struct numa_fault){"shorter than its header", 0};

    uint64_t room = bytes - SLIT_HEADER_BYTES, count = table->count;

    if (count > room || count * count > room)
        return (struct numa_fault){"fewer distances than its count says", ACPI_HEADER_BYTES};
    for (size_t i = 0; i < count * count; i++) {
        bool is_local = i / count == i % count;

        if (is_local ? table->distances[i] != ARCH_NODE_DISTANCE_LOCAL
                     : table->distances[i] <= ARCH_NODE_DISTANCE_LOCAL)
            return (struct numa_fault){is_local ? "a domain's distance to itself is not 10"
                                                : "a distance to another domain is not above 10",
                                       SLIT_HEADER_BYTES + i};
    }
    for (unsigned from = 0; from < numa->node_count; from++)
        for (unsigned to = 0; to < numa->node_count; to++)
            if (numa->domains[from] < count && numa->domains[to] < count)
                numa->distances[from][to] =
                    table->distances[numa->domains[from] * count + numa->domains[to]];
    return (struct numa_fault){NULL, 0};
}

unsigned numa_cpu_node(const struct numa *numa, const void *srat, size_t bytes, uint32_t apic_id)
{
    struct srat_walk walk = srat_walk(srat, bytes);
    struct affinity affinity;

    while (srat_next(&walk, &affinity)) {
        unsigned node = numa_find(numa, affinity.domain);

        if (!affinity.is_memory && affinity.apic_id == apic_id && node < numa->node_count &&
            numa->domains[node] == affinity.domain)
            return node;
    }
    return 0;
}
