/*
 * The kernel's own page tables, one set for all CPUs.
 *
 * What is mapped, and nothing else:
 *
 *   0xffff800000000000  direct map of RAM     rw-  the image's read-only parts r--
 *   0xffffc00000000000  tables, by reserve    rw-  zero_tables.c
 *   0xffffd00000000000  stacks that grow  rw-  stack_region.c
 *   0xffffe00000000000  the port's window     rw-  window.c: devices, stacks
 *   0xffffffff81000000  image: text           r-x
 *                              read-only      r--
 *                              data           rw-  guard pages of CPU 0's stacks: holes
 *                              .boot.*        by section, until arch_boot_release
 *
 * The direct map covers whole pages of RAM only.  Ranges may overlap and come in any order; an
 * address is RAM if a range of RAM covers it and no reserved range touches its page.  Runs of RAM
 * are found by a sweep upwards that needs no memory, and mapped with the largest pages that fit.
 *
 * Locks: none.  Tables change on the boot CPU, or under the caller's lock (arch_table_commit).
 */
#include "arch/x86_64/paging.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/tlb.h"
#include "arch/x86_64/window.h"
#include "kernel/base/check.h"

#define PHYSICAL_END BOOT_DIRECT_BYTES

page_table paging_root;

/* Parts of the image, by address; what is not writable here is not writable in the direct map. */
static const struct {
    char *start, *end;
    uint64_t rights;
} image_parts[] = {
    {__text_start, __text_end, PTE_GLOBAL},
    {__rodata_start, __rodata_end, PTE_GLOBAL | PTE_NX},
    {__data_start, __data_end, PTE_GLOBAL | PTE_NX | PTE_WRITE},
    {__boot_text_start, __boot_text_end, PTE_GLOBAL},
    {__boot_rodata_start, __boot_rodata_end, PTE_GLOBAL | PTE_NX},
    {__boot_data_start, __boot_data_end, PTE_GLOBAL | PTE_NX | PTE_WRITE},
    {__names_start, __names_end, PTE_GLOBAL | PTE_NX},
};

uint64_t *paging_entry(uintptr_t addr, unsigned level, void *(*take_page)(void))
{
    uint64_t *table = paging_root;

    for (unsigned at = LEVEL_ROOT; at > level; at--) {
        uint64_t *entry = &table[paging_index(addr, at)];

        if ((*entry & PTE_PRESENT) == 0) {
            void *page = take_page();

            if (page == NULL)
                return NULL;
            *entry = direct_physical((uintptr_t)page) | PTE_PRESENT | PTE_WRITE;
        }
        CHECK((*entry & PTE_LARGE) == 0);
        table = paging_table_at(*entry);
    }
    return &table[paging_index(addr, level)];
}

uint64_t paging_lookup(uintptr_t addr, unsigned *level)
{
    const uint64_t *table = paging_root;

    for (unsigned at = LEVEL_ROOT;; at--) {
        uint64_t entry = table[paging_index(addr, at)];

        if ((entry & PTE_PRESENT) == 0)
            return 0;
        if (at == 0 || (entry & PTE_LARGE) != 0) {
            *level = at;
            return entry;
        }
        table = paging_table_at(entry);
    }
}

/* Map [addr, addr + bytes) to physical, whole pages, with the largest pages that fit. */
static void paging_map(uintptr_t addr, uint64_t physical, uint64_t bytes, uint64_t rights,
                       unsigned max_level, void *(*take_page)(void))
{
    while (bytes > 0) {
        unsigned level = max_level;

        while (level > 0 &&
               (!IS_ALIGNED(addr | physical, LEVEL_BYTES(level)) || bytes < LEVEL_BYTES(level)))
            level--;
        *paging_entry(addr, level, take_page) =
            physical | rights | PTE_PRESENT | (level > 0 ? PTE_LARGE : 0);
        addr += LEVEL_BYTES(level);
        physical += LEVEL_BYTES(level);
        bytes -= LEVEL_BYTES(level);
    }
}

static void paging_map_image(void *(*take_page)(void))
{
    for (size_t i = 0; i < ARRAY_COUNT(image_parts); i++) {
        const char *start = image_parts[i].start, *end = image_parts[i].end;

        paging_map((uintptr_t)start, image_physical(start), (uint64_t)(end - start),
                   image_parts[i].rights, 0, take_page);
    }
    for (enum stack_kind kind = 0; kind < STACK_KINDS; kind++) {
        uintptr_t bottom, top;

        stack_bounds(0, kind, &bottom, &top);
        *paging_entry(bottom - ARCH_PAGE_BYTES, 0, take_page) = 0;
    }
}

/* Map RAM at [start, end) into the direct map; parts that are read-only in the image, read-only. */
static void paging_map_direct(uint64_t start, uint64_t end, unsigned max_level,
                              void *(*take_page)(void))
{
    const uint64_t rights = PTE_GLOBAL | PTE_NX;

    for (size_t i = 0; i < ARRAY_COUNT(image_parts) && start < end; i++) {
        uint64_t part = MIN(MAX(image_physical(image_parts[i].start), start), end);
        uint64_t part_end = MIN(MAX(image_physical(image_parts[i].end), part), end);
        bool is_boot = image_within((uintptr_t)image_parts[i].start, __boot_start, __boot_end);

        if ((image_parts[i].rights & PTE_WRITE) != 0 || is_boot || part == part_end)
            continue; /* boot sections become free memory: writable */
        paging_map(BOOT_DIRECT_BASE + start, start, part - start, rights | PTE_WRITE, max_level,
                   take_page);
        paging_map(BOOT_DIRECT_BASE + part, part, part_end - part, rights, max_level, take_page);
        start = part_end;
    }
    paging_map(BOOT_DIRECT_BASE + start, start, end - start, rights | PTE_WRITE, max_level,
               take_page);
}

/*
 * The whole pages of a range: usable memory rounded inward, all else outward.
 *   returns  false for a range that is empty, wraps or lies beyond the direct map
 */
static bool range_pages(const struct boot_range *range, uint64_t *start, uint64_t *end)
{
    if (range->bytes == 0 || range->base >= PHYSICAL_END)
        return false;

    *end = MIN(range->bytes, PHYSICAL_END - range->base) + range->base;
    if (range->kind == BOOT_RANGE_USABLE) {
        *start = ALIGN_UP(range->base, ARCH_PAGE_BYTES);
        *end = ALIGN_DOWN(*end, ARCH_PAGE_BYTES);
    } else {
        *start = ALIGN_DOWN(range->base, ARCH_PAGE_BYTES);
        *end = ALIGN_UP(*end, ARCH_PAGE_BYTES);
    }
    return *start < *end;
}

/*
 * What is at page address `at`?  *until: where that may change.
 *   returns  true: RAM
 */
static bool ram_at(const struct boot_range *ranges, size_t count, uint64_t at, uint64_t *until)
{
    uint64_t ram_until = at, reserved_until = at, next = PHYSICAL_END;

    for (size_t i = 0; i < count; i++) {
        uint64_t start, end;

        if (!range_pages(&ranges[i], &start, &end) || end <= at)
            continue;
        if (start > at)
            next = MIN(next, start);
        else if (ranges[i].kind >= BOOT_RANGE_RESERVED)
            reserved_until = MAX(reserved_until, end);
        else
            ram_until = MAX(ram_until, end);
    }
    if (reserved_until > at) {
        *until = reserved_until;
        return false;
    }
    *until = ram_until > at ? MIN(ram_until, next) : next;
    return ram_until > at;
}

void arch_paging_init(const struct boot_range *ranges, size_t count, void *(*take_page)(void))
{
    unsigned max_level = (cpuid(0x80000001).edx & 1u << 26) != 0 ? 2 : 1; /* 1 GiB pages */
    uint64_t run = 0, until;

    paging_map_image(take_page);
    window_init();

    /* `run` is where the run of RAM that ends at `at` starts. */
    for (uint64_t at = 0; at < PHYSICAL_END; at = until) {
        if (ram_at(ranges, count, at, &until))
            continue;
        paging_map_direct(run, at, max_level, take_page);
        run = until;
    }
    paging_map_direct(run, PHYSICAL_END, max_level, take_page);

    cr3_write(image_physical(paging_root));
    tlb_flush_local();
}

void arch_boot_release(uintptr_t start, uintptr_t end)
{
    for (uintptr_t addr = start; addr < end; addr += ARCH_PAGE_BYTES) {
        unsigned level;
        bool is_mapped = paging_lookup(addr, &level) != 0;

        CHECK(image_within(addr, __boot_start, __boot_end) && is_mapped && level == 0);
        *paging_entry(addr, 0, NULL) = 0;
    }
    tlb_flush_all();
}

/* RAM is the machine's: only a device can take it (kernel/balloon.h). */
bool arch_ram_release(void *addr, size_t bytes)
{
    (void)addr, (void)bytes;
    return false;
}
