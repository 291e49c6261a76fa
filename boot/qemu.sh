#!/bin/sh
# qemu.sh uefi ESP.img [QEMU-ARGUMENT...]
# qemu.sh pvh KERNEL.elf CMDLINE_TEXT INITRD|- [QEMU-ARGUMENT...]
#
# Start QEMU as `make run`, the tests and the benchmarks do: q35 without default devices, the serial
# line on this terminal (C-a x ends QEMU, C-a c is its monitor).  From the environment:
#   CPUS, MEM     processors, memory                                    (2, 512M)
#   CPU           model; "max" has 1 GiB pages, "qemu64" has not        (max)
#   ACCEL         accelerator and its options                           (tcg; see below)
#   OVMF          firmware for uefi                                     (build/ovmf.fd)
#   BALLOON       device that takes free memory, or none                (virtio-balloon-pci)
#   BIOS          firmware for pvh: qboot.rom starts fastest            (qboot.rom)
#   LOG           file for a copy of the serial line                    (none kept)
#
# Status: 0 when the machine powered itself off and no loader complained; QEMU's own otherwise
# (isa-debug-exit gives an odd number); 1 for a loader that gave up and had the firmware power off.
set -u

case ${CPUS:-2} in
0* | *[!0-9]*)
    echo "CPUS=$CPUS: accepted: a number from 1 on" >&2
    exit 2
    ;;
esac

way=$1
case $way in
uefi)
    esp=$2
    shift 2
    set -- -bios "${OVMF:-build/ovmf.fd}" \
        -drive "if=none,id=esp,format=raw,file=$esp" -device virtio-blk-pci,drive=esp,bootindex=0 "$@"
    ;;
pvh)
    kernel=$2 cmdline=$3 initrd=$4
    shift 4
    [ "$initrd" = - ] || set -- -initrd "$initrd" "$@"
    set -- -bios "${BIOS:-qboot.rom}" -kernel "$kernel" -append "$cmdline" "$@"
    ;;
*)
    echo "qemu.sh: $way: uefi or pvh" >&2
    exit 2
    ;;
esac

# Processors beyond those of this machine take turns in one thread, where `pause` ends a turn; as
# threads they would spin on locks whose holder the host has put to sleep, for minutes.
if [ -z "${ACCEL:-}" ]; then
    ACCEL=tcg
    [ "${CPUS:-2}" -le "$(nproc)" ] || ACCEL=tcg,thread=single
fi

# Memory that is larger than this machine's costs only what is touched, if Linux may promise it.
case ${MEM:-} in
*[0-9][0-9]G | *T) set -- -object "memory-backend-ram,id=ram,size=$MEM,reserve=off" \
    -machine memory-backend=ram "$@" ;;
esac

balloon=${BALLOON:-virtio-balloon-pci,free-page-reporting=on}
[ "$balloon" = none ] || set -- -device "$balloon" "$@"

temp=
if [ -z "${LOG:-}" ]; then
    temp=$(mktemp)
    LOG=$temp
fi
trap 'rm -f $temp' EXIT

qemu-system-x86_64 -machine q35,sata=off,i8042=off -accel "$ACCEL" -cpu "${CPU:-max}" \
    -smp "${CPUS:-2}" -m "${MEM:-512M}" -nodefaults -no-user-config -no-reboot -display none \
    -chardev "stdio,id=serial,mux=on,signal=off,logfile=$LOG" -serial chardev:serial \
    -mon chardev=serial -device isa-debug-exit,iobase=0xf4,iosize=0x04 "$@"
status=$?
if [ "$status" = 0 ] && grep -aq 'spandrel loader: ' "$LOG"; then
    status=1
fi
exit "$status"
