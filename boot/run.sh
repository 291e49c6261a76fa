#!/bin/sh
# run.sh LOADER KERNEL FROM TRACE WORDS -- what `make run` does: boot through the firmware, replay
# TRACE, end in the monitor.  A TRACE that does not start with / is looked for in the folder FROM,
# then here.  WORDS are added to the command line, where the later of two equal keys wins.
#
# On a terminal the serial line is the terminal.  Otherwise standard input is what is typed at the
# monitor, from its first prompt on, and its end is ^D, which powers off: so `make run </dev/null`
# ends by itself, and with 0 only if nothing was found wrong.  Input that stays silent holds
# nothing up but its own end.
#
# QEMU ends with 0 too when the machine resets: firmware without enough memory does so, and so would
# a kernel that crashes without a word.  So 0 is believed only if the kernel has said what it must.
set -u

loader=$1 kernel=$2 from=$3 trace=$4 words=$5

case $trace in
/*) ;;
*) [ -f "$from/$trace" ] && trace=$from/$trace || trace=$PWD/$trace ;;
esac
if [ ! -f "$trace" ] || [ ! -r "$trace" ]; then
    echo "make run: TRACE=$trace: no such file, or not readable" >&2
    exit 2
fi

temp=$(mktemp -d)
feeder=
# shellcheck disable=SC2086 -- $feeder is a process or nothing
trap '[ -z "$feeder" ] || kill $feeder 2>/dev/null; rm -rf "$temp"' EXIT
trap 'exit 130' INT TERM HUP

# The module's name is a word of the command line.
name=$(printf %s "${trace##*/}" | LC_ALL=C tr -c '[:alnum:]._-' _)
mkdir "$temp/modules"
ln -s "$trace" "$temp/modules/$name"
boot/make-esp.sh "$temp/esp.img" "$loader" "$kernel" \
    "run=replay trace=$name${words:+ $words}" "$temp/modules/$name" || exit

: "${LOG:=$temp/log}"
: >"$LOG"
export LOG

# ended STATUS TEXT: exit, with 0 only if TEXT was said
ended() {
    if [ "$1" = 0 ] && ! grep -aqF "$2" "$LOG"; then
        echo "make run: the machine ended without a word of the kernel's;" \
            "MEM=${MEM:-512M} may be too little for the firmware" >&2
        exit 1
    fi
    exit "$1"
}

if [ -t 0 ]; then
    echo "C-a x ends QEMU, ^D at the prompt powers the machine off"
    boot/qemu.sh uefi "$temp/esp.img"
    ended $? 'Spandrel, started by'
fi

# Type standard input, line by line; only built-in commands, so that one kill ends it.  Firmware
# that found nothing to start waits for a key, and gets C-a x.
feed() {
    until grep -aqs 'spandrel> ' "$LOG"; do
        if grep -aqs '^BdsDxe: No bootable option' "$LOG"; then
            printf '\001x'
            return
        fi
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
boot/qemu.sh uefi "$temp/esp.img" <>"$temp/typed"
ended $? 'power off: nothing was found wrong'
