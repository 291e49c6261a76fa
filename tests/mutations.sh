#!/bin/sh
# mutations.sh -- take away, one by one, what a test is there to see, and see that test fail.  KTAP.
# Each mutant is built in a copy of the tree that starts with the objects of the real one.

cd "$(dirname "$0")/.." || exit 1
. tests/ktap.sh

tree=build/mutant

# mutant FILE SED TARGET COMMAND...: COMMAND, on the tree with FILE changed, has a test that fails
mutant() {
    file=$1 change=$2 target=$3
    shift 3
    rm -rf "$tree"
    mkdir -p "$tree/build"
    cp -a Makefile linker.ld arch boot kernel mm tests "$tree"
    cp -a "${target%/*}" "$tree/build"
    [ ! -d build/traces ] || cp -a build/traces "$tree/build"
    sed "$change" "$file" >"$tree/$file"
    ! cmp -s "$file" "$tree/$file" || { echo "nothing changed in $file"; return 1; }
    (cd "$tree" && make "$target" && "$@" </dev/null) >"$tree/said" 2>&1
    grep -aq '^not ok\|^panic' "$tree/said" || { tail -n 20 "$tree/said"; return 1; }
}

without_the_rewind_hosted() {
    mutant arch/hosted/irq.c 's/^    \*pc = .*sequence_rewind.*/    (void)pc;/' \
        build/hosted/tests build/hosted/tests cpus=2 'test=page.interrupted_at_*'
}

without_the_rewind_x86_64() {
    mutant arch/x86_64/trap.c '/frame->rip = sequence_rewind/d' \
        build/debug/kernel.elf tests/qemu/tests.sh 1 128M 'page.interrupted_at_*'
}

# A table that says that a sequence ends before its commit.
with_the_commit_left_out() {
    mutant arch/sequence_x86.h 's/body commit "\\n772:\\n\\t"  */body "\\n772:\\n\\t" commit "\\n\\t"/' \
        build/hosted/tests build/hosted/tests cpus=2 'test=page.interrupted_at_*'
}

ktap mutations without_the_rewind_hosted without_the_rewind_x86_64 with_the_commit_left_out
rm -rf "$tree"
