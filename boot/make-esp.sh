#!/bin/sh
# make-esp.sh OUT.img LOADER KERNEL CMDLINE_TEXT [MODULE...] -- the EFI system partition.
#
# A FAT image without a partition table, made without root, as large as its contents need.
# LOADER or KERNEL "-" leaves that file out, and an empty CMDLINE_TEXT the command line's.
set -eu

out=$1 loader=$2 kernel=$3 cmdline=$4
shift 4

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# Bytes of all files, a cluster more for each, 1/64 for the allocation tables, and folders.
total=0
for file in "$loader" "$kernel" "$@"; do
    [ "$file" = - ] || total=$((total + $(wc -c <"$file") + 32768))
done
sectors=$(((total + total / 64 + 1048576) / 512))

rm -f "$out"
mformat -C -i "$out" -T "$sectors" -v SPANDREL ::
mmd -i "$out" ::/EFI ::/EFI/BOOT ::/spandrel ::/spandrel/modules
[ "$loader" = - ] || mcopy -i "$out" "$loader" ::/EFI/BOOT/BOOTX64.EFI
[ "$kernel" = - ] || mcopy -i "$out" "$kernel" ::/spandrel/kernel.elf
if [ -n "$cmdline" ]; then
    printf '%s\n' "$cmdline" >"$temp/cmdline.txt"
    mcopy -i "$out" "$temp/cmdline.txt" ::/spandrel/cmdline.txt
fi
[ $# = 0 ] || mcopy -i "$out" "$@" ::/spandrel/modules
