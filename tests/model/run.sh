#!/bin/sh
# run.sh [TEST...] -- check cycle.pml with spin: that the protocol holds, and that without any one
# of its parts an object that can be reached is freed.  KTAP; `small` for TEST: those of seconds.
# What spin said stays in build/model/; a counterexample is shown there by
# `spin -t -p -g FLAGS cycle.pml`, with the flags that FLAGS holds.

cd "$(dirname "$0")/../.." || exit 1
. tests/ktap.sh

# search CFLAGS FLAG... -- search the variant of the model that has these flags; the order is free,
# and the one asked for finds counterexamples sooner.
search() {
    cflags=$1
    shift
    dir=build/model/$test
    rm -rf "$dir"
    mkdir -p "$dir"
    cp tests/model/cycle.pml "$dir"
    cd "$dir" || return
    echo "$*" >FLAGS
    spin -a "$@" cycle.pml >spin.log 2>&1 || { cat spin.log; return 1; }
    # shellcheck disable=SC2086 -- several words
    ${CC:-gcc} -O3 -w -DSAFETY $cflags -o pan pan.c || return
    timeout 1200 ./pan -m1000000 >log 2>&1 || { cat log; return 1; }
}

# holds FLAG...: all states searched, nothing found; up to 2^64 hashes of states are told apart.
holds() {
    search -DHC4 "$@" || return
    grep -q 'errors: 0$' log && ! grep -qE 'not completed|too small|out of memory' log ||
        { cat log; return 1; }
}

# frees FLAG...: found to sweep what can be reached; the model's other claims are left out
frees() {
    search "-DREVERSE -DT_REVERSE" -DFREED_ONLY "$@" || return
    grep -q 'assertion violated.*live\|assertion violated ((y&' log || { cat log; return 1; }
}

one_object_all_choices() { holds -DOBJECTS=1 -DFIFO=3 -DMAGAZINE=3 -DSELF=3 -DCOMPLETE; }
magazines() { holds -DMAGAZINE=3; }
barrier_buffer_fills() { holds -DSELF=1; }
store_buffer() { holds -DFIFO=1; }
garbage_is_freed() { holds -DCOMPLETE; }

no_deletion_barrier() { frees -DNO_DELETION; }
no_insertion_barrier() { frees -DNO_INSERTION; }
barrier_test_apart_from_store() { frees -DNOT_ATOMIC -DFLAG_SHARED; }
white_allocation() { frees -DWHITE -DOBJECTS=1; }
barrier_and_roots_at_once() { frees -DNO_HANDSHAKE_1 -DBLACK_WITH_ROOTS; }
black_with_barrier() { frees -DNO_HANDSHAKE_1; }
black_with_roots() { frees -DBLACK_WITH_ROOTS -DMAGAZINE=3; }
roots_before_barriers() { frees -DROOTS_BEFORE_BARRIERS; }
roots_before_store_buffers() { frees -DROOTS_BEFORE_BARRIERS -DFLAG_SHARED -DFIFO=2; }
one_round() { frees -DONE_ROUND; }
round_with_work_left() { frees -DROUND_WITH_WORK_LEFT; }
announced_after_mark_only() { frees -DANNOUNCE_AFTER_ONLY -DSELF=1; }
scanned_before_handshake_1() { frees -DSCAN_BEFORE_HANDSHAKE_1 -DSELF=1; }
announced_before_mark_only() { frees -DANNOUNCE_BEFORE_ONLY -DSELF=1; }
black_off_before_unswept() { frees -DBLACK_OFF_FIRST -DOBJECTS=1; }
black_off_after_unswept() { frees -DBLACK_OFF_LAST; }

small="one_object_all_choices no_deletion_barrier no_insertion_barrier white_allocation
    barrier_test_apart_from_store barrier_and_roots_at_once black_with_roots roots_before_barriers
    roots_before_store_buffers round_with_work_left black_off_before_unswept"
large="magazines garbage_is_freed store_buffer barrier_buffer_fills black_with_barrier one_round
    announced_after_mark_only announced_before_mark_only
    scanned_before_handshake_1 black_off_after_unswept"

case $* in
'') set -- $small $large ;;
small) set -- $small ;;
esac
ktap model "$@"
