/*
 * A newc cpio archive, read entry by entry: how modules travel in an initrd.
 *
 * Pure: reads only the bytes it is given, allocates nothing.  The PVH entry, the hosted tests and
 * a fuzzer call the same code.
 */
#pragma once

#include "boot/error.h"

struct cpio {
    const char *bytes; /* the archive */
    uint64_t size;     /* its bytes */
    uint64_t at;       /* offset of the next entry, <= size */
    unsigned entry;    /* entries read so far, for messages */
};

/* A regular file.  All pointers point into the archive. */
struct cpio_file {
    const char *name; /* without folders, NUL-terminated inside the archive, not "" */
    const char *data; /* aligned to 4 bytes when the archive is */
    uint64_t bytes;
};

enum cpio_step {
    CPIO_FILE, /* the file is set */
    CPIO_END,  /* the trailer has been reached */
    CPIO_BAD,  /* the error is set; do not go on */
};

/* Does it begin as a newc archive does?  If not, an initrd is something else. */
bool cpio_is_archive(const void *bytes, uint64_t size);

/* Start at the first entry; [bytes, bytes + size) must stay readable. */
void cpio_open(struct cpio *cpio, const void *bytes, uint64_t size);

/*
 * cpio_next -- step to the next regular file; folders, links and devices are passed over.
 *   file, error  set as enum cpio_step says
 */
enum cpio_step cpio_next(struct cpio *cpio, struct cpio_file *file, struct boot_error *error);
