/*
 * The modules of a PVH start: QEMU's -initrd.
 *
 * A newc cpio archive gives one module per regular file; anything else is one module, "initrd".
 * Module data must be aligned to 8 bytes, a cpio archive aligns to 4: where that is not enough the
 * data move down over the pad, the name and the header before them, which have been read by then.
 */
#include "boot/pvh/pvh.h"

#include "boot/cpio.h"
#include "boot/handover.h"
#include "kernel/base/string.h"

#define PVH_MODULE_ALIGN 8
#define PVH_INITRD       "initrd"

PVH_CODE static void pvh_archive(struct boot_info *info, const void *bytes, uint64_t size)
{
    struct boot_error error;
    struct cpio cpio;
    struct cpio_file file;
    enum cpio_step step;

    cpio_open(&cpio, bytes, size);
    while ((step = cpio_next(&cpio, &file, &error)) == CPIO_FILE) {
        char *aligned = (char *)ALIGN_DOWN((uintptr_t)file.data, PVH_MODULE_ALIGN);

        if (!handover_module(info, file.name, aligned, file.bytes, &error))
            pvh_stop(file.name, &error);
        if (aligned != file.data)
            memmove(aligned, file.data, file.bytes);
    }
    if (step == CPIO_BAD)
        pvh_stop(PVH_INITRD, &error);
}

PVH_CODE void pvh_modules(struct boot_info *info, const struct pvh_module *modules, size_t count)
{
    struct boot_error error;

    for (size_t i = 0; i < count; i++) {
        const void *bytes = boot_direct(modules[i].base);

        if (cpio_is_archive(bytes, modules[i].bytes))
            pvh_archive(info, bytes, modules[i].bytes);
        else if (!handover_module(info, PVH_INITRD, bytes, modules[i].bytes, &error))
            pvh_stop(PVH_INITRD, &error);
    }
}
