#!/bin/sh
# make-ovmf.sh OUT.fd -- OVMF for `qemu -bios`, padded in front with 0xff down to 0xfed40000.
#
# The firmware ends at 4 GiB.  At 0xfed40000 it looks for a TPM and, since nothing answers there,
# waits twice 750 ms; memory that reads as 0xff says at once that there is none.
set -eu

out=$1
for firmware in /usr/share/ovmf/OVMF.fd /usr/share/qemu/OVMF.fd ""; do
    [ -n "$firmware" ] || { echo "make-ovmf.sh: no OVMF.fd: install the package ovmf" >&2; exit 1; }
    [ ! -f "$firmware" ] || break
done

reach=$((0x100000000 - 0xfed40000))
bytes=$(wc -c <"$firmware")
{
    head -c $((reach - bytes)) /dev/zero | tr '\0' '\377'
    cat "$firmware"
} >"$out"
