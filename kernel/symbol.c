/* Code addresses as text; the lookups are the port's. */
#include "kernel/symbol.h"
#include "kernel/base/format.h"

/* `shown` is named by what stands at `lookup`, which is it or the byte before. */
static bool symbol_format_at(char *text, size_t bytes, uintptr_t shown, uintptr_t lookup)
{
    const char *name, *file;
    size_t offset;
    unsigned line;

    if (!arch_symbol(lookup, &name, &offset)) {
        format_string(text, bytes, "0x%lx", shown);
        return false;
    }
    offset += shown - lookup;
    if (arch_line(lookup, &file, &line))
        format_string(text, bytes, "%s+0x%zx (%s:%u)", name, offset, file, line);
    else
        format_string(text, bytes, "%s+0x%zx", name, offset);
    return true;
}

bool symbol_format(char *text, size_t bytes, uintptr_t return_address)
{
    return symbol_format_at(text, bytes, return_address, return_address - 1);
}

bool symbol_format_instruction(char *text, size_t bytes, uintptr_t address)
{
    return symbol_format_at(text, bytes, address, address);
}
