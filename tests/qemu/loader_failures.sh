#!/bin/sh
# loader_failures.sh [KERNEL] -- boot what cannot be booted, each on a machine of its own: the ways
# in must say which file is wrong and why, once, and end the machine by themselves.  KTAP.
#
# The UEFI loader gets kernel files made here, a header and at most two program headers long; the
# PVH entry is part of KERNEL and gets bad initrds and command lines.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

kernel=${1:-build/kernel/kernel.elf}
cmdline=
export CPUS=1 MEM=128M

base=-0x80000000 # where physical 0 is linked: the top 2 GiB

# elf_header CLASS MACHINE SEGMENTS; the entry is the first byte at 16 MiB
elf_header() {
    printf '\177ELF'
    le 1 "$1" && le 2 0x0101 && le 9 0
    le 2 2 && le 2 "$2" && le 4 1
    le 8 $((base + 0x1000000)) && le 8 64 && le 8 0
    le 4 0 && le 2 64 && le 2 56 && le 2 "$3" && le 2 0 && le 2 0 && le 2 0
}

# elf_segment RIGHTS PHYSICAL FILE_BYTES MEM_BYTES; rights: 1 execute, 2 write, 4 read
elf_segment() {
    le 4 1 && le 4 "$1" && le 8 0 && le 8 $((base + $2)) && le 8 "$2" && le 8 "$3" && le 8 "$4"
    le 8 4096
}

# boot TEXT COMMAND...: run a machine, expect it to say TEXT, no other complaint, and to fail
boot() {
    text=$1
    shift
    machine "$@"
    ended_badly
    complaints=$(grep -ac 'spandrel loader: ' "$temp/said")
    [ "$complaints" = 1 ] || fail "$complaints messages instead of one"
    says "spandrel loader: $text"
}

# uefi TEXT KERNEL|- [MODULE...], with the command line $cmdline
uefi() {
    expected=$1
    shift
    [ "$1" = - ] || mv "$1" "$temp/kernel"
    from=$1
    shift
    boot/make-esp.sh "$temp/esp" build/boot/BOOTX64.EFI \
        "$([ "$from" = - ] && echo - || echo "$temp/kernel")" "$cmdline" "$@" &&
        boot "$expected" boot/qemu.sh uefi "$temp/esp"
}

# pvh TEXT INITRD|-, with the command line $cmdline
pvh() {
    boot "$1" boot/qemu.sh pvh "$kernel" "$cmdline" "$2"
}

# A kernel that is sound, up to its first instruction.
sound() {
    elf_header 2 62 1
    elf_segment 5 0x1000000 120 120
}

no_kernel() {
    uefi '\spandrel\kernel.elf: not found' -
}

empty_file() {
    : >"$temp/elf"
    uefi '\spandrel\kernel.elf: truncated: 0x0 bytes' "$temp/elf"
}

no_elf() {
    echo "#!/bin/sh, and so on, and so on, until this is longer than an ELF header" >"$temp/elf"
    uefi '\spandrel\kernel.elf: no ELF file: it begins 23 21 2f 62' "$temp/elf"
}

truncated() {
    { elf_header 2 62 1 && elf_segment 5 0x1000000 0x5000 0x5000; } >"$temp/elf"
    uefi '\spandrel\kernel.elf: truncated: segment 0: file bytes 0x0 + 0x5000' "$temp/elf"
}

wrong_class() {
    { elf_header 1 3 1 && elf_segment 5 0x1000000 120 120; } >"$temp/elf"
    uefi '\spandrel\kernel.elf: wrong class 1' "$temp/elf"
}

wrong_machine() {
    { elf_header 2 183 1 && elf_segment 5 0x1000000 120 120; } >"$temp/elf"
    uefi '\spandrel\kernel.elf: wrong machine 183' "$temp/elf"
}

write_and_execute() {
    { elf_header 2 62 1 && elf_segment 7 0x1000000 120 120; } >"$temp/elf"
    uefi '\spandrel\kernel.elf: segment 0: both writable and executable' "$temp/elf"
}

outside_ram() {
    {
        elf_header 2 62 2
        elf_segment 5 0x1000000 120 120
        elf_segment 6 0x40000000 120 120
    } >"$temp/elf"
    uefi '\spandrel\kernel.elf: segment 1: outside RAM: 0x40000000' "$temp/elf"
}

# OVMF keeps tables that live as long as the machine at 8 MiB.
in_use() {
    {
        elf_header 2 62 2
        elf_segment 5 0x1000000 120 120
        elf_segment 6 0x700000 120 0x200000
    } >"$temp/elf"
    uefi '\spandrel\kernel.elf: segment 1: in use by the firmware: 0x700000' "$temp/elf"
}

# A kernel whose zeroed data take most of 128 MiB, and a module that no hole is left for.
no_memory() {
    {
        elf_header 2 62 2
        elf_segment 5 0x1000000 120 120
        elf_segment 6 0x1001000 120 0x5000000
    } >"$temp/elf"
    head -c 16777216 /dev/zero >"$temp/large.bin"
    uefi '\spandrel\modules\large.bin: no memory for its 16777216 bytes' "$temp/elf" \
        "$temp/large.bin"
}

long_cmdline() {
    sound >"$temp/elf"
    cmdline=$(printf '%01024d' 1)
    uefi '\spandrel\cmdline.txt: command line too long: 1024 bytes, at most 1023' "$temp/elf"
}

many_modules() {
    sound >"$temp/elf"
    mkdir "$temp/many"
    for i in $(seq 10 42); do
        echo "$i" >"$temp/many/m$i"
    done
    uefi '\spandrel\modules\m42: too many modules: at most 32' "$temp/elf" "$temp"/many/*
}

long_module_name() {
    sound >"$temp/elf"
    name=$(printf '%060d.kmt' 1)
    echo >"$temp/$name"
    uefi "\\spandrel\\modules\\$name: module name too long: 64 characters" "$temp/elf" \
        "$temp/$name"
}

pvh_malformed_initrd() {
    head -c 5000 /dev/zero >"$temp/module"
    boot/make-initrd.sh "$temp/whole" "$temp/module"
    head -c 4000 "$temp/whole" >"$temp/initrd"
    pvh 'initrd: entry 0 at 0x0: data 0x78 + 0x1388 ends beyond the archive' "$temp/initrd"
}

pvh_long_cmdline() {
    cmdline=$(printf '%01024d' 1)
    pvh 'command line: command line too long: 1024 bytes, at most 1023' -
}

pvh_no_long_mode() {
    export CPU=qemu32
    pvh 'this CPU has no long mode' -
}

ktap loader no_kernel empty_file no_elf truncated wrong_class wrong_machine write_and_execute \
    outside_ram in_use no_memory long_cmdline many_modules long_module_name \
    pvh_malformed_initrd pvh_long_cmdline pvh_no_long_mode
