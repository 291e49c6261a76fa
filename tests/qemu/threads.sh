#!/bin/sh
# threads.sh -- what is said of threads on the serial line: schedtrace=, the monitor's `threads`, the
# watchdog.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

kernel=build/kernel/kernel.elf
export CPUS=2 MEM=512M

# lines REGEX: how many lines of the machine match, as a whole
lines() {
    grep -acE "^$1\$" "$temp/said"
}

# As Go's schedtrace=1000, to the letter; every 200 ms, or later where the host has no time.
schedtrace() {
    machine sh -c "{ sleep 4; printf '\\004'; } | boot/qemu.sh pvh $kernel schedtrace=200 -"
    ended_well
    all=$(grep -ac '^SCHED' "$temp/said")
    [ "$all" -ge 2 ] || fail "$all lines"
    list='[[][0-9]+ [0-9]+[]]'
    [ "$(lines "SCHED [0-9]+ms: gomaxprocs=2 idleprocs=[0-2] threads=[1-9][0-9]* spinningthreads=0 needspinning=0 idlethreads=[0-9]+ runqueue=[0-9]+ $list schedticks=$list")" = "$all" ] ||
        fail "not as Go says it"
    sed -n 's/^SCHED \([0-9]*\)ms.*/\1/p' "$temp/said" | awk '
        NR > 1 && $1 - last < 190 { early = 1 }
        { last = $1 }
        END { exit early }' || fail "more often than every 200 ms"
}

# Own flows of both CPUs, and one that has been made.
threads() {
    machine boot/qemu.sh pvh $kernel "schedtrace=3600000 run=threads then=poweroff" -
    ended_well
    figures='+[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+'
    [ "$(lines "  main +running +normal +0 $figures")" = 1 ] || fail "main"
    [ "$(lines "  idle +standing by +normal +0 $figures")" = 1 ] || fail "idle, where main runs"
    [ "$(lines "  idle +(idle|standing by) +normal +1 $figures")" = 1 ] || fail "idle, of CPU 1"
    [ "$(lines "  entered +outside +normal +1 $figures")" = 1 ] || fail "entered"
    [ "$(lines "  schedtrace +(asleep|ready|running) +urgent +[01] +4 +4 +252 +[0-9]+")" = 1 ] || fail "schedtrace"
    says "stacks: " " in use, "
}

# A CPU that hears no interrupt is reported, where it is, and counts.
watchdog() {
    machine boot/qemu.sh pvh $kernel "watchdog=1 run=deafen,3 then=poweroff" -
    ended_badly
    says "watchdog: CPU 1 has had interrupts off for 1 s" "CPU 1, thread deaf, backtrace:" \
        " deafen_entry+0x" "power off: found wrong: 1"
}

watchdog_off() {
    machine boot/qemu.sh pvh $kernel "watchdog=0 run=deafen,3 then=poweroff" -
    ended_well
    says "power off: nothing was found wrong"
}

ktap threads schedtrace threads watchdog watchdog_off
