#!/bin/sh
# run.sh LOADER KERNEL TRACE WORDS -- what `make run` does: boot through the firmware, replay TRACE,
# end in the monitor.  WORDS are added to the command line, where the later of two equal keys wins.
#
# On a terminal the serial line is the terminal.  Otherwise standard input is what is typed at the
# monitor, from its first prompt on, and its end is ^D, which powers off: so `make run </dev/null`
# ends by itself, and with 0 only if nothing was found wrong.  Input that stays silent holds
# nothing up but its own end.
set -u

loader=$1 kernel=$2 trace=$3 words=$4

if [ ! -f "$trace" ] || [ ! -r "$trace" ]; then
    echo "make run: TRACE=$trace: no such file" >&2
    exit 2
fi

temp=$(mktemp -d)
feeder=
# shellcheck disable=SC2086 -- $feeder is a process or nothing
trap '[ -z "$feeder" ] || kill $feeder 2>/dev/null; rm -rf "$temp"' EXIT
trap 'exit 130' INT TERM HUP

boot/make-esp.sh "$temp/esp.img" "$loader" "$kernel" \
    "run=replay trace=${trace##*/} $words" "$trace" || exit

if [ -t 0 ]; then
    echo "C-a x ends QEMU, ^D at the prompt powers the machine off"
    boot/qemu.sh uefi "$temp/esp.img"
    exit
fi

# Type standard input, line by line; only built-in commands, so that one kill ends it.
feed() {
    until grep -aqs 'spandrel> ' "$temp/log"; do
        sleep 0.1
    done
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line"
    done
    printf '\004'
}

mkfifo "$temp/typed"
exec 3<&0
feed <&3 >"$temp/typed" &
feeder=$!
LOG=$temp/log boot/qemu.sh uefi "$temp/esp.img" <>"$temp/typed"
