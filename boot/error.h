/*
 * Why a way in gives up: one line of text with the numbers that decide it.  The pure parts
 * (elf.c, cpio.c, handover.c) write it; boot/uefi and boot/pvh put the name of the file in front,
 * print it and end the machine.
 */
#pragma once

#include "kernel/base/base.h"
#include "kernel/base/format.h"

struct boot_error {
    char text[200]; /* NUL-terminated; set only when a function failed */
};

/* Write the text; the value is false, so that a check can `return boot_fail(error, ...)`. */
#define boot_fail(error, ...)                                             \
    ({                                                                    \
        format_string((error)->text, sizeof((error)->text), __VA_ARGS__); \
        false;                                                            \
    })
