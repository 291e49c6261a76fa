# Sourced by the suites of tests/qemu, from the root: boot a machine, look at what it said.
. tests/ktap.sh

machine_limit=60 # seconds for one machine, many times what it needs
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
export LOG="$temp/log"

# machine COMMAND...: run one to its end; $status, and $temp/said: the serial line without CRs
machine() {
    : >"$LOG"
    timeout "$machine_limit" "$@" </dev/null >"$temp/out" 2>&1
    status=$?
    tr -d '\r' <"$LOG" >"$temp/said"
    [ "$status" != 124 ] || fail "did not end by itself in $machine_limit s"
}

# fail WHY: the last lines of the machine and of QEMU, then the test's end
fail() {
    tail -n 30 "$temp/said"
    grep -a '^qemu' "$temp/out"
    printf '%s\n' "$1"
    exit 1
}

# says TEXT...: each stands in what the machine said
says() {
    for text; do
        grep -aqF "$text" "$temp/said" || fail "expected: $text"
    done
}

ended_well() {
    [ "$status" = 0 ] || fail "exit status $status"
}

ended_badly() {
    [ "$status" != 0 ] || fail "ended as if nothing had been wrong"
}

# le BYTES VALUE: a number, low byte first
le() {
    le_count=$1 le_value=$2
    while [ "$le_count" -gt 0 ]; do
        printf "\\$(printf %03o $((le_value & 255)))"
        le_value=$((le_value >> 8)) le_count=$((le_count - 1))
    done
}
