#!/bin/sh
# make-initrd.sh OUT.cpio MODULE... -- modules for the PVH entry: a newc cpio archive.
#
# The archive starts each file's data at a multiple of 8, by NULs after the name, so that the
# kernel can use them where they are.
set -eu

out=$1
shift
at=0 # offset of the next entry; the format wants a multiple of 4, as data and name are padded to

# entry NAME MODE BYTES: header and name; leaves `at` where the data begin
entry() {
    name_bytes=$((${#1} + 1))
    name_bytes=$((name_bytes + (8 - (at + 110 + name_bytes) % 8) % 8))
    printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s' \
        0 "$2" 0 0 1 0 "$3" 0 0 0 0 "$name_bytes" 0 "$1"
    nuls $((name_bytes - ${#1}))
    at=$((at + 110 + name_bytes))
}

nuls() {
    head -c "$1" /dev/zero
}

{
    for module; do
        bytes=$(wc -c <"$module")
        entry "${module##*/}" 0100644 "$bytes"
        cat "$module"
        pad=$(((4 - bytes % 4) % 4))
        nuls "$pad"
        at=$((at + bytes + pad))
    done
    entry 'TRAILER!!!' 0 0
} >"$out"
