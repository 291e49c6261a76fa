/* The kernel image's bounds, from linker.ld; all page-aligned, in this order in memory. */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

extern char __text_start[], __text_end[];               /* read, execute */
extern char __rodata_start[], __rodata_end[];           /* read */
extern char __data_start[], __data_end[];               /* read, write; with .bss and stacks */
extern char __boot_start[], __boot_end[];               /* all of .boot.*, the next three */
extern char __boot_text_start[], __boot_text_end[];     /* read, execute */
extern char __boot_rodata_start[], __boot_rodata_end[]; /* read */
extern char __boot_data_start[], __boot_data_end[];     /* read, write */
extern char __names_start[], __names_end[];             /* read: tables of symbols.c */

/* Is addr in [start, end)? */
static inline bool image_within(uintptr_t addr, const char *start, const char *end)
{
    return addr >= (uintptr_t)start && addr < (uintptr_t)end;
}

static inline bool image_is_code(uintptr_t addr)
{
    return image_within(addr, __text_start, __text_end) ||
           image_within(addr, __boot_text_start, __boot_text_end);
}

/* The physical address of a byte of the image. */
static inline uint64_t image_physical(const volatile void *addr)
{
    return (uintptr_t)addr - BOOT_KERNEL_BASE;
}
