/*
 * The UEFI loader, \EFI\BOOT\BOOTX64.EFI: the product's way in.
 *
 * efi_main is the order of things.  Everything that needs the firmware comes before memory_exit;
 * after it only memory that is already there is written.  All that the kernel gets is in pages of
 * type EfiLoaderData or in the loader's image.
 *
 * The page tables are built from a map that is read before the last allocations.  That is enough:
 * allocating turns RAM of one kind into RAM of another, and the direct map covers all kinds.
 *
 * Source: UEFI 2.9, sections 2.3.4 (x64 platforms), 7.4; GNU-EFI's README.
 */
#include "boot/uefi/loader.h"

#include "boot/cpu.h"
#include "boot/handover.h"
#include "kernel/base/string.h"

static void main_check_cpu(void)
{
    if (!(boot_cpuid_ext_edx() & BOOT_CPUID_EDX_NX))
        loader_stop_with("CPU", "no no-execute pages");
    if (boot_read_cr4() & BOOT_CR4_LA57)
        loader_stop_with("CPU", "the firmware runs with five levels of page tables (CR4.LA57); "
                                "turn this off in its set-up");
}

static uint64_t main_find_rsdp(void)
{
    static const EFI_GUID guids[] = {ACPI_20_TABLE_GUID, ACPI_TABLE_GUID};

    for (size_t g = 0; g < ARRAY_COUNT(guids); g++) {
        for (UINTN i = 0; i < ST->NumberOfTableEntries; i++) {
            EFI_CONFIGURATION_TABLE *table = &ST->ConfigurationTable[i];

            if (memcmp(&table->VendorGuid, &guids[g], sizeof(EFI_GUID)) == 0)
                return (uintptr_t)table->VendorTable;
        }
    }
    return 0;
}

/* Only 32-bit formats with whole bytes: what else there is, the kernel could not draw on. */
static void main_find_framebuffer(struct boot_framebuffer *framebuffer)
{
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;

    if (BS->LocateProtocol(&gEfiGraphicsOutputProtocolGuid, NULL, (void **)&gop) != EFI_SUCCESS ||
        gop->Mode == NULL || gop->Mode->Info == NULL)
        return;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode = gop->Mode->Info;
    if (mode->PixelFormat != PixelRedGreenBlueReserved8BitPerColor &&
        mode->PixelFormat != PixelBlueGreenRedReserved8BitPerColor)
        return;
    *framebuffer = (struct boot_framebuffer){
        .base = gop->Mode->FrameBufferBase,
        .width = mode->HorizontalResolution,
        .height = mode->VerticalResolution,
        .stride_bytes = mode->PixelsPerScanLine * 4,
        .bits_per_pixel = 32,
        .is_bgr = mode->PixelFormat == PixelBlueGreenRedReserved8BitPerColor,
    };
}

static uint64_t main_take_table(void *context)
{
    (void)context;
    return (uintptr_t)memory_take("page tables", TABLES_PAGE_BYTES);
}

/* Kernel, direct map, and the hand-over's code at its own address. */
static uint64_t main_build_tables(const struct elf_plan *plan, const struct boot_info *info)
{
    struct tables tables = {
        .has_gib_pages = (boot_cpuid_ext_edx() & BOOT_CPUID_EDX_GIB_PAGE) != 0,
        .take_page = main_take_table,
    };
    uint64_t code = ALIGN_DOWN((uintptr_t)uefi_handover, TABLES_PAGE_BYTES);
    uint64_t code_end = ALIGN_UP((uintptr_t)uefi_handover_end, TABLES_PAGE_BYTES);

    bool done =
        tables_init(&tables) && tables_map(&tables, code, code, code_end - code, TABLES_EXEC);
    kernel_map(&tables, plan);
    for (uint64_t i = 0; done && i < info->range_count; i++)
        done = tables_map_direct(&tables, &info->ranges[i]);
    if (!done)
        loader_stop_with("page tables", "no memory");
    return tables.root;
}

/* Over the map: what the pages will hold. */
static void main_add_contents(struct boot_info *info, size_t room, const struct elf_plan *plan)
{
    struct boot_error error;
    bool done = true;

    for (size_t i = 0; done && i < plan->segment_count; i++) {
        const struct elf_segment *s = &plan->segments[i];
        struct boot_range range = {s->phys, s->mem_bytes, BOOT_RANGE_KERNEL, EfiLoaderData};

        done = handover_range(info, room, range, &error);
    }
    for (size_t i = 0; done && i < info->module_count; i++) {
        const struct boot_module *m = &info->modules[i];
        struct boot_range range = {(uintptr_t)m->data - BOOT_DIRECT_BASE, m->bytes,
                                   BOOT_RANGE_MODULE, EfiLoaderData};

        done = handover_range(info, room, range, &error);
    }
    if (!done)
        loader_stop("memory map", &error);
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    struct elf_plan plan;
    struct memory_map map;

    ST = system; /* not InitializeLib: it brings a memcpy and a memset of its own */
    BS = system->BootServices;
    RT = system->RuntimeServices;
    main_check_cpu();
    files_open_volume(image);
    struct handover *handover = memory_take("hand-over", sizeof(*handover));
    kernel_read(&plan, handover);

    struct boot_info *info = memory_take("boot information", sizeof(*info));
    handover_init(info);
    info->way = boot_direct((uintptr_t) "UEFI");
    info->rsdp = main_find_rsdp();
    main_find_framebuffer(&info->framebuffer);
    files_read_cmdline(info);
    files_read_modules(info);
    char *stack = memory_take("stack", LOADER_STACK_BYTES);

    memory_map_read(&map);
    size_t room = memory_map_room(&map) + ELF_SEGMENT_MAX + BOOT_MODULE_MAX;
    info->ranges = memory_take("memory map", room * sizeof(*info->ranges));
    memory_map_translate(&map, info, room);
    uint64_t root = main_build_tables(&plan, info);
    struct handover_gdt gdt = {
        .limit = (uint16_t)(uefi_gdt_end - uefi_gdt - 1),
        .base = (uintptr_t)boot_direct((uintptr_t)uefi_gdt),
    };

    handover->info = boot_direct((uintptr_t)info);
    handover->stack_top = boot_direct((uintptr_t)stack + LOADER_STACK_BYTES);

    memory_exit(image, &map, &plan);
    info->range_count = 0;
    memory_map_translate(&map, info, room);
    main_add_contents(info, room, &plan);
    info->ranges = boot_direct((uintptr_t)info->ranges);
    uefi_handover(boot_direct((uintptr_t)handover), root, &gdt);
}
