#!/bin/sh
# numa.sh -- machines with nodes: what the kernel says of them is what QEMU was told, and memory
# comes from where it should.  Firmware tables with faults, and none, leave one node.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh
export MEM=512M CPUS=4

# boot CMDLINE QEMU-ARGUMENT...
boot() {
    cmdline=$1
    shift
    machine boot/qemu.sh pvh build/debug/kernel.elf "$cmdline then=poweroff" - "$@"
    ended_well
}

# nodes_pass NODES QEMU-ARGUMENT...: the kernel's tests of nodes, on a machine with that many
nodes_pass() {
    nodes=$1
    shift
    boot "run=test test=*nodes*" "$@"
    says ' passed, 0 failed' "ok 1 "
    [ "$(grep -ac '^node [0-9]*: CPUs' "$temp/said")" = "$nodes" ] || fail "expected $nodes nodes"
}

# ram NODE SIZE CPUS-OPTION
ram() {
    echo "-object memory-backend-ram,id=ram$1,size=$2 -numa node,nodeid=$1,memdev=ram$1$3"
}

dist() {
    echo "-numa dist,src=$1,dst=$2,val=$3"
}

two_nodes() {
    nodes_pass 2 $(ram 0 200M ,cpus=0-1) $(ram 1 312M ,cpus=2-3) $(dist 0 1 21)
    says 'node 0: CPUs 0-1; distances 10 21' 'node 1: CPUs 2-3; distances 21 10'
}

# The CPUs take turns; node 3 is nearest to 0; the way back is longer for one.
four_nodes() {
    nodes_pass 4 $(ram 0 128M ,cpus=0) $(ram 1 64M ,cpus=1) $(ram 2 192M ,cpus=2) \
        $(ram 3 128M ,cpus=3) $(dist 0 1 30) $(dist 0 2 25) $(dist 0 3 15) $(dist 1 2 20) \
        $(dist 1 3 20) $(dist 2 3 20) $(dist 1 0 30) $(dist 2 0 40) $(dist 3 0 15) \
        $(dist 2 1 20) $(dist 3 1 20) $(dist 3 2 20)
    says 'node 0: CPUs 0; distances 10 30 25 15' 'node 1: CPUs 1; distances 30 10 20 20' \
        'node 2: CPUs 2; distances 40 20 10 20' 'node 3: CPUs 3; distances 15 20 20 10'
}

# A node's end need not be a chunk's; a node may lack CPUs, another memory.
ragged_nodes() {
    nodes_pass 3 $(ram 0 300M) $(ram 1 212M ,cpus=0-2) -numa node,nodeid=2,cpus=3
    says 'node 0: CPUs none; distances 10 20 20' 'node 1: CPUs 0-2; distances 20 10 20' \
        'node 2: CPUs 3; distances 20 20 10'
}

# Memory below and above the hole that ends at 4 GiB.
nodes_around_the_hole() {
    export MEM=4G
    nodes_pass 2 $(ram 0 1G ,cpus=0-1) $(ram 1 3G ,cpus=2-3)
    boot run=nodes $(ram 0 1G ,cpus=0-1) $(ram 1 3G ,cpus=2-3)
    usable=$(awk '$1 == "1" { print $2 }' "$temp/said")
    [ "${usable:-0}" -gt $((3 * 1024 * 1000)) ] || fail "node 1 has $usable KiB"
}

one_node_without_tables() {
    nodes_pass 0
    boot run=nodes
    says 'usable KiB' '   0 '
}

pretended_nodes() {
    boot 'nodes=3 run=test test=*nodes*'
    says ' passed, 0 failed' 'node 0: CPUs 0 3; distances 10 20 20'
}

# srat BYTES: what comes before the entries of a table of so many
srat() {
    printf SRAT
    le 4 "$1"
    le 1 3
    le 1 0
    printf SPNDRLSPANDREL
    le 4 1
    printf TEST
    le 4 1
    le 12 1
}

# refused BYTES TEXT: a SRAT of $temp/entries after its header, BYTES in all
refused() {
    { srat "$1"; cat "$temp/entries"; } >"$temp/srat"
    boot run=nodes -acpitable "file=$temp/srat"
    says "acpi: SRAT: $2: one node" 'usable KiB'
    ! grep -aq '^node ' "$temp/said" || fail "nodes from a table that was refused"
}

short_entry_is_refused() {
    { le 1 1; le 1 16; le 14 0; } >"$temp/entries"
    refused 64 'byte 48: an entry is too short for its type'
}

overlapping_memory_is_refused() {
    for domain in 0 1; do
        le 1 1; le 1 40; le 4 "$domain"; le 2 0; le 8 0; le 8 1048576; le 4 0; le 4 1; le 8 0
    done >"$temp/entries"
    refused 128 'byte 0: memory of two proximity domains overlaps'
}

ktap numa two_nodes four_nodes ragged_nodes nodes_around_the_hole one_node_without_tables \
    pretended_nodes short_entry_is_refused overlapping_memory_is_refused
