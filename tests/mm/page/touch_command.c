/* The command `touch SIZE`: use memory for a moment, for tests that look at the host's side of it. */
#include "kernel/base/parse.h"
#include "kernel/command.h"
#include "kernel/print.h"
#include "mm/page/page.h"

static int touch_command(int argc, char **argv)
{
    void *first = NULL, **chunk;
    uint64_t wanted = 0, bytes = 0;

    if (argc != 2 || !parse_size(argv[1], &wanted)) {
        printk("touch: accepted: a size, as in 64M\n");
        return 1;
    }
    while (bytes < wanted && (chunk = page_alloc(CHUNK_PAGES, 0)) != NULL) {
        for (size_t i = 0; i < CHUNK_PAGES; i++)
            *(void **)((char *)chunk + i * PAGE_BYTES) = chunk;
        *chunk = first;
        first = chunk;
        bytes += CHUNK_BYTES;
    }
    while ((chunk = first) != NULL) {
        first = *chunk;
        page_free(chunk, CHUNK_PAGES);
    }
    printk("touch: %lu MiB written to and freed\n", bytes / MIB);
    return bytes < wanted;
}
COMMAND(touch, "SIZE", "take memory, write to it, free it", touch_command);
