/*
 * The parts of the UEFI loader.  Nothing here fails quietly: what cannot be done ends in
 * loader_stop, so that no caller checks.
 */
#pragma once

#include <efi.h>
#include <efilib.h>

#include "boot/boot_info.h"
#include "boot/elf.h"
#include "boot/tables.h"

#define LOADER_KERNEL  "\\spandrel\\kernel.elf"
#define LOADER_CMDLINE "\\spandrel\\cmdline.txt"
#define LOADER_MODULES "\\spandrel\\modules"

#define LOADER_PATH_BYTES  300 /* a path in a message; longer ones are cut off */
#define LOADER_STACK_BYTES (32 * KIB)

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system); /* GNU-EFI's crt0 calls it */

/* ---- stop.c ---- */

/* "spandrel loader: what: text" on screen and serial, then the firmware's shutdown. */
NORETURN void loader_stop(const char *what, const struct boot_error *error);

/* The same with a text made here. */
#define loader_stop_with(what, ...)             \
    do {                                        \
        struct boot_error loader_error_;        \
        boot_fail(&loader_error_, __VA_ARGS__); \
        loader_stop(what, &loader_error_);      \
    } while (0)

/* ---- files.c: the volume that the loader came from ---- */

struct file {
    EFI_FILE_HANDLE handle;
    uint64_t bytes;
    char path[LOADER_PATH_BYTES]; /* for messages */
};

void files_open_volume(EFI_HANDLE image);
bool files_open(struct file *file, const char *path); /* false: not there */
void files_read(struct file *file, uint64_t offset, uint64_t bytes, void *to);
void files_close(struct file *file);
void files_read_cmdline(struct boot_info *info); /* leaves it "" when there is no such file */
void files_read_modules(struct boot_info *info); /* none when there is no such folder */

/* ---- memory.c: pages and the memory map ---- */

struct memory_map {
    char *bytes;
    UINTN used_bytes, room_bytes;
    UINTN key;
    UINTN step_bytes; /* from one descriptor to the next: not sizeof(EFI_MEMORY_DESCRIPTOR) */
};

/* Pages for what is handed over: identity-mapped now, of kind BOOT afterwards. */
void *memory_take(const char *what, uint64_t bytes);

/*
 * Claim the pages where a segment belongs, having seen that they are RAM which is free, or will be
 * when the boot services are left: only then may they be written.
 */
void memory_claim(const struct elf_segment *segment);

/* Read the map, with room for it to grow before memory_exit. */
void memory_map_read(struct memory_map *map);

/*
 * Leave the boot services.  On return the map is final, no firmware call is allowed, and the pages
 * of the plan's segments belong to nobody else.
 */
void memory_exit(EFI_HANDLE image, struct memory_map *map, const struct elf_plan *plan);

/* Descriptors that the map has room for. */
size_t memory_map_room(const struct memory_map *map);

/* Append the map to info->ranges, which has room. */
void memory_map_translate(const struct memory_map *map, struct boot_info *info, size_t room);

/* ---- handover.S ---- */

/* One segment's way to its place; the layout is known to handover.S. */
struct handover_segment {
    void *to; /* direct-map addresses */
    const void *from;
    uint64_t copy;  /* in units of 8 bytes */
    uint64_t clear; /* right behind, in units of 8 bytes */
};

struct handover {
    uint64_t entry;  /* arch_entry */
    void *info;      /* direct-map address */
    void *stack_top; /* direct-map address, aligned to 16 */
    uint64_t segment_count;
    struct handover_segment segments[ELF_SEGMENT_MAX];
};

struct handover_gdt {
    uint16_t limit;
    uint64_t base; /* direct-map address */
} __attribute__((packed));

/*
 * uefi_handover -- switch to the kernel's tables and stack, move its segments to their places and
 * jump to it.  Its code, from uefi_handover to uefi_handover_end, must be mapped at its own address
 * by the new tables.
 *   handover  direct-map address
 *   root      CR3
 */
NORETURN void uefi_handover(const struct handover *handover, uint64_t root,
                            const struct handover_gdt *gdt);
extern char uefi_handover_end[];
extern char uefi_gdt[], uefi_gdt_end[];

/* ---- kernel.c ---- */

/* Check the file, claim its segments' places, read them elsewhere; sets handover->entry and the
 * segments. */
void kernel_read(struct elf_plan *plan, struct handover *handover);

void kernel_map(struct tables *tables, const struct elf_plan *plan);
