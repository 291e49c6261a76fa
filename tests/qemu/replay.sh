#!/bin/sh
# replay.sh -- boot and replay at several CPU counts and memory sizes, through the firmware and
# without: nothing is damaged, and what the report says stays within the budgets.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

kernel=build/kernel/kernel.elf

# report TRACE CPUS: the last machine's report is sound
report() {
    ended_well
    says "CPUs: $2 run of $2 found" "replay: $1: " "corruption found: 0" \
        "nothing was found wrong"
}

# uefi CPUS MEM: files.kmt
uefi() {
    boot/make-esp.sh "$temp/esp" build/boot/BOOTX64.EFI $kernel "run=replay then=poweroff" \
        build/traces/files.kmt
    CPUS=$1 MEM=$2 machine boot/qemu.sh uefi "$temp/esp"
    says "Spandrel, started by UEFI"
    report files.kmt "$1"
}

# pvh TRACE CPUS MEM
pvh() {
    CPUS=$2 MEM=$3 machine boot/qemu.sh pvh $kernel "run=replay trace=$1 then=poweroff $more" \
        build/traces/all.cpio
    says "Spandrel, started by PVH"
    report "$1" "$2"
}

# at_most WHAT LIMIT: the number behind "WHAT " in the report
at_most() {
    value=$(sed -n "s/.*$1 \([0-9.]*\).*/\1/p" "$temp/said")
    awk -v value="$value" -v limit="$2" 'BEGIN { exit !(value > 0 && value <= limit) }' ||
        fail "$1 $value, at most $2"
}

uefi_1_cpu() {
    uefi 1 512M
}

# `make run` as it comes: peak heap 1.25 of peak live, metadata 1 % of RAM
uefi_2_cpus() {
    uefi 2 512M
    at_most "ratio" 1.25
    at_most "KiB RAM:" 1
}

uefi_4_cpus() {
    uefi 4 512M
}

uefi_128_mib() {
    uefi 2 128M
}

uefi_8_gib() {
    uefi 2 8G
}

pvh_boot_trace() {
    pvh boot.kmt 1 128M
}

pvh_procs_trace() {
    pvh procs.kmt 4 512M
}

pvh_more_cpus_than_the_trace() {
    pvh files.kmt 8 512M
}

# Every check of debugged slots on: slower, and larger, and as sound.
pvh_debugged() {
    more="slab_debug=1 paranoia=1" pvh files.kmt 2 512M
}

# Where QEMU's CPU has no 1 GiB pages, no x2APIC, no SMEP and no SMAP.
pvh_plain_cpu() {
    export CPU=qemu64
    pvh files.kmt 2 512M
}

ktap replay uefi_1_cpu uefi_2_cpus uefi_4_cpus uefi_128_mib uefi_8_gib pvh_boot_trace \
    pvh_procs_trace pvh_debugged pvh_more_cpus_than_the_trace pvh_plain_cpu
