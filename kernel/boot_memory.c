/*
 * Memory at start-up (kernel/boot_memory.h).
 *
 * Idea: the map stays as the firmware gave it, and each question about it is a set of ranges of
 * some kinds less those of others, which mm/'s ranges_normalise answers, broken maps included:
 *
 *     question              these                less these
 *     what mm/ starts with  USABLE               everything else, edges
 *     given back later      BOOT                 KERNEL, MODULE, ACPI, RESERVED, edges
 *     RAM there is          all but RESERVED     RESERVED
 *
 * Edges: the first MiB, where a CPU's first instructions and old firmware live, and what lies
 * above the address at which mem= is used up.
 */
#include "kernel/boot_memory.h"
#include "arch/arch.h"
#include "kernel/base/check.h"
#include "kernel/base/format.h"
#include "kernel/base/sort.h"
#include "kernel/base/string.h"
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "mm/mm.h"
#include "mm/page/early.h"
#include "mm/page/page.h"
#include "mm/page/ranges.h"

#define BOOT_MEMORY_RANGE_MAX 1024 /* in the firmware's map */
#define BOOT_MEMORY_EDGES     2

/* Room for mm_early_init: twice the ranges and one. */
#define BOOT_MEMORY_MAP_MAX (2 * (BOOT_MEMORY_RANGE_MAX + BOOT_MEMORY_EDGES) + 1)

#define KIND_BIT(kind) (1u << BOOT_RANGE_##kind)
#define KINDS_RAM \
    (KIND_BIT(USABLE) | KIND_BIT(BOOT) | KIND_BIT(KERNEL) | KIND_BIT(MODULE) | KIND_BIT(ACPI))
#define KINDS_ALL (KINDS_RAM | KIND_BIT(RESERVED))

/* Boot-only code and data; only the kernel image has such sections. */
extern char __boot_start[] __attribute__((weak)), __boot_end[] __attribute__((weak));

static struct {
    const struct boot_range
        *ranges;          /* [C] from boot_memory_open: a copy in early memory, by base */
    size_t count;         /* [C] ranges */
    uint64_t limit;       /* [C] physical; nothing from here on is used */
    uint64_t ram_bytes;   /* [C] of all kinds but RESERVED */
    uint64_t fill_ticks;  /* [C] from boot_memory_fill on: that it took */
    uint64_t fill_bytes;  /* [C] likewise: that it opened */
    uint64_t given_bytes; /* [C] from boot_memory_give on: by it */
} boot_memory;

/* The map as mm/ wants it, who keeps it until all of memory is open. */
static struct mm_range boot_memory_map[BOOT_MEMORY_MAP_MAX];

static int boot_memory_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct boot_range *)a)->base;
    uint64_t right = ((const struct boot_range *)b)->base;

    return (left > right) - (left < right);
}

static unsigned boot_memory_kind_bit(const struct boot_range *range)
{
    return range->kind < BOOT_RANGE_RESERVED ? 1u << range->kind : KIND_BIT(RESERVED);
}

/* The address below which there are `bytes` bytes of RAM for mm/; ranges ascend by base. */
static uint64_t boot_memory_limit(const struct boot_range *ranges, size_t count, uint64_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        bool wraps = ranges[i].base + ranges[i].bytes < ranges[i].base;

        if (wraps || (boot_memory_kind_bit(&ranges[i]) & (KIND_BIT(USABLE) | KIND_BIT(BOOT))) == 0)
            continue;
        if (ranges[i].bytes > bytes)
            return ranges[i].base + bytes;
        bytes -= ranges[i].bytes;
    }
    return UINT64_MAX;
}

/* Fill `map` with one entry for each range of the kinds named; returns how many. */
static size_t boot_memory_select(struct mm_range *map, unsigned usable, unsigned reserved)
{
    size_t count = 0;

    for (size_t i = 0; i < boot_memory.count; i++) {
        const struct boot_range *range = &boot_memory.ranges[i];
        unsigned bit = boot_memory_kind_bit(range);

        if ((bit & (usable | reserved)) != 0)
            map[count++] =
                (struct mm_range){range->base, range->bytes,
                                  (bit & usable) != 0 ? MM_RANGE_USABLE : MM_RANGE_RESERVED};
    }
    return count;
}

static size_t boot_memory_add_edges(struct mm_range *map, size_t count)
{
    map[count++] = (struct mm_range){0, MIB, MM_RANGE_RESERVED};
    if (boot_memory.limit < MM_PHYS_BYTES)
        map[count++] = (struct mm_range){boot_memory.limit, MM_PHYS_BYTES - boot_memory.limit,
                                         MM_RANGE_RESERVED};
    return count;
}

static uint64_t boot_memory_sum(const struct mm_range *map, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += map[i].bytes;
    return sum;
}

void boot_memory_open(const struct boot_info *info)
{
    struct boot_range *found = info->ranges;
    size_t count = info->range_count;

    if (count > BOOT_MEMORY_RANGE_MAX)
        panic("the firmware's map has %zu ranges, more than BOOT_MEMORY_RANGE_MAX (%d)", count,
              BOOT_MEMORY_RANGE_MAX);
    sort(found, count, sizeof(*found), boot_memory_compare);
    boot_memory.ranges = found;
    boot_memory.count = count;
    boot_memory.limit =
        settings.mem_bytes == 0 ? UINT64_MAX : boot_memory_limit(found, count, settings.mem_bytes);

    size_t selected = boot_memory_select(boot_memory_map, KINDS_RAM, KIND_BIT(RESERVED));
    selected = ranges_normalise(boot_memory_map, selected, BOOT_MEMORY_MAP_MAX);
    boot_memory.ram_bytes = boot_memory_sum(boot_memory_map, selected);

    selected = boot_memory_select(boot_memory_map, KIND_BIT(USABLE), KINDS_ALL);
    selected = boot_memory_add_edges(boot_memory_map, selected);
    mm_early_init(boot_memory_map, selected, BOOT_MEMORY_MAP_MAX);

    if (count > 0) {
        struct boot_range *copy = early_alloc(count * sizeof(*copy), _Alignof(struct boot_range));

        memcpy(copy, found, count * sizeof(*copy));
        boot_memory.ranges = copy;
    }
}

const struct boot_range *boot_memory_ranges(size_t *count)
{
    *count = boot_memory.count;
    return boot_memory.ranges;
}

void boot_memory_split(uint64_t *ends, unsigned parts)
{
    size_t count;
    const struct mm_range *ranges = early_ranges(&count);
    uint64_t share = ALIGN_UP(boot_memory_sum(ranges, count) / parts, PAGE_BYTES);
    uint64_t before = 0; /* bytes below ranges[i] */
    unsigned part = 0;

    for (size_t i = 0; i < count; i++) {
        for (; part < parts && (part + 1) * share <= before + ranges[i].bytes; part++)
            ends[part] = ranges[i].base + (part + 1) * share - before;
        before += ranges[i].bytes;
    }
    for (; part < parts; part++)
        ends[part] = UINT64_MAX;
    ends[parts - 1] = UINT64_MAX;
}

void *boot_memory_take_page(void)
{
    return early_alloc(PAGE_BYTES, PAGE_BYTES);
}

static void boot_memory_fill_share(void *unused)
{
    (void)unused;
    mm_open();
}

void boot_memory_fill(void)
{
    uint64_t before = mm_stats().ram_bytes, start = arch_ticks();

    cpu_run_all(cpus_online(), boot_memory_fill_share, NULL);
    boot_memory.fill_ticks = arch_ticks() - start;
    boot_memory.fill_bytes = mm_stats().ram_bytes - before;
}

uint64_t boot_memory_fill_bytes(void)
{
    return boot_memory.fill_bytes;
}

uint64_t boot_memory_fill_ticks(void)
{
    return boot_memory.fill_ticks;
}

static void boot_memory_give_sections(void)
{
    uintptr_t start = (uintptr_t)__boot_start, end = (uintptr_t)__boot_end;

    if (start == end)
        return;
    arch_boot_release(start, end);
    boot_memory.given_bytes += PAGE_BYTES * mm_give(start - BOOT_KERNEL_BASE, end - start);
}

void boot_memory_give(void)
{
    size_t room = 2 * (boot_memory.count + BOOT_MEMORY_EDGES) + 1;
    size_t pages = (room * sizeof(struct mm_range) + PAGE_BYTES - 1) / PAGE_BYTES;
    struct mm_range *map = page_alloc(pages, 0);

    CHECK(map != NULL);
    size_t count = boot_memory_select(map, KIND_BIT(BOOT), KINDS_ALL & ~KIND_BIT(USABLE));
    count = ranges_normalise(map, boot_memory_add_edges(map, count), room);
    for (size_t i = 0; i < count; i++)
        boot_memory.given_bytes += PAGE_BYTES * mm_give(map[i].base, map[i].bytes);
    page_free(map, pages);
    boot_memory_give_sections();
}

/* Who opened how much: " 512 256". */
static void boot_memory_report_shares(void)
{
    char shares[ARCH_CPU_MAX * 12 + 1];
    size_t length = 0;

    for (unsigned cpu = 0; cpu < cpus_online(); cpu++)
        length += (size_t)format_string(shares + length, sizeof(shares) - length, " %zu",
                                        page_opened_by(cpu) * PAGE_BYTES / MIB);
    printk("memory: opened by CPU, in MiB:%s; %lu ticks since CPUs run\n", shares,
           boot_memory.fill_ticks);
}

void boot_memory_report(void)
{
    struct mm_stats stats = mm_stats();

    printk("memory: %zu KiB usable of %lu KiB in %zu ranges; %lu KiB given back after start-up; "
           "metadata %zu KiB\n",
           stats.ram_bytes / KIB, boot_memory.ram_bytes / KIB, boot_memory.count,
           boot_memory.given_bytes / KIB, stats.meta_bytes / KIB);
    boot_memory_report_shares();
    if (boot_memory.limit != UINT64_MAX)
        printk("memory: mem= cuts off what lies above 0x%lx\n", boot_memory.limit);
}
