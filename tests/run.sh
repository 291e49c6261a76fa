#!/bin/sh
# run.sh -- run every suite that suites.sh lists, as many at once as there are CPUs; one line per
# suite, failures in full, at the end "N passed, N failed" and a status that is 0 only without any.
# Each suite's whole output stays in build/tests/NAME.log.  SUITES=LIST in the environment: those
# that LIST.sh lists, to build/LIST/.

cd "$(dirname "$0")/.." || exit 1
list=${SUITES:-suites}
out=build/$list
[ "$list" != suites ] || out=build/tests

seconds_since() {
    echo $(($(date +%s%N) / 100000000 - $1)) | sed 's/.$/.&/; s/^\./0./'
}

# run_suite NAME SECONDS COMMAND...
run_suite() {
    name=$1
    limit=$2
    shift 2
    start=$(($(date +%s%N) / 100000000))
    timeout -k 5 "$limit" "$@" </dev/null >"$out/$name.log" 2>&1
    failures=$(awk -f tests/summary.awk suite="$name" status=$? \
        out="$out/$name.result" "$out/$name.log")
    read -r passed failed skipped <"$out/$name.result"
    text="$passed passed, $failed failed"
    [ "$skipped" = 0 ] || text="$text, $skipped skipped"
    printf '%-28s %-40s %6s s\n' "$name" "$text" "$(seconds_since "$start")"
    [ "$failed" = 0 ] || printf '%s\n' "$failures" "    (all of it: $out/$name.log)"
}

if [ "$1" = --suite ]; then
    # shellcheck disable=SC2086 -- the line's words are the arguments
    run_suite $2
    exit 0
fi

# The thread sanitizer would wait a second for threads at the end, when there are none any more.
export TSAN_OPTIONS="atexit_sleep_ms=0${TSAN_OPTIONS:+ $TSAN_OPTIONS}"
rm -rf "$out"
mkdir -p "$out"
start=$(($(date +%s%N) / 100000000))
"tests/$list.sh" >"$out/suites"
xargs -d '\n' -P "$(nproc)" -I '{}' "$0" --suite '{}' <"$out/suites"

echo "$(wc -l <"$out/suites") suites in $(seconds_since "$start") s"
cat "$out"/*.result | awk -v suites="$(wc -l <"$out/suites")" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        failed += suites - NR # a suite without a result
        printf "%d passed, %d failed", passed, failed
        printf (skipped ? ", " skipped " skipped\n" : "\n")
        exit failed != 0
    }'
