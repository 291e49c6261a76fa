/*
 * SRAT and SLIT: a sound pair, and for each check the smallest change that only it refuses.
 */
#include "arch/x86_64/numa_tables.h"
#include "kernel/base/string.h"
#include "tests/arch/numa_promises.h"
#include "tests/test.h"

#define TABLE_BYTES   12288u
#define SRAT_HEADER   48u
#define SLIT_HEADER   44u
#define MEMORY_BYTES  40u
#define RANDOM_ROUNDS 3000u

enum memory_flags { OFF, ON, LATER = 3 };

static uint8_t numa_table[TABLE_BYTES];
static size_t numa_bytes;
static struct numa numa_got;

static void numa_put(size_t at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        numa_table[at + i] = (uint8_t)(value >> (8 * i));
}

static void srat_begin(unsigned revision)
{
    memset(numa_table, 0, sizeof(numa_table));
    numa_table[8] = (uint8_t)revision;
    numa_bytes = SRAT_HEADER;
}

/* Room for an entry; returns where it is. */
static size_t srat_entry(unsigned type, unsigned bytes)
{
    size_t at = numa_bytes;

    numa_put(at, 1, type);
    numa_put(at + 1, 1, bytes);
    numa_bytes += bytes;
    return at;
}

static void srat_memory(uint32_t domain, uint64_t base, uint64_t bytes, enum memory_flags flags)
{
    size_t at = srat_entry(1, MEMORY_BYTES);

    numa_put(at + 2, 4, domain);
    numa_put(at + 8, 8, base);
    numa_put(at + 16, 8, bytes);
    numa_put(at + 28, 4, flags);
}

static void srat_apic(uint32_t domain, uint8_t apic_id, uint32_t flags)
{
    size_t at = srat_entry(0, 16);

    numa_put(at + 2, 1, domain);
    numa_put(at + 3, 1, apic_id);
    numa_put(at + 4, 4, flags);
    numa_put(at + 9, 3, domain >> 8);
}

static void srat_x2apic(uint32_t domain, uint32_t apic_id, uint32_t flags)
{
    size_t at = srat_entry(2, 24);

    numa_put(at + 4, 4, domain);
    numa_put(at + 8, 4, apic_id);
    numa_put(at + 12, 4, flags);
}

static void slit_begin(uint64_t count)
{
    memset(numa_table, 0, sizeof(numa_table));
    numa_put(36, 8, count);
    numa_bytes = SLIT_HEADER + count * count;
    for (size_t i = 0; i < count * count; i++)
        numa_table[SLIT_HEADER + i] = i / count == i % count ? 10 : 21;
}

static struct numa_fault srat_read(void)
{
    return numa_read_srat(&numa_got, numa_table, numa_bytes);
}

static struct numa_fault slit_read(void)
{
    return numa_read_slit(&numa_got, numa_table, numa_bytes);
}

static bool range_is(size_t i, uint64_t base, uint64_t end, unsigned node)
{
    const struct arch_node_range *range = &numa_got.ranges[i];

    return i < numa_got.range_count && range->base == base && range->base + range->bytes == end &&
           range->node == node;
}

static unsigned cpu_node(uint32_t apic_id)
{
    return numa_cpu_node(&numa_got, numa_table, numa_bytes, apic_id);
}

/* Three domains, out of order, with holes between their numbers. */
static void srat_sound(void)
{
    srat_begin(3);
    srat_x2apic(0x12345678, 300, ON);
    srat_apic(7, 1, ON);
    srat_memory(7, 4 * GIB, GIB, ON);
    srat_memory(0x12345678, 5 * GIB, 2 * GIB, ON);
    srat_memory(2, 0, 640 * KIB, ON);
    srat_memory(2, MIB, 3 * GIB - MIB, ON);
    srat_apic(2, 0, ON);
}

TEST(numa, tables_become_nodes)
{
    srat_sound();
    EXPECT(t, srat_read().what == NULL && numa_promises_broken(&numa_got) == NULL);
    EXPECT(t, numa_got.node_count == 3 && numa_got.range_count == 4);
    EXPECT(t, range_is(0, 0, 640 * KIB, 0) && range_is(1, MIB, 3 * GIB, 0));
    EXPECT(t, range_is(2, 4 * GIB, 5 * GIB, 1) && range_is(3, 5 * GIB, 7 * GIB, 2));
    EXPECT(t, cpu_node(0) == 0 && cpu_node(1) == 1 && cpu_node(300) == 2);
    EXPECT(t, cpu_node(5) == 0); /* nothing is said of it */
    EXPECT(t, numa_got.distances[0][0] == 10 && numa_got.distances[0][2] == 20);

    slit_begin(8); /* domain 0x12345678 is not in it */
    numa_table[SLIT_HEADER + 2 * 8 + 7] = 17;
    numa_table[SLIT_HEADER + 7 * 8 + 2] = 255;
    EXPECT(t, slit_read().what == NULL);
    EXPECT(t, numa_got.distances[0][1] == 17 && numa_got.distances[1][0] == 255);
    EXPECT(t, numa_got.distances[0][2] == 20 && numa_got.distances[1][1] == 10);
}

TEST(numa, entries_that_do_not_count)
{
    srat_begin(3);
    srat_apic(1, 1, OFF);
    srat_x2apic(2, 2, OFF);
    srat_memory(3, 0, GIB, OFF);
    srat_memory(4, GIB, GIB, LATER);
    srat_memory(5, 2 * GIB, 0, ON);
    srat_entry(200, 2);
    srat_memory(9, 3 * GIB, GIB, ON);
    EXPECT(t, srat_read().what == NULL && numa_got.node_count == 1);
    EXPECT(t, numa_got.domains[0] == 9 && numa_got.range_count == 1 && cpu_node(1) == 0);

    srat_begin(3);
    EXPECT(t, srat_read().what == NULL && numa_got.node_count == 1 && numa_got.range_count == 0);
}

TEST(numa, first_revision_has_small_domains)
{
    srat_begin(1);
    srat_apic(0xffffff01, 1, ON);
    srat_memory(0xffffff02, 0, GIB, ON);
    EXPECT(t, srat_read().what == NULL && numa_got.node_count == 2);
    EXPECT(t, numa_got.domains[0] == 1 && numa_got.domains[1] == 2);

    srat_begin(2);
    srat_apic(0xffffff01, 1, ON);
    EXPECT(t, srat_read().what == NULL && numa_got.domains[0] == 0xffffff01);
}

TEST(numa, ranges_are_joined_and_whole_pages)
{
    srat_begin(3);
    srat_memory(1, 8 * MIB + 100, 8 * MIB, ON); /* 8 MiB + 100 .. 16 MiB + 100 */
    srat_memory(0, 4 * MIB, 4 * MIB + 100, ON); /* a page is where its first byte is */
    srat_memory(0, 0, 3 * MIB, ON);
    srat_memory(0, 2 * MIB, 2 * MIB, ON);  /* over the one before, on the same node */
    srat_memory(1, 32 * MIB + 1, 100, ON); /* no page starts in it */
    EXPECT(t, srat_read().what == NULL && numa_got.range_count == 2);
    EXPECT(t, range_is(0, 0, 8 * MIB + 4 * KIB, 0));
    EXPECT(t, range_is(1, 8 * MIB + 4 * KIB, 16 * MIB + 4 * KIB, 1));
}

/* The SRAT is refused with these words about that byte, and there is one node. */
static bool srat_refused(const char *what, size_t at)
{
    struct numa_fault fault = srat_read();

    return fault.what != NULL && strcmp(fault.what, what) == 0 && fault.at == at &&
           numa_got.node_count == 1 && numa_got.range_count == 0;
}

TEST(numa, faults_in_entries_are_named)
{
    srat_sound();
    numa_bytes = SRAT_HEADER - 1;
    EXPECT(t, srat_refused("shorter than its header", 0));
    srat_sound();
    numa_bytes--;
    EXPECT(t, srat_refused("an entry runs past the table's end", numa_bytes - 15));
    srat_sound();
    numa_bytes++;
    EXPECT(t, srat_refused("an entry runs past the table's end", numa_bytes - 1));
    srat_sound();
    numa_put(SRAT_HEADER + 1, 1, 23);
    EXPECT(t, srat_refused("an entry is too short for its type", SRAT_HEADER));
    srat_sound();
    srat_entry(99, 0);
    numa_bytes += 2;
    EXPECT(t, srat_refused("an entry is too short for its type", numa_bytes - 2));
}

TEST(numa, faults_in_memory_are_named)
{
    srat_begin(3);
    srat_memory(0, UINT64_MAX - 8191, 16384, ON);
    EXPECT(t, srat_refused("memory past the physical addresses that there are", SRAT_HEADER));
    srat_begin(3);
    srat_memory(0, (1ull << 52) - 4096, 8192, ON);
    EXPECT(t, srat_refused("memory past the physical addresses that there are", SRAT_HEADER));
    srat_begin(3);
    srat_memory(0, 0, 8 * MIB, ON);
    srat_memory(1, 4 * MIB, MIB, ON);
    EXPECT(t, srat_refused("memory of two proximity domains overlaps", 0));

    srat_begin(3);
    for (uint32_t i = 0; i <= ARCH_NODE_MAX; i++)
        srat_apic(i * 3, (uint8_t)i, ON);
    EXPECT(t, srat_refused("more than 64 proximity domains", numa_bytes - 16));
    numa_bytes -= 16;
    EXPECT(t, srat_read().what == NULL && numa_got.node_count == 64 && cpu_node(63) == 63);
}

TEST(numa, too_many_ranges_are_refused)
{
    srat_begin(3);
    for (size_t i = 0; i <= ARCH_NODE_RANGE_MAX; i++)
        srat_memory(0, i * 2 * MIB, MIB, ON);
    EXPECT(t, srat_refused("more than 256 ranges of memory", numa_bytes - MEMORY_BYTES));
    numa_bytes -= MEMORY_BYTES;
    EXPECT(t, srat_read().what == NULL && numa_got.range_count == ARCH_NODE_RANGE_MAX);
}

static bool slit_refused(const char *what, size_t at)
{
    struct numa_fault fault = slit_read();

    return fault.what != NULL && strcmp(fault.what, what) == 0 && fault.at == at &&
           numa_got.distances[0][1] == ARCH_NODE_DISTANCE_REMOTE;
}

TEST(numa, faults_in_distances_are_named)
{
    srat_begin(3);
    srat_memory(0, 0, GIB, ON);
    srat_memory(1, GIB, GIB, ON);
    REQUIRE(t, srat_read().what == NULL);

    slit_begin(2);
    numa_bytes = SLIT_HEADER - 1;
    EXPECT(t, slit_refused("shorter than its header", 0));
    slit_begin(2);
    numa_bytes--;
    EXPECT(t, slit_refused("fewer distances than its count says", 36));
    slit_begin(2);
    numa_put(36, 8, 1ull << 32);
    EXPECT(t, slit_refused("fewer distances than its count says", 36));
    slit_begin(2);
    numa_table[SLIT_HEADER + 3] = 11;
    EXPECT(t, slit_refused("a domain's distance to itself is not 10", SLIT_HEADER + 3));
    slit_begin(2);
    numa_table[SLIT_HEADER + 2] = 10;
    EXPECT(t, slit_refused("a distance to another domain is not above 10", SLIT_HEADER + 2));
    slit_begin(0);
    EXPECT(t, slit_read().what == NULL && numa_got.distances[0][1] == ARCH_NODE_DISTANCE_REMOTE);
}

TEST(numa, any_bytes_keep_the_promises)
{
    uint64_t random = test_seed(t);

    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        srat_sound();
        for (unsigned changes = random_next(&random) % 4; changes > 0; changes--)
            numa_table[random_next(&random) % numa_bytes] = (uint8_t)random_next(&random);
        (void)srat_read();
        const char *broken = numa_promises_broken(&numa_got);
        REQUIRE(t, broken == NULL);
        REQUIRE(t, cpu_node((uint32_t)(random_next(&random) % 400)) < numa_got.node_count);
    }
}
