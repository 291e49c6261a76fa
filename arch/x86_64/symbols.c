/*
 * What stands at a code address: the function and the source line.
 *
 * The build makes two tables of the linked image (symbols.sh) and links them in at its end:
 * functions as pairs of address and name, and lines as an index of blocks of packed rows (lines.awk
 * has the form).  Both are sorted by address and searched by halves; then a line's block is read up
 * to the address, 64 rows at most.  Lines of all instructions take about 90 KiB, and nothing at run
 * time until they are asked for.
 */
#include "arch/x86_64/symbols.h"
#include "arch/arch.h"
#include "arch/x86_64/image.h"
#include "kernel/base/string.h"

/* Entries ascend; the last is an end mark. */
struct table_entry {
    uint32_t offset; /* of the first instruction from BOOT_KERNEL_BASE */
    uint32_t value;
};

extern const struct table_entry __symbols_start[], __symbols_end[]; /* value: of __symbol_names */
extern const struct table_entry __lines_start[], __lines_end[];     /* value: of __line_rows */
extern const char __symbol_names[];
extern const uint8_t __line_rows[];
extern const uint32_t __line_files[]; /* by number: offset of the name from __line_file_names */
extern const char __line_file_names[];

/* The last entry not behind pc; NULL if pc is before the first, behind the end mark, or no code. */
static const struct table_entry *table_find(const struct table_entry *low,
                                            const struct table_entry *end, uintptr_t pc)
{
    uintptr_t offset = pc - BOOT_KERNEL_BASE;

    if (low == end || !image_is_code(pc) || offset < low->offset || offset >= end[-1].offset)
        return NULL;
    while (end - low > 1) {
        const struct table_entry *middle = low + (end - low) / 2;

        if (middle->offset <= offset)
            low = middle;
        else
            end = middle;
    }
    return low;
}

bool arch_symbol(uintptr_t pc, const char **name, size_t *offset)
{
    const struct table_entry *symbol = table_find(__symbols_start, __symbols_end, pc);

    if (symbol == NULL)
        return false;
    *name = __symbol_names + symbol->value;
    *offset = pc - BOOT_KERNEL_BASE - symbol->offset;
    return true;
}

uintptr_t arch_symbol_find(const char *name)
{
    for (const struct table_entry *symbol = __symbols_start; symbol + 1 < __symbols_end; symbol++) {
        if (strcmp(__symbol_names + symbol->value, name) == 0)
            return BOOT_KERNEL_BASE + symbol->offset;
    }
    return 0;
}

size_t symbols_line_blocks(void)
{
    size_t entries = (size_t)(__lines_end - __lines_start);

    return entries == 0 ? 0 : entries - 1;
}

void symbols_open_lines(struct line_cursor *cursor, size_t block)
{
    cursor->next = __line_rows + __lines_start[block].value;
    cursor->end = __line_rows + __lines_start[block + 1].value;
    cursor->offset = __lines_start[block].offset;
    cursor->file = 0;
    cursor->line = 0;
}

/* LEB128: seven bits a byte, low ones first, the upper bit says that more follow. */
static uint32_t line_number_next(struct line_cursor *cursor)
{
    uint32_t value = 0;

    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *cursor->next++;

        value |= (uint32_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return value;
    }
}

bool symbols_next_line(struct line_cursor *cursor)
{
    if (cursor->next == cursor->end)
        return false;
    cursor->offset += line_number_next(cursor);

    uint32_t step = line_number_next(cursor);

    cursor->line += (step & 2) != 0 ? -(step >> 2) : step >> 2;
    if ((step & 1) != 0)
        cursor->file = line_number_next(cursor);
    return true;
}

const char *symbols_line_file(uint32_t file)
{
    return __line_file_names + __line_files[file];
}

bool arch_line(uintptr_t pc, const char **file, unsigned *line)
{
    const struct table_entry *block = table_find(__lines_start, __lines_end, pc);
    struct line_cursor cursor, found;

    if (block == NULL)
        return false;
    symbols_open_lines(&cursor, (size_t)(block - __lines_start));
    found = cursor;
    while (symbols_next_line(&cursor) && cursor.offset <= pc - BOOT_KERNEL_BASE)
        found = cursor;
    if (found.file == 0)
        return false;
    *file = symbols_line_file(found.file);
    *line = found.line;
    return true;
}
