/*
 * What a way in (boot/uefi, boot/pvh) hands to the kernel: one versioned struct.
 *
 * State of the machine at arch_entry(struct boot_info *): long mode, interrupts off, one CPU;
 * the kernel's segments mapped at their link addresses with their own rights; every range of
 * kind USABLE, BOOT, KERNEL, MODULE and ACPI mapped read-write, no-execute at
 * BOOT_DIRECT_BASE + physical address; a stack of at least 16 KiB in memory of kind BOOT or
 * KERNEL.  The pointer passed and all pointers below are direct-map addresses.  All of this
 * memory may be reused once the kernel has its own page tables and has copied what it wants:
 * ranges of kind BOOT go back to the page heap.
 */
#pragma once

#include <stdint.h>

#define BOOT_INFO_MAGIC   0x4c52444e41505331ull /* "1SPANDRL" */
#define BOOT_INFO_VERSION 1u

#define BOOT_DIRECT_BASE   0xffff800000000000ull /* the direct map: 64 TiB from here */
#define BOOT_DIRECT_BYTES  0x0000400000000000ull
#define BOOT_KERNEL_BASE   0xffffffff80000000ull /* link address = this + physical address */
#define BOOT_NAME_BYTES    64
#define BOOT_MODULE_MAX    32
#define BOOT_CMDLINE_BYTES 1024

enum boot_range_kind {
    BOOT_RANGE_USABLE,   /* free RAM */
    BOOT_RANGE_BOOT,     /* RAM in use by the way in: page tables, stack, this struct */
    BOOT_RANGE_KERNEL,   /* RAM that holds the kernel's segments */
    BOOT_RANGE_MODULE,   /* RAM that holds modules */
    BOOT_RANGE_ACPI,     /* RAM that holds ACPI tables */
    BOOT_RANGE_RESERVED, /* anything else that the firmware lists: keep off */
};

/*
 * As the firmware gave them, only translated: may overlap, be unsorted or unaligned.  What the way
 * in put into RAM (KERNEL, MODULE, BOOT) is laid over the map: where ranges overlap, the higher
 * kind wins.
 */
struct boot_range {
    uint64_t base;          /* physical, bytes */
    uint64_t bytes;         /* may be 0 or wrap in a broken map: the kernel checks */
    uint32_t kind;          /* enum boot_range_kind; an unknown value counts as RESERVED */
    uint32_t firmware_type; /* as the firmware said, for the report */
};

struct boot_module {
    char name[BOOT_NAME_BYTES]; /* file name without folders, NUL-terminated */
    const void *data;           /* direct map; aligned to 8 bytes at least */
    uint64_t bytes;
};

struct boot_framebuffer {
    uint64_t base; /* physical; 0: none */
    uint32_t width, height;
    uint32_t stride_bytes;
    uint32_t bits_per_pixel; /* 32, or 0: none */
    uint32_t is_bgr;         /* 1: blue in the low byte */
    uint32_t reserved;
};

struct boot_info {
    uint64_t magic;   /* BOOT_INFO_MAGIC */
    uint32_t version; /* BOOT_INFO_VERSION; the kernel refuses any other */
    uint32_t bytes;   /* sizeof(struct boot_info) of the writer */
    const char *way;  /* "UEFI", "PVH" or "hosted" */
    struct boot_range *ranges;
    uint64_t range_count;
    uint64_t rsdp; /* physical address of ACPI's RSDP; 0: not found */
    struct boot_framebuffer framebuffer;
    uint32_t module_count;
    uint32_t reserved;
    struct boot_module modules[BOOT_MODULE_MAX];
    char cmdline[BOOT_CMDLINE_BYTES]; /* NUL-terminated, "" when there is none */
};
