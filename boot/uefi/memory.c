/*
 * Pages from the firmware, and its memory map.
 *
 * Whatever is handed over is allocated as EfiLoaderData, as the loader's own image is
 * EfiLoaderCode, so the final map itself says what is in use: these become BOOT, the firmware's
 * boot services, which are gone by then, become USABLE.  Segments and modules are laid over that
 * as ranges of a higher kind.
 *
 *   conventional, boot services code and data      USABLE
 *   loader code and data                           BOOT
 *   ACPI reclaim                                   ACPI
 *   runtime services, ACPI NVS, reserved, devices,
 *   unusable, persistent, unknown                  RESERVED
 *
 * A segment's place may hold boot services now: uefi_handover writes it when they are gone.  What
 * of it is free is claimed as EfiLoaderCode, so that nothing else is allocated there; should the
 * firmware free a part and give it to us as EfiLoaderData, the check before the exit sees that.
 *
 * The map is an array of descriptors of the firmware's own size: step by that.
 *
 * Source: UEFI 2.9, section 7.2 (memory allocation services), 7.4 (ExitBootServices).
 */
#include "boot/uefi/loader.h"

#include "boot/handover.h"
#include "kernel/base/string.h"

#define MEMORY_MAP_SLACK  64 /* descriptors that the map may grow by before memory_exit */
#define MEMORY_EXIT_TRIES 8
#define MEMORY_PAGES(n)   (((n) + EFI_PAGE_SIZE - 1) / EFI_PAGE_SIZE)

void *memory_take(const char *what, uint64_t bytes)
{
    EFI_PHYSICAL_ADDRESS addr = 0;
    EFI_STATUS status = EFI_OUT_OF_RESOURCES;

    if (bytes <= BOOT_DIRECT_BYTES)
        status = BS->AllocatePages(AllocateAnyPages, EfiLoaderData, MEMORY_PAGES(bytes), &addr);
    if (EFI_ERROR(status))
        loader_stop_with(what, "no memory for its %lu bytes", bytes);
    return (void *)addr;
}

static enum boot_range_kind memory_kind(uint32_t type)
{
    switch (type) {
    case EfiConventionalMemory:
    case EfiBootServicesCode:
    case EfiBootServicesData:
        return BOOT_RANGE_USABLE;
    case EfiLoaderCode:
    case EfiLoaderData:
        return BOOT_RANGE_BOOT;
    case EfiACPIReclaimMemory:
        return BOOT_RANGE_ACPI;
    default:
        return BOOT_RANGE_RESERVED;
    }
}

static bool memory_is_ram(uint32_t type)
{
    return memory_kind(type) != BOOT_RANGE_RESERVED || type == EfiRuntimeServicesCode ||
           type == EfiRuntimeServicesData || type == EfiACPIMemoryNVS;
}

static const EFI_MEMORY_DESCRIPTOR *memory_map_at(const struct memory_map *map, UINTN offset)
{
    return (const EFI_MEMORY_DESCRIPTOR *)(map->bytes + offset);
}

/* The descriptor that holds addr; NULL when none does. */
static const EFI_MEMORY_DESCRIPTOR *memory_map_find(const struct memory_map *map, uint64_t addr)
{
    for (UINTN at = 0; at < map->used_bytes; at += map->step_bytes) {
        const EFI_MEMORY_DESCRIPTOR *d = memory_map_at(map, at);

        if (addr >= d->PhysicalStart &&
            (addr - d->PhysicalStart) / EFI_PAGE_SIZE < d->NumberOfPages)
            return d;
    }
    return NULL;
}

/*
 * Hold the segment's place against the map: `claimed` is the type that counts as ours there,
 * besides what is or will be free.
 */
static void memory_check_place(const struct memory_map *map, const struct elf_segment *segment,
                               uint32_t claimed)
{
    uint64_t end = segment->phys + segment->mem_bytes;

    for (uint64_t at = segment->phys; at < end;) {
        const EFI_MEMORY_DESCRIPTOR *d = memory_map_find(map, at);

        if (d == NULL || !memory_is_ram(d->Type))
            loader_stop_with(LOADER_KERNEL,
                             "segment %u: outside RAM: 0x%lx to 0x%lx, no RAM at "
                             "0x%lx",
                             segment->header, segment->phys, end, at);
        if (memory_kind(d->Type) != BOOT_RANGE_USABLE && d->Type != claimed)
            loader_stop_with(LOADER_KERNEL,
                             "segment %u: in use by the firmware: 0x%lx to 0x%lx, memory of type "
                             "%u at 0x%lx",
                             segment->header, segment->phys, end, d->Type, at);
        at = d->PhysicalStart + d->NumberOfPages * EFI_PAGE_SIZE;
    }
}

void memory_claim(const struct elf_segment *segment)
{
    uint64_t end = ALIGN_UP(segment->phys + segment->mem_bytes, EFI_PAGE_SIZE);
    struct memory_map map;

    memory_map_read(&map);
    memory_check_place(&map, segment, EfiConventionalMemory);
    for (uint64_t at = segment->phys; at < end;) {
        const EFI_MEMORY_DESCRIPTOR *d = memory_map_find(&map, at);
        uint64_t part_end = MIN(end, d->PhysicalStart + d->NumberOfPages * EFI_PAGE_SIZE);
        EFI_PHYSICAL_ADDRESS addr = at;

        if (d->Type == EfiConventionalMemory &&
            EFI_ERROR(BS->AllocatePages(AllocateAddress, EfiLoaderCode,
                                        (part_end - at) / EFI_PAGE_SIZE, &addr)))
            loader_stop_with(LOADER_KERNEL, "segment %u: no memory: 0x%lx to 0x%lx",
                             segment->header, at, part_end);
        at = part_end;
    }
    FreePool(map.bytes);
}

static EFI_STATUS memory_map_get(struct memory_map *map)
{
    UINT32 version;

    map->used_bytes = map->room_bytes;
    return BS->GetMemoryMap(&map->used_bytes, (EFI_MEMORY_DESCRIPTOR *)map->bytes, &map->key,
                            &map->step_bytes, &version);
}

void memory_map_read(struct memory_map *map)
{
    *map = (struct memory_map){0};
    while (memory_map_get(map) == EFI_BUFFER_TOO_SMALL) {
        if (map->bytes != NULL)
            FreePool(map->bytes);
        map->room_bytes = map->used_bytes + MEMORY_MAP_SLACK * map->step_bytes;
        map->bytes = AllocatePool(map->room_bytes);
        if (map->bytes == NULL)
            loader_stop_with("memory map", "no memory for its %lu bytes", map->room_bytes);
    }
    if (map->bytes == NULL)
        loader_stop_with("memory map", "the firmware does not give it");
}

void memory_exit(EFI_HANDLE image, struct memory_map *map, const struct elf_plan *plan)
{
    /* A timer's handler may change the map between the two calls: then again, with a fresh key.
     * After the first try only these two calls are allowed, so the room must do. */
    for (int tries = 0; tries < MEMORY_EXIT_TRIES; tries++) {
        EFI_STATUS status = memory_map_get(map);

        if (EFI_ERROR(status))
            loader_stop_with("memory map", "read error: firmware status 0x%lx", status);
        for (size_t i = 0; i < plan->segment_count; i++)
            memory_check_place(map, &plan->segments[i], EfiLoaderCode);
        if (BS->ExitBootServices(image, map->key) == EFI_SUCCESS)
            return;
    }
    loader_stop_with("memory map", "changed %d times while leaving the firmware",
                     MEMORY_EXIT_TRIES);
}

size_t memory_map_room(const struct memory_map *map)
{
    return map->room_bytes / map->step_bytes;
}

void memory_map_translate(const struct memory_map *map, struct boot_info *info, size_t room)
{
    struct boot_error error;

    for (UINTN at = 0; at < map->used_bytes; at += map->step_bytes) {
        const EFI_MEMORY_DESCRIPTOR *d = memory_map_at(map, at);
        struct boot_range range = {
            .base = d->PhysicalStart,
            .bytes = d->NumberOfPages * EFI_PAGE_SIZE,
            .kind = memory_kind(d->Type),
            .firmware_type = d->Type,
        };

        if (!handover_range(info, room, range, &error))
            loader_stop("memory map", &error);
    }
}
