/*
 * libFuzzer over the kernel file's checker: arbitrary bytes are refused with a message or pass, and
 * what has passed keeps what elf.h promises.
 */
#include "boot/elf.h"

#include <stdlib.h>
#include "kernel/base/check.h"
#include "tests/boot/promises.h"

#define FUZZ_HEADER_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

void check_failed(const char *expression, const char *file, int line)
{
    (void)expression, (void)file, (void)line;
    abort();
}

static void fuzz_elf_check(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes)
{
    struct elf_plan plan;
    struct boot_error error = {""};

    if (elf_check(head, head_bytes, file_bytes, &plan, &error))
        CHECK(promises_broken_by_plan(&plan, file_bytes) == 0);
    else
        CHECK(error.text[0] != '\0' && strnlen(error.text, sizeof(error.text)) > 0);
}

/* Once as it is, once behind a sound header, so that the program headers are reached at all. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t header[FUZZ_HEADER_BYTES] = {
        0x7f, 'E', 'L',  'F',  2,    1,    1,    [16] = 2,  [18] = 62, [20] = 1,  [24] = 0x10,
        0,    0,   0x81, 0xff, 0xff, 0xff, 0xff, [32] = 64, [52] = 64, [54] = 56,
    };
    size_t file_bytes = FUZZ_HEADER_BYTES + bytes;
    uint8_t *file = malloc(file_bytes);

    CHECK(file != NULL);
    fuzz_elf_check(data, bytes, bytes);
    memcpy(file, header, sizeof(header));
    if (bytes > 0)
        memcpy(file + FUZZ_HEADER_BYTES, data, bytes);
    file[56] = (uint8_t)(bytes / 56);
    fuzz_elf_check(file, file_bytes, file_bytes);
    fuzz_elf_check(file, file_bytes, 0x100000); /* a file of which only the head is read */
    free(file);
    return 0;
}
