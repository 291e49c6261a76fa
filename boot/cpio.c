/*
 * The reader of newc cpio archives.
 *
 *   entry:  "070701", 13 numbers of 8 hexadecimal digits | name, NUL | pad | data | pad
 *           <-------------- 110 bytes ---------------->               ^4          ^4
 *
 * Pads bring the offset in the archive to a multiple of 4.  The entry named TRAILER!!! ends it;
 * what follows is not looked at.
 *
 * Source: cpio(5), "New ASCII Format".
 */
#include "boot/cpio.h"

#include "kernel/base/string.h"

#define CPIO_MAGIC        "070701"
#define CPIO_MAGIC_BYTES  6
#define CPIO_DIGITS       8
#define CPIO_HEADER_BYTES 110
#define CPIO_ALIGN        4
#define CPIO_MODE_KIND    0170000u
#define CPIO_MODE_REGULAR 0100000u
#define CPIO_TRAILER      "TRAILER!!!"

/* Which of the header's 13 numbers. */
enum cpio_field {
    CPIO_FIELD_MODE = 1,
    CPIO_FIELD_FILE_BYTES = 6,
    CPIO_FIELD_NAME_BYTES = 11,
};

bool cpio_is_archive(const void *bytes, uint64_t size)
{
    return size >= CPIO_MAGIC_BYTES && memcmp(bytes, CPIO_MAGIC, CPIO_MAGIC_BYTES) == 0;
}

void cpio_open(struct cpio *cpio, const void *bytes, uint64_t size)
{
    *cpio = (struct cpio){.bytes = bytes, .size = size};
}

static bool cpio_number(const struct cpio *cpio, enum cpio_field field, uint32_t *out,
                        struct boot_error *error)
{
    const char *digits = cpio->bytes + cpio->at + CPIO_MAGIC_BYTES + field * CPIO_DIGITS;
    uint32_t value = 0;

    for (int i = 0; i < CPIO_DIGITS; i++) {
        char c = digits[i];

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = value << 4 | (uint32_t)(c - 'A' + 10);
        else
            return boot_fail(error, "entry %u at 0x%lx: field %d holds byte 0x%02x, no digit",
                             cpio->entry, cpio->at, field, (unsigned char)c);
    }
    *out = value;
    return true;
}

static bool cpio_check_header(const struct cpio *cpio, struct boot_error *error)
{
    uint64_t left = cpio->size - cpio->at;

    if (left < CPIO_HEADER_BYTES)
        return boot_fail(error,
                         "entry %u at 0x%lx: header ends beyond the archive's 0x%lx bytes (no "
                         "trailer)",
                         cpio->entry, cpio->at, cpio->size);
    if (!cpio_is_archive(cpio->bytes + cpio->at, left))
        return boot_fail(error, "entry %u at 0x%lx: does not begin with " CPIO_MAGIC, cpio->entry,
                         cpio->at);
    return true;
}

/* The name's place: NUL-terminated inside its bytes, and these inside the archive. */
static bool cpio_check_name(const struct cpio *cpio, uint32_t name_bytes, struct boot_error *error)
{
    const char *name = cpio->bytes + cpio->at + CPIO_HEADER_BYTES;

    if (name_bytes > cpio->size - cpio->at - CPIO_HEADER_BYTES)
        return boot_fail(error,
                         "entry %u at 0x%lx: name of 0x%x bytes ends beyond the archive's 0x%lx "
                         "bytes",
                         cpio->entry, cpio->at, name_bytes, cpio->size);
    if (strnlen(name, name_bytes) == name_bytes)
        return boot_fail(error, "entry %u at 0x%lx: name of 0x%x bytes has no end", cpio->entry,
                         cpio->at, name_bytes);
    return true;
}

/* Read the entry at cpio->at and step over it. */
static enum cpio_step cpio_entry(struct cpio *cpio, struct cpio_file *file, bool *is_regular,
                                 struct boot_error *error)
{
    uint32_t mode, bytes, name_bytes;

    if (!cpio_check_header(cpio, error) || !cpio_number(cpio, CPIO_FIELD_MODE, &mode, error) ||
        !cpio_number(cpio, CPIO_FIELD_FILE_BYTES, &bytes, error) ||
        !cpio_number(cpio, CPIO_FIELD_NAME_BYTES, &name_bytes, error) ||
        !cpio_check_name(cpio, name_bytes, error))
        return CPIO_BAD;

    const char *name = cpio->bytes + cpio->at + CPIO_HEADER_BYTES;
    if (strcmp(name, CPIO_TRAILER) == 0)
        return CPIO_END;

    uint64_t data_at = ALIGN_UP(cpio->at + CPIO_HEADER_BYTES + name_bytes, CPIO_ALIGN);
    if (data_at > cpio->size || bytes > cpio->size - data_at) {
        boot_fail(error,
                  "entry %u at 0x%lx: data 0x%lx + 0x%x ends beyond the archive's 0x%lx bytes",
                  cpio->entry, cpio->at, data_at, bytes, cpio->size);
        return CPIO_BAD;
    }

    *is_regular = (mode & CPIO_MODE_KIND) == CPIO_MODE_REGULAR;
    const char *slash = strrchr(name, '/');
    *file = (struct cpio_file){
        .name = slash != NULL ? slash + 1 : name,
        .data = cpio->bytes + data_at,
        .bytes = bytes,
    };
    if (*is_regular && file->name[0] == '\0') {
        boot_fail(error, "entry %u at 0x%lx: a file without a name", cpio->entry, cpio->at);
        return CPIO_BAD;
    }
    cpio->at = MIN(ALIGN_UP(data_at + bytes, CPIO_ALIGN), cpio->size);
    cpio->entry++;
    return CPIO_FILE;
}

enum cpio_step cpio_next(struct cpio *cpio, struct cpio_file *file, struct boot_error *error)
{
    bool is_regular;
    enum cpio_step step;

    do
        step = cpio_entry(cpio, file, &is_regular, error);
    while (step == CPIO_FILE && !is_regular);
    return step;
}
