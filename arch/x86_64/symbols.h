/*
 * The image's line table, an entry at a time.  Any context; nothing in it changes.
 *
 * A first link has none, as it has no names of functions: then there are no blocks, and arch_symbol
 * and arch_line give false.
 */
#pragma once

#include "kernel/base/base.h"

/* Where a walk over the rows of one block is: at the row that symbols_next_line has come to. */
struct line_cursor {
    const uint8_t *next, *end; /* rows to come */
    uint32_t offset;           /* of the row's first instruction from BOOT_KERNEL_BASE */
    uint32_t file, line;       /* file 0: none */
};

size_t symbols_line_blocks(void);
/* Open a block, 0 .. symbols_line_blocks() - 1; the cursor is before its first row. */
void symbols_open_lines(struct line_cursor *cursor, size_t block);
bool symbols_next_line(struct line_cursor *cursor); /* false: that was the block's last row */
const char *symbols_line_file(uint32_t file);       /* relative to the root; "" for 0 */
