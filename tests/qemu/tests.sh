#!/bin/sh
# tests.sh CPUS MEM [GLOB [WORD]] -- the kernel's own tests in the debug image, with one more word on
# its command line if there is one.  KTAP, from the kernel.

cd "$(dirname "$0")/../.." || exit 1
export CPUS="$1" MEM="$2"
exec boot/qemu.sh pvh build/debug/kernel.elf "run=test test=${3:-*} then=poweroff guard_rate=0 $4" \
    build/traces/all.cpio
