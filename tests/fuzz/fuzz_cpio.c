/*
 * libFuzzer over the cpio reader: arbitrary bytes are refused with a message or read to their end,
 * and every file given lies in the archive.
 */
#include "boot/cpio.h"

#include <stdlib.h>
#include "kernel/base/check.h"
#include "tests/boot/promises.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

void check_failed(const char *expression, const char *file, int line)
{
    (void)expression, (void)file, (void)line;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cpio cpio;
    struct cpio_file file;
    struct boot_error error = {""};
    enum cpio_step step;
    uint64_t at = 0;

    cpio_open(&cpio, data, bytes);
    while ((step = cpio_next(&cpio, &file, &error)) == CPIO_FILE) {
        CHECK(promises_kept_by_file(&cpio, &file));
        CHECK(cpio.at > at); /* it ends */
        at = cpio.at;
    }
    CHECK((step == CPIO_BAD) == (error.text[0] != '\0'));
    return 0;
}
