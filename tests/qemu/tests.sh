#!/bin/sh
# tests.sh CPUS MEM [GLOB [WORD...]] -- the kernel's own tests in the debug image, with more words on
# its command line if there are any.  KTAP, from the kernel.

cd "$(dirname "$0")/../.." || exit 1
export CPUS="$1" MEM="$2"
glob=${3:-*}
shift "$(($# < 3 ? $# : 3))"
exec boot/qemu.sh pvh build/debug/kernel.elf "run=test test=$glob then=poweroff guard_rate=0 $*" \
    build/traces/all.cpio
