#!/bin/sh
# symbols.sh IMAGE -- what stands at the code addresses of a linked kernel image, as assembly for
# the next link: functions (symbols.awk) and source lines (lines.awk).
#
# The tables go to the very end of the image, so nothing else moves in the second link; the proof is
# that the tables made of the second image are the same, byte for byte.

scripts=$(dirname "$0")
nm -n "$1" | awk -f "$scripts/symbols.awk"
objdump -d --no-show-raw-insn "$1" | sed -n 's/^ *\([0-9a-f]*\):.*/\1/p' | addr2line -ai -e "$1" |
    awk -f "$scripts/lines.awk"
