#!/bin/sh
# scale.sh -- from 64 MiB to 64 GiB: start-up's cost and what tables take, by counts of instructions
# and bytes, which are the same in each run; memory opens on every CPU.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

icount="-icount shift=0,sleep=off -seed 1 -rtc base=2024-01-01,clock=vm"

# boot CPUS MEM CMDLINE QEMU-ARGUMENT...
boot() {
    export CPUS="$1" MEM="$2"
    cmdline=$3
    shift 3
    machine boot/qemu.sh pvh build/kernel/kernel.elf "$cmdline then=poweroff" - "$@"
    ended_well
}

# bench NAME: the number of the figure UNIT, of the benchmark's line
bench() {
    awk -v name="Benchmark$1" -v unit="$2" '
        $1 == name { for (i = 3; i <= NF; i++) if ($i == unit) print $(i - 1) }' "$temp/said"
}

# holds EXPRESSION: of numbers; an empty one is a syntax error
holds() {
    awk "BEGIN { exit !($1) }" || fail "expected: $1"
}

# metadata_within_bar: usable memory and metadata, in KiB, as reported
metadata_within_bar() {
    holds "$(sed -n 's/^memory: \([0-9]*\) KiB usable.* metadata \([0-9]*\) KiB$/\2 * 200 <= \1/p' \
        "$temp/said")"
}

start_up_at_8_gib() {
    # shellcheck disable=SC2086 -- words
    boot 1 8G 'run=bench bench=Boot' $icount
    holds "$(bench Boot-1 insns/op) <= 25000000"
    metadata_within_bar
}

every_cpu_opens_a_share() {
    # shellcheck disable=SC2086 -- words
    boot 4 8G '' $icount
    sed -n 's/^memory: opened by CPU, in MiB: \([0-9 ]*\);.*/\1/p' "$temp/said" | awk '
        { for (i = 1; i <= NF; i++) if ($i < 1024 || $i > 3072) exit 1; exit NF != 4 }' ||
        fail "not all opened about as much"
}

cost_of_a_gib_falls_with_cpus() {
    for cpus in 1 2 4; do
        # shellcheck disable=SC2086 -- words
        boot $cpus 8G 'run=bench bench=Open' $icount
        eval "cost_$cpus=$(bench Open-$cpus insns/MiB)"
    done
    holds "$cost_2 < 0.55 * $cost_1"
    holds "$cost_4 < 0.3 * $cost_1"
}

cpus_allocate_side_by_side() {
    # shellcheck disable=SC2086 -- words
    boot 2 512M 'run=bench bench=ParallelPages/order=0' $icount
    holds "$(bench ParallelPages/order=0-2 insns/op) <= 1.1 * $(bench ParallelPages/order=0-1 insns/op)"
    holds "$(bench ParallelPages/order=0-2 locks/op) == 0"
}

# What is in memory at first, where tables will be: its last MiBs, filled with ones.
dirty_memory_is_cleared() {
    head -c 1900000 /dev/zero | tr '\0' '\377' >"$temp/ones"
    boot 2 512M 'run=map' -device "loader,file=$temp/ones,addr=$((510 * 1048576)),force-raw=on"
    says 'opened by CPU'
    metadata_within_bar
}

smallest() {
    boot 1 64M ''
    metadata_within_bar
}

largest() {
    boot 2 64G ''
    metadata_within_bar
}

ktap scale start_up_at_8_gib every_cpu_opens_a_share cost_of_a_gib_falls_with_cpus \
    cpus_allocate_side_by_side dirty_memory_is_cleared smallest largest
