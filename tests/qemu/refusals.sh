#!/bin/sh
# refusals.sh -- input that is wrong: malformed traces are refused with the record's number before
# anything is replayed, malformed settings with the key and what it accepts.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

# header RECORDS IDS CPUS; record OP CPU ID SIZE
header() {
    printf KMTRACE1
    le 4 "$1" && le 4 "$2" && le 4 "$3" && le 4 0
}

record() {
    le 1 "$1" && le 1 "$2" && le 2 0 && le 4 "$3" && le 8 "$4"
}

# refuses TEXT: the trace on standard input is refused with TEXT and not replayed
refuses() {
    cat >"$temp/bad.kmt"
    boot/make-initrd.sh "$temp/initrd" "$temp/bad.kmt"
    machine boot/qemu.sh pvh build/kernel/kernel.elf "run=replay then=poweroff" "$temp/initrd"
    ended_badly
    says "replay: bad.kmt is malformed: " "$1"
    if grep -aq 'KiB live' "$temp/said"; then
        fail "was replayed"
    fi
}

trace_of_another_kind() {
    printf 'something else that is long enough' | refuses "magic"
}

trace_too_short() {
    { header 3 1 1 && record 0 0 0 64; } | refuses "record 1"
}

trace_too_long() {
    { header 1 1 1 && record 0 0 0 64 && record 1 0 0 64; } | refuses "record 1"
}

trace_op_out_of_range() {
    { header 2 1 1 && record 0 0 0 64 && record 4 0 0 64; } | refuses "record 1"
}

trace_cpu_out_of_range() {
    { header 1 1 1 && record 0 1 0 64; } | refuses "record 0"
}

trace_id_out_of_range() {
    { header 2 1 1 && record 0 0 0 64 && record 0 0 1 64; } | refuses "record 1"
}

trace_double_alloc() {
    { header 3 2 1 && record 0 0 0 64 && record 0 0 1 8 && record 0 0 0 64; } | refuses "record 2"
}

trace_free_of_nothing() {
    { header 2 2 1 && record 0 0 0 64 && record 1 0 1 64; } | refuses "record 1"
}

trace_free_of_another_size() {
    { header 2 1 1 && record 0 0 0 64 && record 1 0 0 65; } | refuses "record 1"
}

trace_free_of_another_kind() {
    { header 2 1 1 && record 0 0 0 3 && record 3 0 0 3; } | refuses "record 1"
}

# words WORDS: boot with this command line to the power-off
words() {
    machine boot/qemu.sh pvh build/kernel/kernel.elf "$1 then=poweroff" -
}

cmdline_malformed_values() {
    words "mem=banana cpus=65 seed=0 gogc=-1 paranoia=2 guard_rate=often"
    ended_badly
    says "mem=banana" "16MiB to 64TiB" "cpus=65" "0 (all) to 64" "seed=0" "gogc=-1" "paranoia=2" \
        "guard_rate=often" "0 (off) to 1000000000"
}

cmdline_unknown_key_is_ignored() {
    words "banana=1 cpus=1"
    ended_well
    says "banana" "CPUs: 1 run of 2 found"
}

cmdline_unknown_command() {
    words "run=banana"
    ended_badly
    says "run=banana" "replay"
}

cmdline_trace_that_is_not_there() {
    words "run=replay trace=banana.kmt"
    ended_badly
    says "banana.kmt"
}

cmdline_less_memory() {
    words "mem=64M run=mem"
    ended_well
    usable=$(awk '$1 == "usable" { print $2 }' "$temp/said")
    [ "$usable" -gt 50000 ] && [ "$usable" -le 65536 ] || fail "usable $usable KiB of 64 MiB"
}

ktap refusal trace_of_another_kind trace_too_short trace_too_long trace_op_out_of_range \
    trace_cpu_out_of_range trace_id_out_of_range trace_double_alloc trace_free_of_nothing \
    trace_free_of_another_size trace_free_of_another_kind cmdline_malformed_values \
    cmdline_unknown_key_is_ignored cmdline_unknown_command cmdline_trace_that_is_not_there \
    cmdline_less_memory
