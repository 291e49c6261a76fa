/*
 * How the loader gives up: a line on screen and serial, and the firmware's shutdown.
 *
 * The firmware's console may already go to the serial port; then the line must not be written there
 * a second time.  The variable ConOut tells: it lists the device paths of all output consoles, and
 * one on a serial port has a UART node.  Only without one does the loader write to the first serial
 * port by itself.  On a machine with a screen the line stays to be read for STOP_READ_SECONDS.
 *
 * Source: UEFI 2.9, sections 3.3 (globally defined variables) and 10.3.4.15 (UART device path).
 */
#include "boot/uefi/loader.h"

#include "boot/com1.h"

#define STOP_READ_SECONDS 5
#define STOP_LINE_BYTES   (LOADER_PATH_BYTES + sizeof(struct boot_error))

static bool stop_console_is_serial(void)
{
    UINTN bytes = 0;
    char *paths = LibGetVariableAndSize((CHAR16 *)L"ConOut", &gEfiGlobalVariableGuid, &bytes);
    bool found = false;

    for (UINTN at = 0; paths != NULL && at + sizeof(EFI_DEVICE_PATH) <= bytes && !found;) {
        EFI_DEVICE_PATH *node = (EFI_DEVICE_PATH *)(paths + at);
        UINTN node_bytes = DevicePathNodeLength(node);

        found =
            DevicePathType(node) == MESSAGING_DEVICE_PATH && DevicePathSubType(node) == MSG_UART_DP;
        if (node_bytes < sizeof(EFI_DEVICE_PATH))
            break;
        at += node_bytes;
    }
    if (paths != NULL)
        FreePool(paths);
    return found;
}

static bool stop_has_screen(void)
{
    void *gop;

    return BS->LocateProtocol(&gEfiGraphicsOutputProtocolGuid, NULL, &gop) == EFI_SUCCESS;
}

static void stop_print(const char *line)
{
    for (; *line != '\0'; line++) {
        CHAR16 text[] = {(unsigned char)*line, 0};

        if (*line == '\n')
            ST->ConOut->OutputString(ST->ConOut, (CHAR16 *)L"\r");
        ST->ConOut->OutputString(ST->ConOut, text);
    }
}

void loader_stop(const char *what, const struct boot_error *error)
{
    char line[STOP_LINE_BYTES];

    format_string(line, sizeof(line), "spandrel loader: %s: %s\n", what, error->text);
    stop_print(line);
    if (!stop_console_is_serial()) {
        com1_init();
        com1_write(line);
    }
    if (stop_has_screen())
        BS->Stall(STOP_READ_SECONDS * 1000 * 1000);
    RT->ResetSystem(EfiResetShutdown, EFI_LOAD_ERROR, 0, NULL);
    for (;;)
        __asm__ volatile("cli; hlt");
}
