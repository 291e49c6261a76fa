#!/bin/sh
# summary_test.sh -- the judge judged: what must not pass for a suite that is done.  KTAP.

cd "$(dirname "$0")/.." || exit 1
. tests/ktap.sh
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# judge STATUS COUNTS LINE...: a log of these lines and this exit status gives COUNTS
judge() {
    status=$1 counts=$2
    shift 2
    printf '%s\n' "$@" >"$temp/log"
    awk -f tests/summary.awk suite=x status="$status" out="$temp/result" "$temp/log"
    echo "judged $(cat "$temp/result"), expected $counts"
    [ "$(cat "$temp/result")" = "$counts" ]
}

complete() {
    judge 0 "2 0 0" "noise" "1..2" "ok 1 a" "noise" "ok 2 b" "2 passed, 0 failed"
}

skipped() {
    judge 0 "1 0 1" "1..2" "ok 1 a" "ok 2 b # SKIP no reason" "1 passed, 0 failed"
}

failed_test() {
    judge 1 "1 1 0" "1..2" "ok 1 a" "# why" "not ok 2 b" "1 passed, 1 failed"
}

no_output() {
    judge 0 "0 1 0" ""
}

no_plan() {
    judge 0 "1 1 0" "ok 1 a" "1 passed, 0 failed"
}

no_closing_line() {
    judge 0 "1 1 0" "1..1" "ok 1 a"
}

stopped_before_the_end() {
    judge 0 "1 1 0" "1..2" "ok 1 a" "panic: x" "1 passed, 0 failed"
}

closing_line_that_differs() {
    judge 0 "1 1 0" "1..1" "ok 1 a" "2 passed, 0 failed"
}

exit_status_alone() {
    judge 66 "1 1 0" "1..1" "ok 1 a" "1 passed, 0 failed"
}

timed_out() {
    judge 124 "1 1 0" "1..1" "ok 1 a" "1 passed, 0 failed"
}

ktap summary complete skipped failed_test no_output no_plan no_closing_line \
    stopped_before_the_end closing_line_that_differs exit_status_alone timed_out
