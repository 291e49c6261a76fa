#!/bin/sh
# run.sh [NAME-GLOB...] -- break the sources in one place after another, as the lists here say, and
# see that the tests notice.  KTAP: a mutant that is killed passes; one that survives, that cannot
# be applied any more or does not build, fails.  First of all, that each in the lists can be
# applied.
#
# Each mutant is a copy of the tree and of one build of it, so that only what it changes is compiled
# again; as many at once as there are CPUs, or JOBS.  The tests that are to kill it must pass
# without it.  README.md has the lists' format.

cd "$(dirname "$0")/../.." || exit 1
self=tests/mutants/run.sh
unset MAKEFLAGS MFLAGS MAKELEVEL
ulimit -c 0

# target_of BUILD: what to make for it
target_of() {
    case $1 in
    qemu) echo build/debug/kernel.elf ;;
    *) echo "build/$1/tests" ;;
    esac
}

# build_tree TREE BUILD; a mutant need not be free of warnings
build_tree() {
    make -s -C "$1" WARNINGS=-w "$(target_of "$2")" >"$1.build" 2>&1
}

# try SAID TREE BUILD CPUS SECONDS WITH TESTS -- run these tests; SAID.log is what they said,
# $failures what failed, by the same judge as `make test`; $passed and $failed count them.
try() {
    said=$1 tree=$2
    shift 2
    with=${4#-}
    case $1 in
    qemu) set -- "$3" env CPUS="$2" boot/qemu.sh pvh build/debug/kernel.elf \
        "run=test test=$5 then=poweroff${with:+ $with}" - ;;
    *) set -- "$3" "build/$1/tests" "cpus=$2" ${with:+"$with"} "$5" ;;
    esac
    limit=$1
    shift
    { (cd "$tree" && timeout -k 2 "$limit" "$@" </dev/null); echo $? >"$said.status"; } 2>&1 |
        head -c 1000000 | tr -d '\000' >"$said.log"
    failures=$(awk -f tests/summary.awk suite=mutant status="$(cat "$said.status")" \
        out="$said.result" "$said.log")
    read -r passed failed skipped <"$said.result"
}

# Where the verdict of some tests on the unchanged tree is kept.
sound_file() {
    echo "$out/sound-$(echo "$*" | cksum | tr ' ' -)"
}

# base BUILD: the tree that its mutants are copies of, built
base() {
    tree=$out/base-$1
    folder=$(dirname "$(target_of "$1")")
    mkdir -p "$tree/build"
    cp -a arch boot kernel mm tests Makefile linker.ld "$tree"
    [ ! -d "$folder" ] || cp -a "$folder" "$tree/build"
    build_tree "$tree" "$1" && return
    cat "$tree.build"
    echo "$self: the unchanged tree does not build: $1"
    return 1
}

# sound BUILD CPUS SECONDS WITH TESTS: do they pass on the unchanged tree?
sound() {
    file=$(sound_file "$@")
    try "$file" "$out/base-$1" "$@"
    [ "$passed" != 0 ] && [ "$failed" = 0 ] && : >"$file" && return
    printf '%s\n' "$failures" | sed 's/^/# /' >"$file"
}

# attempt NAME BUILD CPUS SECONDS FILE WITH TESTS: says "killed WHAT" or "WHY"
attempt() {
    tree=$out/$1
    file=$(sound_file "$2" "$3" "$4" "$6" "$7")
    if [ -s "$file" ]; then
        echo "$7 does not pass without it, or no test is called so"
        cat "$file"
        return
    fi
    cp -a "$out/base-$2" "$tree"
    if ! why=$(cd "$out/base-$2" &&
        awk -f tests/mutants/mutants.awk apply="$1" tests/mutants/*.txt 2>&1 >"$tree/$5"); then
        echo "cannot be applied"
        printf '%s\n' "$why" | sed 's/^/# /'
    elif ! build_tree "$tree" "$2"; then
        echo "does not build"
        sed 's/^/# /' "$tree.build"
    else
        try "$tree" "$tree" "$2" "$3" "$4" "$6" "$7"
        if [ "$failed" = 0 ]; then
            echo "survives $7"
        else
            echo "killed $(printf '%s\n' "$failures" | grep -m 1 '^not ok')"
        fi
    fi
    rm -rf "$tree"
}

case $1 in
--sound)
    shift
    sound "$@"
    exit
    ;;
--attempt)
    shift
    verdict=$(attempt "$@")
    # One write: others are at work too.
    printf '%s\n' "= $1 $verdict"
    exit
    ;;
esac

mkdir -p build
out=$(mktemp -d "$PWD/build/mutants.XXXXXX") || exit
export out
trap 'rm -rf "$out"' EXIT
trap 'exit 1' HUP INT TERM
awk -f tests/mutants/mutants.awk tests/mutants/*.txt >"$out/all" || exit
: >"$out/chosen"
for glob in "${@:-*}"; do
    while read -r name rest; do
        # shellcheck disable=SC2254 -- a glob
        case $name in
        $glob) echo "$name $rest" ;;
        esac
    done <"$out/all" >>"$out/chosen"
done

for build in $(cut -d ' ' -f 2 "$out/chosen" | sort -u); do
    base "$build" || exit
done
jobs=${JOBS:-$(nproc)}
awk '{ print $2, $3, $4, $6, $7 }' "$out/chosen" | sort -u | xargs -P "$jobs" -L 1 "$self" --sound

# Numbers the verdicts in the order in which they come, as they come.
number() {
    passed=0 failed=0
    while IFS= read -r line; do
        verdict=${line#= * }
        name=${line#= } name=${name%% *}
        case $line in
        "= "*" killed "*)
            passed=$((passed + 1))
            echo "ok $((passed + failed)) mutants.$name # ${verdict#killed }"
            ;;
        "= "*)
            failed=$((failed + 1))
            echo "not ok $((passed + failed)) mutants.$name # $verdict"
            ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

echo "KTAP version 1"
echo "1..$(($(wc -l <"$out/chosen") + 1))"
{
    if awk -f tests/mutants/mutants.awk apply=all tests/mutants/*.txt >"$out/applied" 2>&1; then
        echo "= all_apply killed $(wc -l <"$out/all") mutants"
    else
        sed 's/^/# /' "$out/applied"
        echo "= all_apply some do not"
    fi
    xargs -P "$jobs" -L 1 "$self" --attempt <"$out/chosen"
} | number
