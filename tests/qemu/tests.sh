#!/bin/sh
# tests.sh CPUS MEM [GLOB] -- the kernel's own tests in the debug image.  KTAP, from the kernel.

cd "$(dirname "$0")/../.." || exit 1
export CPUS="$1" MEM="$2"
exec boot/qemu.sh pvh build/debug/kernel.elf "run=test test=${3:-*} then=poweroff" \
    build/traces/all.cpio
