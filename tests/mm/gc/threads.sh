#!/bin/sh
# threads.sh -- memory fails once while the collector's threads are made, at the 1st acquisition, the
# 2nd ...: those that are missing are made by the next who asks, and there are cycles.  KTAP.

cd "$(dirname "$0")/../../.." || exit 1

threads=6 # on 2 CPUs; each needs more than one acquisition
tests=build/hosted/tests
nth=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "KTAP version 1"
echo "1..1"
while :; do
    timeout 20 $tests cpus=2 guard_rate=0 failnth=$nth run=test "gc.rings_end" >"$log" 2>&1
    status=$?
    # Behind the last of theirs it is the test's own thread that cannot be made.
    [ "$nth" -le $((2 * threads)) ] || ! grep -q 'gc_test.c' "$log" || break
    if [ $status != 0 ] || ! grep -q '^1 passed, 0 failed$' "$log"; then
        sed 's/^/# /' "$log"
        echo "not ok 1 gc_threads.memory_fails_while_they_are_made # at acquisition $nth, status $status"
        echo "0 passed, 1 failed"
        exit 1
    fi
    nth=$((nth + 1))
done
echo "ok 1 gc_threads.memory_fails_while_they_are_made"
echo "1 passed, 0 failed"
