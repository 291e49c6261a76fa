/*
 * The PVH start info, as a hypervisor lays it out, and what entry.S and the C code share.
 *
 * Source: Xen, xen/include/public/arch-x86/hvm/start_info.h (the structures' layout).
 */
#pragma once

#include "boot/boot_info.h"
#include "boot/error.h"

#define PVH_MAGIC       0x336ec578u
#define PVH_VERSION_MAP 1u /* from this version on there is a memory map */

struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules; /* physical, struct pvh_module[] */
    uint64_t cmdline; /* physical, NUL-terminated; 0: none */
    uint64_t rsdp;    /* physical; 0: none */
    uint64_t map;     /* physical, struct pvh_range[] */
    uint32_t map_count;
    uint32_t reserved;
};

struct pvh_module {
    uint64_t base; /* physical */
    uint64_t bytes;
    uint64_t cmdline; /* physical; 0: none */
    uint64_t reserved;
};

enum pvh_range_type { /* as E820 */
                      PVH_RANGE_RAM = 1,
                      PVH_RANGE_ACPI = 3,
};

struct pvh_range {
    uint64_t base; /* physical */
    uint64_t bytes;
    uint32_t type; /* enum pvh_range_type, or another: reserved */
    uint32_t reserved;
};

/* Everything here runs once: it stands in sections that the kernel releases. */
#define PVH_CODE SECTION(".boot.text")
#define PVH_BSS  SECTION(".boot.bss")

/* Print "spandrel loader: what: text" on the serial port and end QEMU with a failing status. */
NORETURN void pvh_stop(const char *what, const struct boot_error *error);

/*
 * pvh_modules -- list the modules in info: a cpio archive's files, or the whole as "initrd".
 * The direct map stands.  Stops the machine when an archive is malformed.
 */
void pvh_modules(struct boot_info *info, const struct pvh_module *modules, size_t count);

NORETURN void pvh_main(uint32_t start_info); /* from entry.S, on its tables */
NORETURN void arch_entry(struct boot_info *info);
