/*
 * The kernel's ELF file, checked and planned before a byte of it is loaded.
 *
 * Pure: reads only the bytes it is given, allocates nothing, keeps nothing.  The UEFI loader, the
 * hosted tests and a fuzzer call the same code.
 */
#pragma once

#include "boot/error.h"

#define ELF_SEGMENT_MAX 16 /* loadable segments, at most */
#define ELF_PAGE_BYTES  4096u

enum elf_rights {
    ELF_EXEC = 1 << 0,
    ELF_WRITE = 1 << 1,
    ELF_READ = 1 << 2,
};

/*
 * A segment to load.  After elf_check:
 *   E1  file_offset + file_bytes <= the file's size; file_bytes <= mem_bytes; mem_bytes > 0
 *   E2  virt and phys are page-aligned, virt == BOOT_KERNEL_BASE + phys, and both ends, rounded up
 *       to a page, neither wrap nor leave the top 2 GiB
 *   E3  no two segments share a page
 *   E4  no segment has both ELF_WRITE and ELF_EXEC
 */
struct elf_segment {
    uint64_t file_offset; /* bytes from the start of the file */
    uint64_t file_bytes;  /* bytes to read; the rest of mem_bytes is zero */
    uint64_t virt;        /* link address */
    uint64_t phys;        /* where to load: p_paddr */
    uint64_t mem_bytes;   /* bytes in memory */
    uint32_t rights;      /* enum elf_rights */
    uint32_t header;      /* index of its program header, for messages */
};

struct elf_plan {
    uint64_t entry; /* link address; E5: inside the file bytes of a segment with ELF_EXEC */
    size_t segment_count;
    struct elf_segment segments[ELF_SEGMENT_MAX];
};

/*
 * elf_check -- check an x86_64 kernel file and list its segments.
 *   head, head_bytes  the file's first bytes; the program headers must lie inside
 *   file_bytes        size of the whole file; head_bytes <= file_bytes
 *   plan              set when true is returned
 *   returns           false when anything is wrong: error says what, with the numbers
 */
bool elf_check(const void *head, uint64_t head_bytes, uint64_t file_bytes, struct elf_plan *plan,
               struct boot_error *error);
