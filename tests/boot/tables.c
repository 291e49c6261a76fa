/*
 * The first page tables, built in pages of a test and read back by a walker that is written from
 * the manual, not from boot/tables.c.
 */
#include "boot/tables.h"

#include "boot/handover.h"
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define POOL_PAGES 24

/* The pool's pages have the "physical" addresses from 4096 on. */
struct pool {
    char *pages;
    unsigned taken, limit;
};

static uint64_t pool_take(void *context)
{
    struct pool *pool = context;

    if (pool->taken == pool->limit)
        return 0;
    memset(pool->pages + (size_t)pool->taken * TABLES_PAGE_BYTES, 0xa5, TABLES_PAGE_BYTES);
    return ++pool->taken * (uint64_t)TABLES_PAGE_BYTES;
}

static struct tables pool_tables(struct pool *pool, bool has_gib_pages)
{
    pool->pages = page_alloc(POOL_PAGES, 0);
    pool->taken = 0;
    pool->limit = POOL_PAGES;
    return (struct tables){
        .has_gib_pages = has_gib_pages,
        .base = (uintptr_t)pool->pages - TABLES_PAGE_BYTES,
        .take_page = pool_take,
        .context = pool,
    };
}

/* What the hardware would find: present bits and address of the page, its size. */
struct found {
    uint64_t phys, bytes;
    bool writable, executable;
};

static bool tables_walk(const struct tables *tables, uint64_t virt, struct found *found)
{
    static const uint64_t sizes[] = {1ull << 39, 1ull << 30, 1ull << 21, 1ull << 12};
    uint64_t table = tables->root;

    found->writable = found->executable = true;
    for (int depth = 0; depth < 4; depth++) {
        const uint64_t *entries = (const uint64_t *)(tables->base + table);
        uint64_t entry = entries[virt >> (39 - 9 * depth) & 0x1ff];

        if ((entry & 1) == 0)
            return false;
        found->writable = found->writable && (entry & 2) != 0;
        found->executable = found->executable && entry >> 63 == 0;
        table = entry & 0x000ffffffffff000ull;
        if (depth == 3 || (entry & 0x80) != 0) {
            found->bytes = sizes[depth];
            found->phys = table + (virt & (sizes[depth] - 1));
            return true;
        }
    }
    return false;
}

TEST(tables, rights_and_addresses)
{
    struct pool pool;
    struct tables tables = pool_tables(&pool, true);
    const uint64_t text = BOOT_KERNEL_BASE + 0x1000000;
    struct found found;

    EXPECT(t, tables_init(&tables));
    EXPECT(t, tables_map(&tables, text, 0x1000000, 0x3000, TABLES_EXEC));
    EXPECT(t, tables_map(&tables, text + 0x3000, 0x1003000, 0x1000, 0));
    EXPECT(t, tables_map(&tables, text + 0x4000, 0x1004000, 0x800000, TABLES_WRITE));

    EXPECT(t, tables_walk(&tables, text + 0x2fff, &found) && found.phys == 0x1002fff);
    EXPECT(t, found.executable && !found.writable);
    EXPECT(t, tables_walk(&tables, text + 0x3000, &found) && found.phys == 0x1003000);
    EXPECT(t, !found.executable && !found.writable);
    EXPECT(t, tables_walk(&tables, text + 0x4000, &found) && found.bytes == 4096);
    EXPECT(t, !found.executable && found.writable);
    EXPECT(t, tables_walk(&tables, text + 0x300000, &found) && found.bytes == 2 * MIB);
    EXPECT(t, found.phys == 0x1300000 && found.writable);
    EXPECT(t, tables_walk(&tables, text + 0x803fff, &found) && found.phys == 0x1803fff);
    EXPECT(t, !tables_walk(&tables, text + 0x804000, &found));
    EXPECT(t, !tables_walk(&tables, text - 1, &found));

    /* Only the virtual address is a multiple of 2 MiB. */
    EXPECT(t, tables_map(&tables, text + 0xa00000, 0x5001000, 0x200000, 0));
    EXPECT(t, tables_walk(&tables, text + 0xa00000, &found) && found.bytes == 4096);
    page_free(pool.pages, POOL_PAGES);
}

/* RAM with a hole that a 1 GiB or 2 MiB page would cover: the hole is not mapped. */
static void tables_check_direct(struct test *t, bool has_gib_pages)
{
    static const struct boot_range ranges[] = {
        {0x1000, 0x9e400, BOOT_RANGE_USABLE, 0},
        {0x100000, 0xbff01000, BOOT_RANGE_USABLE, 0},
        {0x40000000, 0x200000, BOOT_RANGE_MODULE, 0}, /* over the one before */
        {0xc0001000, 0x1000, BOOT_RANGE_ACPI, 0},
        {0xc0002000, 0x1000, BOOT_RANGE_RESERVED, 0},
        {0x100000000, 0x80000000, BOOT_RANGE_BOOT, 0},
        {0x200000000, 0x1000, 77, 0},
        {0x300000000, UINT64_MAX, BOOT_RANGE_USABLE, 0}, /* wraps */
        {BOOT_DIRECT_BYTES, 0x1000, BOOT_RANGE_USABLE, 0},
    };
    static const struct {
        uint64_t phys;
        uint64_t
            bytes; /* of the page that maps it; 0: none does.  Without 1 GiB pages at most 2M */
    } expected[] = {
        {0, 0},
        {0x1000, 4 * KIB},
        {0x9f000, 4 * KIB},
        {0xa0000, 0},
        {0x1ff000, 4 * KIB},
        {0x200000, 2 * MIB},
        {0x40000000, GIB},
        {0xbfffffff, GIB},
        {0xc0000000, 4 * KIB},
        {0xc0001fff, 4 * KIB},
        {0xc0002000, 0},
        {0xffffffff, 0},
        {0x100000000, GIB},
        {0x17fffffff, GIB},
        {0x180000000, 0},
        {0x200000000, 0},
        {0x300000000, 0},
    };
    struct pool pool;
    struct tables tables = pool_tables(&pool, has_gib_pages);

    EXPECT(t, tables_init(&tables));
    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++)
        EXPECT(t, tables_map_direct(&tables, &ranges[i]));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        uint64_t bytes = has_gib_pages ? expected[i].bytes : MIN(expected[i].bytes, 2 * MIB);
        struct found found = {0};

        EXPECT(t,
               tables_walk(&tables, BOOT_DIRECT_BASE + expected[i].phys, &found) == (bytes != 0));
        EXPECT(t, found.bytes == bytes);
        EXPECT(t, bytes == 0 ||
                      (found.phys == expected[i].phys && found.writable && !found.executable));
    }
    page_free(pool.pages, POOL_PAGES);
}

TEST(tables, direct_map_with_gib_pages)
{
    tables_check_direct(t, true);
}

TEST(tables, direct_map_without_gib_pages)
{
    tables_check_direct(t, false);
}

TEST(tables, running_out_of_pages_is_reported)
{
    struct pool pool;
    struct tables tables = pool_tables(&pool, true);

    pool.limit = 0;
    EXPECT(t, !tables_init(&tables));
    for (pool.limit = 1; pool.limit < 4; pool.limit++) {
        pool.taken = 0;
        EXPECT(t, tables_init(&tables));
        EXPECT(t, !tables_map(&tables, BOOT_DIRECT_BASE, 0x1000, 0x1000, 0));
    }
    pool.taken = 0;
    EXPECT(t, tables_init(&tables));
    EXPECT(t, tables_map(&tables, BOOT_DIRECT_BASE, 0x1000, 0x1000, 0));
    page_free(pool.pages, POOL_PAGES);
}
