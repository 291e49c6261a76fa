/*
 * The first page tables.
 *
 * Four levels of 512 entries; a level-L entry spans 4 KiB << 9 L.  Mapping walks down from the top
 * for each step and stops at the first level where one entry can hold the whole step: virtual and
 * physical address aligned to the entry's span, enough bytes left, and no table hanging there yet.
 *
 *   level 3  512 GiB   tables only
 *   level 2    1 GiB   a page if the CPU has such pages
 *   level 1    2 MiB   a page
 *   level 0    4 KiB   a page
 *
 * So the edges of a range take at most two tables of each level, and what lies next to RAM (device
 * registers) is never mapped along with it.  Tables grant every right; the page entry takes away.
 *
 * Contract: touches memory only through take_page and base; no locks, one caller.
 *
 * Source: AMD64 Architecture Programmer's Manual, volume 2, section 5.3.
 */
#include "boot/tables.h"

#include "kernel/base/string.h"

#define TABLES_PRESENT   (1ull << 0)
#define TABLES_WRITABLE  (1ull << 1)
#define TABLES_LARGE     (1ull << 7) /* at level 1 and 2: a page, not a table */
#define TABLES_NO_EXEC   (1ull << 63)
#define TABLES_ADDRESS   0x000ffffffffff000ull
#define TABLES_INDEX_MAX 511u

static uint64_t *tables_at(const struct tables *tables, uint64_t phys)
{
    return (uint64_t *)(tables->base + phys);
}

static uint64_t tables_take(const struct tables *tables)
{
    uint64_t page = tables->take_page(tables->context);

    if (page != 0)
        memset(tables_at(tables, page), 0, TABLES_PAGE_BYTES);
    return page;
}

bool tables_init(struct tables *tables)
{
    tables->root = tables_take(tables);
    return tables->root != 0;
}

static uint64_t tables_span(int level)
{
    return (uint64_t)TABLES_PAGE_BYTES << (9 * level);
}

static bool tables_is_leaf_level(const struct tables *tables, int level)
{
    return level <= 1 || (level == 2 && tables->has_gib_pages);
}

/* Map the largest step at virt; returns its bytes, 0 when no page for a table is left. */
static uint64_t tables_map_step(struct tables *tables, uint64_t virt, uint64_t phys, uint64_t bytes,
                                uint64_t leaf)
{
    uint64_t table = tables->root;

    for (int level = 3;; level--) {
        uint64_t span = tables_span(level);
        uint64_t *entry = tables_at(tables, table) + (virt / span & TABLES_INDEX_MAX);
        uint64_t step = MIN(bytes, span - (virt & (span - 1)));

        if (*entry == 0) {
            if (tables_is_leaf_level(tables, level) && IS_ALIGNED(phys, span) && step == span) {
                *entry = phys | leaf | (level > 0 ? TABLES_LARGE : 0);
                return step;
            }
            uint64_t page = tables_take(tables);
            if (page == 0)
                return 0;
            *entry = page | TABLES_PRESENT | TABLES_WRITABLE;
        } else if (level == 0 || (*entry & TABLES_LARGE) != 0) {
            return step; /* mapped already */
        }
        table = *entry & TABLES_ADDRESS;
    }
}

bool tables_map(struct tables *tables, uint64_t virt, uint64_t phys, uint64_t bytes,
                unsigned rights)
{
    uint64_t leaf = TABLES_PRESENT;

    if (rights & TABLES_WRITE)
        leaf |= TABLES_WRITABLE;
    if (!(rights & TABLES_EXEC))
        leaf |= TABLES_NO_EXEC;

    while (bytes > 0) {
        uint64_t step = tables_map_step(tables, virt, phys, bytes, leaf);

        if (step == 0)
            return false;
        virt += step;
        phys += step;
        bytes -= step;
    }
    return true;
}

bool tables_map_direct(struct tables *tables, const struct boot_range *range)
{
    if (range->kind >= BOOT_RANGE_RESERVED || range->base >= BOOT_DIRECT_BYTES ||
        range->bytes > UINT64_MAX - range->base)
        return true;

    uint64_t end = MIN(range->base + range->bytes, (uint64_t)BOOT_DIRECT_BYTES);
    uint64_t first = ALIGN_DOWN(range->base, TABLES_PAGE_BYTES);

    end = ALIGN_UP(end, TABLES_PAGE_BYTES);
    if (range->bytes == 0)
        return true;
    return tables_map(tables, BOOT_DIRECT_BASE + first, first, end - first, TABLES_WRITE);
}
