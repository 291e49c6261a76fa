#!/bin/sh
# types.sh OBJECT... -- the fields that GC_TYPEs in these object files list are the GC_PTRs of their
# structs, by the debug information of the same file.  Says what differs, and fails.
#
# Objects rather than the image, so that only those are read that have types: GC_TYPE leaves its list
# in their section gc_lists (gc_types.h).  A type costs a few milliseconds, others next to nothing.

scripts=$(dirname "$0")
failed=0
for object in $(grep -l gc_lists "$@"); do
    { readelf -W -p gc_lists "$object"; readelf -W --debug-dump=info "$object"; } |
        LC_ALL=C awk -f "$scripts/types.awk" >&2 || failed=1
done
exit $failed
