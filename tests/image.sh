#!/bin/sh
# image.sh -- both kernel images as files: functions and lines are in them, in little room, with a
# line for every call, and no path of the machine that built them.  That lookups in the tables are
# right is tests/arch/lines_kernel.c's; that the tables are of this very image, the Makefile's.
# KTAP.

cd "$(dirname "$0")/.." || exit 1
. tests/ktap.sh
images="build/kernel/kernel.elf build/debug/kernel.elf"
tables_most=50 # percent of the code that they tell of
lines_least=10 # likewise; a third of what there are

# bytes_between SYMBOL SYMBOL
bytes_between() {
    nm "$image" | awk -v from="$1" -v to="$2" '
        $3 == from || $3 == to { at[$3] = "0x" substr($1, 9) }
        END { print at[to], "-", at[from] }'
}

tables() {
    for image in $images; do
        all=$(($(bytes_between __names_start __names_end)))
        lines=$(($(bytes_between __line_rows __names_end)))
        code=$((0x$(objdump -h "$image" | awk '$2 == ".text" { print $3 }')))
        echo "$image: for $code bytes of code tables of $all bytes, $lines of them lines"
        [ "$all" -le $((code * tables_most / 100)) ] &&
            [ "$lines" -ge $((code * lines_least / 100)) ] || return
    done
}

# Every call has a line of its own or of where it is inlined.
calls_have_lines() {
    for image in $images; do
        objdump -d --no-show-raw-insn "$image" |
            sed -n 's/^ *\([0-9a-f]*\):[[:space:]]*call.*/\1/p' | addr2line -ai -e "$image" | awk '
                /^0x/ { calls++; lost[$1] = 1; call = $1 }
                /\.[chS]:[1-9]/ { delete lost[call] }
                END {
                    for (call in lost) {
                        print image ": no line: " call
                        wrong = 1
                    }
                    print image ": " calls " calls"
                    exit wrong || calls < 1000
                }' image="$image" || return
    done
}

no_absolute_paths() {
    for image in $images; do
        ! strings "$image" | grep -E "^(/[[:alnum:]._+-]+){2}/|$PWD" || return
    done
}

ktap image tables calls_have_lines no_absolute_paths
