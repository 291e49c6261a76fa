# Sourced by the suites that are shell scripts.
#
# ktap SUITE TEST... -- each TEST is a function: a test that passes if it returns 0.  What a failed
# one has printed stands before its line.  Each runs in a shell of its own.  KTAP, closing line,
# status 0 only if none failed.
ktap() {
    suite=$1
    shift
    passed=0
    failed=0
    echo "KTAP version 1"
    echo "1..$#"
    for test; do
        if said=$("$test" 2>&1); then
            passed=$((passed + 1))
            echo "ok $((passed + failed)) $suite.$test"
        else
            failed=$((failed + 1))
            [ -z "$said" ] || printf '%s\n' "$said" | sed 's/^/# /'
            echo "not ok $((passed + failed)) $suite.$test"
        fi
    done
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
