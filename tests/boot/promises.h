/*
 * What boot/elf.h and boot/cpio.h promise of whatever they have let pass; tests and fuzzers hold
 * them to it.
 */
#pragma once

#include "boot/boot_info.h"
#include "boot/cpio.h"
#include "boot/elf.h"
#include "kernel/base/string.h"

/* E1 to E5 of boot/elf.h, recomputed: the number of the first that does not hold, 0 if all do. */
static inline int promises_broken_by_plan(const struct elf_plan *plan, uint64_t file_bytes)
{
    bool entry_found = false;

    if (plan->segment_count == 0 || plan->segment_count > ELF_SEGMENT_MAX)
        return 1;
    for (size_t i = 0; i < plan->segment_count; i++) {
        const struct elf_segment *s = &plan->segments[i];
        uint64_t file_end, virt_end;

        if (__builtin_add_overflow(s->file_offset, s->file_bytes, &file_end) ||
            file_end > file_bytes || s->file_bytes > s->mem_bytes || s->mem_bytes == 0)
            return 1;
        if (s->virt % ELF_PAGE_BYTES != 0 || s->virt - s->phys != BOOT_KERNEL_BASE ||
            (__builtin_add_overflow(s->virt, s->mem_bytes, &virt_end) && virt_end != 0))
            return 2;
        for (size_t k = 0; k < i; k++) {
            const struct elf_segment *o = &plan->segments[k];
            uint64_t last = (s->phys + s->mem_bytes - 1) / ELF_PAGE_BYTES;
            uint64_t other_last = (o->phys + o->mem_bytes - 1) / ELF_PAGE_BYTES;

            if (s->phys / ELF_PAGE_BYTES <= other_last && o->phys / ELF_PAGE_BYTES <= last)
                return 3;
        }
        if ((s->rights & ELF_WRITE) != 0 && (s->rights & ELF_EXEC) != 0)
            return 4;
        if ((s->rights & ELF_EXEC) != 0 && plan->entry - s->virt < s->file_bytes)
            entry_found = true;
    }
    return entry_found ? 0 : 5;
}

/* A file that cpio_next gave lies in the archive, its name too, NUL included. */
static inline bool promises_kept_by_file(const struct cpio *cpio, const struct cpio_file *file)
{
    const char *end = cpio->bytes + cpio->size;

    return file->name >= cpio->bytes && file->name < end &&
           strnlen(file->name, (size_t)(end - file->name)) < (size_t)(end - file->name) &&
           file->name[0] != '\0' && strchr(file->name, '/') == NULL && file->data >= cpio->bytes &&
           file->data <= end && file->bytes <= (uint64_t)(end - file->data) &&
           cpio->at <= cpio->size;
}
