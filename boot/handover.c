/*
 * Filling struct boot_info.  The limits are those of boot/boot_info.h; a message names the
 * constant's value, so that it can be compared with what was given.
 */
#include "boot/handover.h"

#include "kernel/base/string.h"

#define HANDOVER_PAGE_BYTES 4096ull
#define HANDOVER_PAGE_TOP   BOOT_DIRECT_BYTES /* no page is looked for above: no sum below wraps */

void handover_init(struct boot_info *info)
{
    memset(info, 0, sizeof(*info));
    info->magic = BOOT_INFO_MAGIC;
    info->version = BOOT_INFO_VERSION;
    info->bytes = sizeof(*info);
}

bool handover_cmdline(struct boot_info *info, const char *text, size_t bytes,
                      struct boot_error *error)
{
    while (bytes > 0 && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--;
    if (bytes >= BOOT_CMDLINE_BYTES)
        return boot_fail(error, "command line too long: %zu bytes, at most %d", bytes,
                         BOOT_CMDLINE_BYTES - 1);
    if (strnlen(text, bytes) != bytes)
        return boot_fail(error, "command line holds a NUL at byte %zu of %zu", strnlen(text, bytes),
                         bytes);
    memcpy(info->cmdline, text, bytes);
    info->cmdline[bytes] = '\0';
    return true;
}

bool handover_module(struct boot_info *info, const char *name, const void *data, uint64_t bytes,
                     struct boot_error *error)
{
    size_t length = strlen(name);

    if (length >= BOOT_NAME_BYTES)
        return boot_fail(error, "module name too long: %zu characters, at most %d", length,
                         BOOT_NAME_BYTES - 1);
    if (info->module_count == BOOT_MODULE_MAX)
        return boot_fail(error, "too many modules: at most %d", BOOT_MODULE_MAX);

    struct boot_module *module = &info->modules[info->module_count++];
    memcpy(module->name, name, length + 1);
    module->data = data;
    module->bytes = bytes;
    return true;
}

bool handover_range(struct boot_info *info, size_t room, struct boot_range range,
                    struct boot_error *error)
{
    if (info->range_count == room)
        return boot_fail(error, "memory map too long: room for %zu ranges", room);
    info->ranges[info->range_count++] = range;
    return true;
}

/* The range's end; one that wraps ends with the address space. */
static uint64_t handover_range_end(const struct boot_range *range)
{
    return range->bytes > UINT64_MAX - range->base ? UINT64_MAX : range->base + range->bytes;
}

/* The first page at or above `page` from which no range of another kind keeps us, as far as one
 * pass over them shows. */
static uint64_t handover_skip_taken(const struct boot_info *info, uint64_t page)
{
    for (uint64_t i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        uint64_t end = handover_range_end(range);

        if (range->kind != BOOT_RANGE_USABLE && range->base < page + HANDOVER_PAGE_BYTES &&
            page < end)
            page = end > HANDOVER_PAGE_TOP ? HANDOVER_PAGE_TOP : ALIGN_UP(end, HANDOVER_PAGE_BYTES);
    }
    return page;
}

/* The first page at or above `page` that lies in a range of kind USABLE. */
static uint64_t handover_skip_holes(const struct boot_info *info, uint64_t page)
{
    uint64_t best = HANDOVER_PAGE_TOP;

    for (uint64_t i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];

        if (range->kind != BOOT_RANGE_USABLE || range->base > HANDOVER_PAGE_TOP)
            continue;
        uint64_t first = MAX(page, ALIGN_UP(range->base, HANDOVER_PAGE_BYTES));
        if (first + HANDOVER_PAGE_BYTES <= handover_range_end(range))
            best = MIN(best, first);
    }
    return best;
}

uint64_t handover_find_page(const struct boot_info *info, uint64_t from, uint64_t limit)
{
    uint64_t page = ALIGN_UP(MIN(from, HANDOVER_PAGE_TOP), HANDOVER_PAGE_BYTES);

    while (page + HANDOVER_PAGE_BYTES <= MIN(limit, HANDOVER_PAGE_TOP)) {
        uint64_t next = handover_skip_holes(info, handover_skip_taken(info, page));

        if (next == page)
            return page;
        page = next;
    }
    return 0;
}
