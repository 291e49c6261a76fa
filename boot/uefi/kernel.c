/*
 * The kernel's file: checked from its first bytes; its segments' places claimed; each segment read
 * into pages of the loader's, from where uefi_handover moves it to its place.
 *
 * Why not read it right to its place?  A kernel has one physical address, and the firmware's boot
 * services may well stand there: OVMF keeps its drivers from 9 MiB to 21 MiB.  That memory is free
 * only when they are left, and then no file can be read any more.
 */
#include "boot/uefi/loader.h"

#include "boot/handover.h"
#include "kernel/base/string.h"

#define KERNEL_HEAD_BYTES 4096 /* ELF header and program headers lie in these */

/* Read the segment's file bytes into pages of their own. */
static struct handover_segment kernel_read_segment(struct file *file, const struct elf_segment *s)
{
    uint64_t copy_bytes = ALIGN_UP(s->file_bytes, ELF_PAGE_BYTES);
    uint64_t all_bytes = ALIGN_UP(s->mem_bytes, ELF_PAGE_BYTES);
    char *from = NULL;

    if (copy_bytes > 0) {
        from = memory_take(file->path, copy_bytes);
        files_read(file, s->file_offset, s->file_bytes, from);
        memset(from + s->file_bytes, 0, copy_bytes - s->file_bytes);
    }
    return (struct handover_segment){
        .to = boot_direct(s->phys),
        .from = boot_direct((uintptr_t)from),
        .copy = copy_bytes / 8,
        .clear = (all_bytes - copy_bytes) / 8,
    };
}

void kernel_read(struct elf_plan *plan, struct handover *handover)
{
    char head[KERNEL_HEAD_BYTES];
    struct boot_error error;
    struct file file;

    if (!files_open(&file, LOADER_KERNEL))
        loader_stop_with(LOADER_KERNEL, "not found");
    uint64_t head_bytes = MIN(file.bytes, sizeof(head));
    files_read(&file, 0, head_bytes, head);
    if (!elf_check(head, head_bytes, file.bytes, plan, &error))
        loader_stop(LOADER_KERNEL, &error);

    for (size_t i = 0; i < plan->segment_count; i++)
        memory_claim(&plan->segments[i]);
    for (size_t i = 0; i < plan->segment_count; i++)
        handover->segments[i] = kernel_read_segment(&file, &plan->segments[i]);
    handover->segment_count = plan->segment_count;
    handover->entry = plan->entry;
    files_close(&file);
}

void kernel_map(struct tables *tables, const struct elf_plan *plan)
{
    for (size_t i = 0; i < plan->segment_count; i++) {
        const struct elf_segment *s = &plan->segments[i];
        unsigned rights = 0;

        if (s->rights & ELF_WRITE)
            rights |= TABLES_WRITE;
        if (s->rights & ELF_EXEC)
            rights |= TABLES_EXEC;
        if (!tables_map(tables, s->virt, s->phys, ALIGN_UP(s->mem_bytes, ELF_PAGE_BYTES), rights))
            loader_stop_with(LOADER_KERNEL, "segment %u: no memory for page tables", s->header);
    }
}
