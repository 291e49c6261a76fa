#!/bin/sh
# scavenge.sh -- what the scavenger gives back shows on the host: QEMU's resident memory falls.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

kernel=build/kernel/kernel.elf
touched=192 # MiB that the machine writes to and frees

# boot COMMAND...: start a machine that ends in the monitor, and wait for its prompt
boot() {
    : >"$LOG"
    rm -f "$temp/typed"
    mkfifo "$temp/typed"
    exec 3<>"$temp/typed"
    timeout "$machine_limit" "$@" -pidfile "$temp/pid" <&3 >"$temp/out" 2>&1 &
    machine=$!
    await 'spandrel> '
}

# await TEXT: until the machine has said it
await() {
    until grep -aqF "$1" "$LOG"; do
        if ! kill -0 $machine 2>/dev/null; then
            tr -d '\r' <"$LOG" >"$temp/said"
            fail "ended before it said: $1"
        fi
        sleep 0.1
    done
}

type_line() {
    printf '%s\r' "$1" >&3
}

# finish: the monitor powers off
finish() {
    printf '\004' >&3
    wait $machine
    status=$?
    tr -d '\r' <"$LOG" >"$temp/said"
    ended_well
}

# resident: MiB of the host's memory that QEMU holds
resident() {
    awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$(cat "$temp/pid")/status"
}

touch_memory() {
    type_line "touch ${touched}M"
    await "touch: $touched MiB written to and freed"
    before=$(resident)
}

# fallen: at least half of what was touched is the host's again
fallen() {
    [ $((before - $(resident))) -ge $((touched / 2)) ]
}

scavenge_at_once() {
    touch_memory
    type_line scavenge
    await '(forced)'
    fallen || fail "resident: $before MiB before, $(resident) MiB after"
    echo "# resident: $before MiB before, $(resident) MiB after"
    type_line "touch ${touched}M" # the host backs it anew
    finish
    says "balloon: free memory is given back to the host" \
        "touch: $touched MiB written to and freed"
}

pvh_at_once() {
    boot boot/qemu.sh pvh $kernel "" -
    scavenge_at_once
}

uefi_at_once() {
    boot/make-esp.sh "$temp/esp" build/boot/BOOTX64.EFI $kernel ""
    boot boot/qemu.sh uefi "$temp/esp"
    scavenge_at_once
}

pvh_while_idle() {
    boot boot/qemu.sh pvh $kernel "scavtrace=1" -
    touch_memory
    until fallen; do # the machine's time limit ends this too
        kill -0 $machine 2>/dev/null || fail "resident: $before MiB before, and no less since"
        sleep 0.1
    done
    await " KiB work (bg), 0 KiB work (eager), "
    finish
}

no_balloon() {
    BALLOON=none boot boot/qemu.sh pvh $kernel "" -
    touch_memory
    type_line scavenge
    await "scavenge: nobody below takes memory"
    ! fallen || fail "resident: $before MiB before, $(resident) MiB after"
    finish
    [ "$(grep -c 'balloon: none; free memory is not given back' "$temp/said")" = 1 ] ||
        fail "says it once"
}

# A balloon, but one without free page reporting.
balloon_without_reports() {
    BALLOON=none boot boot/qemu.sh pvh $kernel "" - -device virtio-balloon-pci
    type_line scavenge
    await "scavenge: nobody below takes memory"
    finish
    says "balloon: the device has no free page reporting"
}

# Free page hints have a queue of their own, before that of the reports; the device is behind a
# bridge, and of version 1 only.  (qboot does not number the buses behind bridges.)
balloon_elsewhere() {
    BIOS=bios-256k.bin BALLOON=none boot boot/qemu.sh pvh $kernel "" - -object iothread,id=hints \
        -device pcie-root-port,id=bridge \
        -device virtio-balloon-pci,bus=bridge,free-page-reporting=on,free-page-hint=on,iothread=hints
    scavenge_at_once
}

ktap scavenge pvh_at_once uefi_at_once pvh_while_idle no_balloon balloon_without_reports \
    balloon_elsewhere
