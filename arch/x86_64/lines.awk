# The source lines of a linked kernel image, as assembly for the next link; symbols.c reads them.
#
#   objdump -d IMAGE | ...its addresses... | addr2line -ai -e IMAGE | awk -f lines.awk
#
# A row for each instruction whose line is not the line of the one before, in order of address; what
# has none, like padding, is in line 0 of file 0.  Of inlined code it is the innermost line that is
# known.  Rows stand in blocks, so that a lookup reads one block; a block begins at file 0, line 0:
#
#   index   offset of the block's first instruction from the kernel's base, offset of its first row
#   row     bytes from the row before; lines from the row before, as COUNT * 4 + IS_UP * 2 +
#           IS_OTHER_FILE; and if it is another file, that file's number; LEB128, three bytes on
#           average
#
# The index's end mark has the largest offset there is, and that of the end of the rows.

function hex(digits,    value, i)
{
    value = 0
    for (i = 1; i <= length(digits); i++)
        value = value * 16 + index("0123456789abcdef", substr(digits, i, 1)) - 1
    return value
}

function put_byte(value)
{
    printf "%s%d", (bytes++ % 16 == 0 ? "\n        .byte   " : ", "), value
}

function put(value)
{
    for (; value >= 128; value = int(value / 128))
        put_byte(value % 128 + 128)
    put_byte(value)
}

function file_number(name)
{
    if (!(name in number)) {
        number[name] = files
        names[files++] = name
    }
    return number[name]
}

function put_row(offset, file, line,    step)
{
    if (rows++ % BLOCK_ROWS == 0) {
        block_offset[blocks] = last_offset = offset
        block_bytes[blocks++] = bytes
        last_file = last_line = 0
    }
    put(offset - last_offset)
    step = line < last_line ? (last_line - line) * 4 + 2 : (line - last_line) * 4
    put(step + (file != last_file))
    if (file != last_file)
        put(file)
    last_offset = offset
    last_file = file
    last_line = line
}

BEGIN {
    BLOCK_ROWS = 64
    files = blocks = bytes = rows = 0
    file_number("")
    address = last = ""
    print "        .section .symbols.line_rows, \"a\", @progbits"
}

# The instruction before this is done; `place` is its line.
function end_instruction(    part)
{
    if (address == "" || place == last)
        return
    last = place
    split(place, part, ":")
    put_row(hex(address) - 2147483648, file_number(part[1]), part[2] + 0)
}

/^0x/ {
    end_instruction()
    address = substr($1, length($1) - 7) # its low half; the kernel's base has 80000000 there
    place = ":0"
    next
}

# What stands there, then where that is inlined, outwards.
place == ":0" && $1 ~ /:[1-9][0-9]*$/ {
    place = $1
    while (sub(/^\.\//, "", place))
        continue
}

END {
    end_instruction()
    print "\n        .section .symbols.line_index, \"a\", @progbits"
    print "        .balign 4"
    for (i = 0; i < blocks; i++)
        printf "        .long   %d, %d\n", block_offset[i], block_bytes[i]
    if (blocks > 0)
        printf "        .long   0xffffffff, %d\n", bytes
    print "        .section .symbols.files, \"a\", @progbits"
    print "        .balign 4"
    for (i = 0; i < files; i++)
        printf "        .long   .Lfile%d - .Lfile0\n", i
    print "        .section .symbols.file_names, \"a\", @progbits"
    for (i = 0; i < files; i++)
        printf ".Lfile%d: .asciz  \"%s\"\n", i, names[i]
}
