#!/bin/sh
# sequences.sh -- every restartable sequence of both kernel images, as the compiler has left it: it
# neither calls nor returns, leaves the stack alone, and ends with one store, its commit: to percpu
# memory, or where a register says.  And that the C that stands in for them stands alone:
# build/hosted-thread, whose tests are suites of their own, is built without a look at the sequences.
# KTAP.

cd "$(dirname "$0")/.." || exit 1
. tests/ktap.sh

# symbol NAME: the low half of its address; the high half is the same for the whole image
symbol() {
    nm "$image" | awk -v name="$1" '$3 == name { print "0x" substr($1, 9) }'
}

# table: the words of restart_table, low byte first, one a line
table() {
    objdump -s --start-address="$1" --stop-address="$2" "$image" |
        awk '/^ *ffffffff[0-9a-f]+ /{ for (i = 2; i <= 5; i++) if ($i ~ /^[0-9a-f]+$/ && length($i) == 8) print $i }' |
        sed 's/\(..\)\(..\)\(..\)\(..\)/0x\4\3\2\1/'
}

code() {
    objdump -d --no-show-raw-insn --start-address="$1" --stop-address="$2" "$image" |
        grep -a '^ffffffff[0-9a-f]*:'
}

check() {
    at=$(($(symbol __start_restart_table)))
    words=$(table "$(printf '0xffffffff%08x' $at)" \
        "$(printf '0xffffffff%08x' $(($(symbol __stop_restart_table))))")
    count=0
    start=
    for word in $words; do
        address=$(printf '0xffffffff%08x' $(((word + at) & 0xffffffff)))
        at=$((at + 4))
        if [ -z "$start" ]; then
            start=$address
            continue
        fi
        lines=$(code "$start" "$address")
        ! printf '%s\n' "$lines" | grep -E '[[:space:]](call|ret|push|pop)|\(%rsp|\(%rbp' || return 1
        printf '%s\n' "$lines" | tail -n 1 |
            grep -qE '[[:space:]](mov +%[a-z0-9]+|(add|sub)q +\$0x[0-9a-f]+),(%gs:-?0x[0-9a-f]+|\(%[a-z0-9]+\)$)' ||
            { printf '%s\n' "$lines" "does not end with a store"; return 1; }
        start=
        count=$((count + 1))
    done
    [ "$count" -ge 12 ] || { echo "only $count sequences"; return 1; }
}

release() { image=build/kernel/kernel.elf check; }
debug() { image=build/debug/kernel.elf check; }

the_c_stands_alone() {
    grep -rlq 'arch/sequence\.h' --include='*.d' build/hosted-thread/obj &&
        ! grep -rl 'arch/sequence_x86\.h' --include='*.d' build/hosted-thread/obj
}

ktap sequences release debug the_c_stands_alone
