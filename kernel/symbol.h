/*
 * Names of code addresses, for reports: "kmalloc+0x12 (mm/slab/kmalloc.c:123)".  Any context.
 *
 * A return address is one past its call, and past the function's end where the callee does not
 * return; so the call's last byte is what is looked up.  An instruction that a trap hit is looked up
 * as it is.
 */
#pragma once

#include "arch/arch.h"

#define SYMBOL_TEXT_BYTES \
    256 /* a buffer that holds any text of symbol_format; longer ones are cut */

/*
 * kernel_line_of -- the source line of the call that returns to `return_address`; of inlined code
 * the innermost.
 *   file     relative to the root; constant, for ever
 *   returns  false when not known (nothing changed): what is no code, every address where the port
 *            has no lines (arch_line)
 *   context  any; some hundred instructions
 */
static inline bool kernel_line_of(uintptr_t return_address, const char **file, unsigned *line)
{
    return arch_line(return_address - 1, file, line);
}

/*
 * symbol_format -- a return address as text: "name+0x12 (file:line)", without what is not known.
 *   text     buffer of `bytes` > 0; NUL-terminated
 *   returns  false when nothing is known; text is then "0x..."
 */
bool symbol_format(char *text, size_t bytes, uintptr_t return_address);

/* The same for the address of an instruction, as a trap gives it. */
bool symbol_format_instruction(char *text, size_t bytes, uintptr_t address);
