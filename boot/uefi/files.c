/*
 * Files of the volume that the loader itself was read from: the kernel, the command line, the
 * modules.
 *
 * Paths are ASCII here and CHAR16 at the firmware.  A module's name must be ASCII, since the kernel
 * prints it and compares it with command-line words.
 */
#include "boot/uefi/loader.h"

#include "boot/handover.h"
#include "kernel/base/string.h"

#define FILES_INFO_BYTES   (sizeof(EFI_FILE_INFO) + 2 * 256) /* names have at most 255 characters */
#define FILES_CMDLINE_READ (BOOT_CMDLINE_BYTES + 2)          /* one too many, line end included */

static EFI_FILE_HANDLE files_root;

void files_open_volume(EFI_HANDLE image)
{
    EFI_LOADED_IMAGE *loaded;

    if (BS->HandleProtocol(image, &gEfiLoadedImageProtocolGuid, (void **)&loaded) != EFI_SUCCESS ||
        loaded->DeviceHandle == NULL)
        loader_stop_with("volume", "the firmware does not say where the loader came from");
    files_root = LibOpenRoot(loaded->DeviceHandle);
    if (files_root == NULL)
        loader_stop_with("volume", "no file system where the loader came from");
}

/* Open path; false when it is not there. */
static bool files_open_handle(const char *path, EFI_FILE_HANDLE *handle)
{
    CHAR16 wide[LOADER_PATH_BYTES];
    size_t i;

    for (i = 0; path[i] != '\0' && i < LOADER_PATH_BYTES - 1; i++)
        wide[i] = (unsigned char)path[i];
    wide[i] = 0;

    EFI_STATUS status = files_root->Open(files_root, handle, wide, EFI_FILE_MODE_READ, 0);
    if (status == EFI_NOT_FOUND)
        return false;
    if (EFI_ERROR(status))
        loader_stop_with(path, "cannot be opened: firmware status 0x%lx", status);
    return true;
}

bool files_open(struct file *file, const char *path)
{
    format_string(file->path, sizeof(file->path), "%s", path);
    if (!files_open_handle(path, &file->handle))
        return false;

    EFI_FILE_INFO *info = LibFileInfo(file->handle);
    if (info == NULL)
        loader_stop_with(path, "the firmware does not give its size");
    if (info->Attribute & EFI_FILE_DIRECTORY)
        loader_stop_with(path, "is a folder, not a file");
    file->bytes = info->FileSize;
    FreePool(info);
    return true;
}

void files_read(struct file *file, uint64_t offset, uint64_t bytes, void *to)
{
    UINTN read = bytes;
    EFI_STATUS status = file->handle->SetPosition(file->handle, offset);

    if (!EFI_ERROR(status))
        status = file->handle->Read(file->handle, &read, to);
    if (EFI_ERROR(status))
        loader_stop_with(file->path, "read error at 0x%lx: firmware status 0x%lx", offset, status);
    if (read != bytes)
        loader_stop_with(file->path, "truncated: 0x%lx bytes at 0x%lx instead of 0x%lx", read,
                         offset, bytes);
}

void files_close(struct file *file)
{
    file->handle->Close(file->handle);
}

void files_read_cmdline(struct boot_info *info)
{
    char text[FILES_CMDLINE_READ];
    struct boot_error error;
    struct file file;

    if (!files_open(&file, LOADER_CMDLINE))
        return;
    if (file.bytes > sizeof(text))
        loader_stop_with(LOADER_CMDLINE, "command line too long: %lu bytes, at most %d", file.bytes,
                         BOOT_CMDLINE_BYTES - 1);
    files_read(&file, 0, file.bytes, text);
    files_close(&file);
    if (!handover_cmdline(info, text, file.bytes, &error))
        loader_stop(LOADER_CMDLINE, &error);
}

/* "\spandrel\modules\" and the name, which must be ASCII. */
static void files_module_path(char path[LOADER_PATH_BYTES], const CHAR16 *name)
{
    size_t at = format_string(path, LOADER_PATH_BYTES, "%s\\", LOADER_MODULES);

    for (; *name != 0 && at < LOADER_PATH_BYTES - 1; name++, at++) {
        if (*name < ' ' || *name > '~') {
            path[at] = '\0';
            loader_stop_with(path, "the name goes on with character 0x%x: only ASCII is allowed",
                             *name);
        }
        path[at] = (char)*name;
    }
    path[at] = '\0';
}

static void files_read_module(struct boot_info *info, const char *path)
{
    struct boot_error error;
    struct file file;

    if (!files_open(&file, path))
        loader_stop_with(path, "listed in its folder, but not there");
    void *data = memory_take(path, MAX(file.bytes, 1ul));
    if (!handover_module(info, strrchr(path, '\\') + 1, boot_direct((uintptr_t)data), file.bytes,
                         &error))
        loader_stop(path, &error);
    files_read(&file, 0, file.bytes, data);
    files_close(&file);
}

void files_read_modules(struct boot_info *info)
{
    EFI_FILE_HANDLE folder;
    char path[LOADER_PATH_BYTES];
    union {
        EFI_FILE_INFO info;
        char room[FILES_INFO_BYTES];
    } entry;

    if (!files_open_handle(LOADER_MODULES, &folder))
        return;
    for (;;) {
        UINTN bytes = sizeof(entry);
        EFI_STATUS status = folder->Read(folder, &bytes, &entry);

        if (EFI_ERROR(status))
            loader_stop_with(LOADER_MODULES, "cannot be listed: firmware status 0x%lx", status);
        if (bytes == 0)
            break;
        if (entry.info.Attribute & EFI_FILE_DIRECTORY)
            continue;
        files_module_path(path, entry.info.FileName);
        files_read_module(info, path);
    }
    folder->Close(folder);
}
