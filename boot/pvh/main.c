/*
 * The PVH way in: from a hypervisor's start info to struct boot_info.
 *
 * Two stages.  On entry.S's tables, where the first 4 GiB stand at their physical addresses, all of
 * the start info is copied: what it points to may be overwritten afterwards, except the modules
 * themselves.  Then the real tables are built (kernel image W^X, direct map of all RAM), in pages
 * that the memory map calls usable and that neither the image nor a module occupies; they are
 * switched to, and the modules, wherever they are, are read through the direct map.
 *
 *   0        1 MiB     16 MiB                          4 GiB
 *   | start  |         | kernel image | page tables .. |  ... RAM ...
 *   | info   |         |              | (first free)   |
 *
 * Contract: runs once, on the CPU that boots, interrupts off.  What it cannot do ends the machine
 * with a message that names the part of the start info.
 *
 * Source: Xen, docs/misc/pvh.pandoc.
 */
#include "boot/pvh/pvh.h"

#include "boot/com1.h"
#include "boot/cpu.h"
#include "boot/handover.h"
#include "boot/tables.h"
#include "kernel/base/string.h"

#define PVH_RANGE_MAX   1024         /* of the map, and what is laid over it */
#define PVH_LOW_END     (4ull << 30) /* mapped by entry.S */
#define PVH_TABLES_FROM (16ull << 20)
#define PVH_CMDLINE_MAX 65536 /* a text longer than this has no end */

/* The kernel image's parts, from linker.ld: page-aligned link addresses. */
extern char __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern char __data_start[], __data_end[], __boot_text_start[], __boot_text_end[];
extern char __boot_rodata_start[], __boot_rodata_end[], __boot_data_start[], __boot_data_end[];
extern char __names_start[], __names_end[];

static struct boot_info pvh_info PVH_BSS;
static struct boot_range pvh_ranges[PVH_RANGE_MAX] PVH_BSS;
static struct pvh_module pvh_module_list[BOOT_MODULE_MAX] PVH_BSS;

PVH_CODE void pvh_stop(const char *what, const struct boot_error *error)
{
    com1_init();
    com1_write("spandrel loader: ");
    com1_write(what);
    com1_write(": ");
    com1_write(error->text);
    com1_write("\n");
    boot_out8(BOOT_EXIT_PORT, BOOT_EXIT_FAIL);
    for (;;)
        __asm__ volatile("cli; hlt");
}

PVH_CODE static uint64_t pvh_image_phys(const void *link_addr)
{
    return (uintptr_t)link_addr - BOOT_KERNEL_BASE;
}

/* Something that the start info points to, through entry.S's tables. */
PVH_CODE static const void *pvh_low(uint64_t phys, uint64_t bytes, const char *what)
{
    struct boot_error error;

    if (phys >= PVH_LOW_END || bytes > PVH_LOW_END - phys) {
        boot_fail(&error, "0x%lx + 0x%lx ends beyond 4 GiB", phys, bytes);
        pvh_stop(what, &error);
    }
    return (const void *)phys;
}

PVH_CODE static void pvh_add_range(uint64_t base, uint64_t bytes, enum boot_range_kind kind,
                                   uint32_t type)
{
    struct boot_range range = {base, bytes, kind, type};
    struct boot_error error;

    if (!handover_range(&pvh_info, PVH_RANGE_MAX, range, &error))
        pvh_stop("start info", &error);
}

/* The memory map; over it the image, so that no page of it counts as free. */
PVH_CODE static void pvh_read_map(const struct pvh_start_info *start)
{
    const struct pvh_range *map =
        pvh_low(start->map, start->map_count * sizeof(*map), "memory map");

    for (uint32_t i = 0; i < start->map_count; i++) {
        enum boot_range_kind kind = BOOT_RANGE_RESERVED;

        if (map[i].type == PVH_RANGE_RAM)
            kind = BOOT_RANGE_USABLE;
        else if (map[i].type == PVH_RANGE_ACPI)
            kind = BOOT_RANGE_ACPI;
        pvh_add_range(map[i].base, map[i].bytes, kind, map[i].type);
    }
    pvh_add_range(pvh_image_phys(__text_start), (uint64_t)(__names_end - __text_start),
                  BOOT_RANGE_KERNEL, PVH_RANGE_RAM);
}

PVH_CODE static void pvh_read_module_list(const struct pvh_start_info *start)
{
    const struct pvh_module *modules =
        pvh_low(start->modules, start->module_count * sizeof(*modules), "module list");
    struct boot_error error;

    if (start->module_count > BOOT_MODULE_MAX) {
        boot_fail(&error, "%u modules, at most %d", start->module_count, BOOT_MODULE_MAX);
        pvh_stop("module list", &error);
    }
    for (uint32_t i = 0; i < start->module_count; i++) {
        const struct pvh_module *module = &modules[i];

        if (module->base >= BOOT_DIRECT_BYTES || module->bytes > BOOT_DIRECT_BYTES - module->base ||
            !IS_ALIGNED(module->base, 8)) {
            boot_fail(&error, "module %u at 0x%lx + 0x%lx: misaligned or beyond 0x%llx", i,
                      module->base, module->bytes, BOOT_DIRECT_BYTES);
            pvh_stop("module list", &error);
        }
        pvh_module_list[i] = *module;
        pvh_add_range(module->base, module->bytes, BOOT_RANGE_MODULE, PVH_RANGE_RAM);
    }
}

PVH_CODE static void pvh_read_cmdline(const struct pvh_start_info *start)
{
    struct boot_error error;

    if (start->cmdline == 0)
        return;
    const char *text = pvh_low(start->cmdline, PVH_CMDLINE_MAX, "command line");
    if (!handover_cmdline(&pvh_info, text, strnlen(text, PVH_CMDLINE_MAX), &error))
        pvh_stop("command line", &error);
}

/* tables->take_page: the next free page, laid over the map as BOOT. */
PVH_CODE static uint64_t pvh_take_page(void *context)
{
    uint64_t *next = context;
    uint64_t page = handover_find_page(&pvh_info, *next, PVH_LOW_END);

    if (page == 0)
        return 0;
    struct boot_range *last = &pvh_info.ranges[pvh_info.range_count - 1];
    if (last->kind == BOOT_RANGE_BOOT && last->base + last->bytes == page)
        last->bytes += TABLES_PAGE_BYTES;
    else
        pvh_add_range(page, TABLES_PAGE_BYTES, BOOT_RANGE_BOOT, PVH_RANGE_RAM);
    *next = page + TABLES_PAGE_BYTES;
    return page;
}

PVH_CODE static bool pvh_map_image(struct tables *tables)
{
    const struct {
        const char *start, *end;
        unsigned rights;
    } parts[] = {
        {__text_start, __text_end, TABLES_EXEC},
        {__rodata_start, __rodata_end, 0},
        {__data_start, __data_end, TABLES_WRITE},
        {__boot_text_start, __boot_text_end, TABLES_EXEC},
        {__boot_rodata_start, __boot_rodata_end, 0},
        {__boot_data_start, __boot_data_end, TABLES_WRITE},
        {__names_start, __names_end, 0},
    };

    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (!tables_map(tables, (uintptr_t)parts[i].start, pvh_image_phys(parts[i].start),
                        (uint64_t)(parts[i].end - parts[i].start), parts[i].rights))
            return false;
    }
    return true;
}

/* Build the real tables and switch to them. */
PVH_CODE static void pvh_switch_tables(void)
{
    uint64_t next = PVH_TABLES_FROM;
    struct tables tables = {
        .has_gib_pages = (boot_cpuid_ext_edx() & BOOT_CPUID_EDX_GIB_PAGE) != 0,
        .take_page = pvh_take_page,
        .context = &next,
    };
    bool done = tables_init(&tables) && pvh_map_image(&tables);

    /* Taking pages appends ranges of kind BOOT: inside usable ones, which are mapped anyway. */
    for (uint64_t i = 0, count = pvh_info.range_count; done && i < count; i++)
        done = tables_map_direct(&tables, &pvh_info.ranges[i]);
    if (!done) {
        struct boot_error error;

        boot_fail(&error, "no memory for page tables below 4 GiB");
        pvh_stop("memory map", &error);
    }
    __asm__ volatile("mov %0, %%cr3" : : "r"(tables.root) : "memory");
}

PVH_CODE void pvh_main(uint32_t start_info)
{
    const struct pvh_start_info *start = pvh_low(start_info, sizeof(*start), "start info");
    struct boot_error error;

    if (start->magic != PVH_MAGIC || start->version < PVH_VERSION_MAP || start->map_count == 0) {
        boot_fail(&error,
                  "magic 0x%x, version %u, %u memory ranges: expected 0x%x, %u or more, 1 "
                  "or more",
                  start->magic, start->version, start->map_count, PVH_MAGIC, PVH_VERSION_MAP);
        pvh_stop("start info", &error);
    }
    handover_init(&pvh_info);
    pvh_info.ranges = pvh_ranges;
    pvh_info.rsdp = start->rsdp;
    uint32_t module_count = start->module_count;
    pvh_read_map(start);
    pvh_read_module_list(start);
    pvh_read_cmdline(start);

    pvh_switch_tables();
    pvh_modules(&pvh_info, pvh_module_list, module_count);
    pvh_info.way = boot_direct(pvh_image_phys("PVH"));
    pvh_info.ranges = boot_direct(pvh_image_phys(pvh_ranges));
    arch_entry(boot_direct(pvh_image_phys(&pvh_info)));
}
