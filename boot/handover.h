/*
 * Filling struct boot_info: what boot/uefi and boot/pvh have in common.  Pure: writes only the
 * struct, whose limits it checks.
 */
#pragma once

#include "boot/boot_info.h"
#include "boot/error.h"

/* A physical address as the kernel sees it: in the direct map. */
static inline void *boot_direct(uint64_t phys)
{
    return (void *)(BOOT_DIRECT_BASE + phys);
}

/* Empty but for magic, version and size; everything else zero. */
void handover_init(struct boot_info *info);

/*
 * handover_cmdline -- copy the command line, without the line ends at its end.
 *   text, bytes  as the file or the start info has it; need not be NUL-terminated
 *   returns      false when it is too long or holds a NUL: the error says so
 */
bool handover_cmdline(struct boot_info *info, const char *text, size_t bytes,
                      struct boot_error *error);

/*
 * handover_module -- add a module.
 *   name     copied; 1 .. BOOT_NAME_BYTES - 1 characters
 *   data     direct-map address
 *   returns  false when the name is too long or there are too many: the error says so
 */
bool handover_module(struct boot_info *info, const char *name, const void *data, uint64_t bytes,
                     struct boot_error *error);

/*
 * handover_range -- append a range of memory.
 *   room     entries that info->ranges has room for
 *   returns  false when it is full: the error says so
 */
bool handover_range(struct boot_info *info, size_t room, struct boot_range range,
                    struct boot_error *error);

/*
 * handover_find_page -- a free page for the way in's own use.
 *   from, limit  physical; the page lies at or above the one and ends at or below the other
 *   returns      the lowest page that lies in a range of kind USABLE and touches none of another
 *                kind; 0 when there is none.  O(ranges squared)
 */
uint64_t handover_find_page(const struct boot_info *info, uint64_t from, uint64_t limit);
