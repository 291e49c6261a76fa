#!/bin/sh
# run.sh FUZZER LIBFUZZER-OPTION... -- run one fuzz target from a fixed seed, as a KTAP test.  What
# it crashes on is kept beside it.

cd "$(dirname "$0")/../.." || exit 1
. tests/ktap.sh
fuzzer=$1
shift
options="$*"
case $fuzzer in
*/slab) options="-len_control=0 -max_len=600 $options" ;; # sequences: long ones from the start
esac

finds_nothing() {
    # shellcheck disable=SC2086 -- options are words
    "$fuzzer" -seed=1 -artifact_prefix="$fuzzer-" -timeout=10 $options
}

ktap "fuzz.${fuzzer##*/}" finds_nothing
