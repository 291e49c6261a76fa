/*
 * Memory at start-up: from the way in's map to mm/, and back to the page heap what only the
 * start needed.  Boot CPU; part of the boot order (kernel/main.c).
 */
#pragma once

#include "boot/boot_info.h"
#include "kernel/base/base.h"

/* Hand the map to mm/, less what mem= cuts off; early_alloc works from here on. */
void boot_memory_open(const struct boot_info *info);

/* The way in's map, in early memory: valid while the way in's own memory is not. */
const struct boot_range *boot_memory_ranges(size_t *count);

/* Cut what mm/ has now into `parts` of about the same size: where each ends; the last, never. */
void boot_memory_split(uint64_t *ends, unsigned parts);

void *boot_memory_take_page(void); /* zeroed, for arch_paging_init; never NULL */

void boot_memory_fill(void);           /* open all of memory (mm_open), on all CPUs; ordinary */
uint64_t boot_memory_fill_ticks(void); /* that it took */
uint64_t boot_memory_fill_bytes(void); /* that it opened */

/* Ranges of kind BOOT and boot-only sections of the image go to the page heap; all is open. */
void boot_memory_give(void);

void boot_memory_report(void);
