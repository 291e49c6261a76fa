#!/bin/sh
# run.sh GLOB [quick] -- the native benchmark: run the allocators' programs in turns, ROUNDS times or
# until LIMIT_SECONDS have passed, and print Go's benchmark lines for what matches GLOB, then ratios.
#
# In turns, because the machine's speed and its other load change: so they do for all alike.  A
# program that is not there is left out, with a line that says why.  `quick` runs each once and
# little of it: all the lines, and figures that mean nothing.

ROUNDS=30
LIMIT_SECONDS=45

cd "$(dirname "$0")/../../.." || exit 1
glob=$1
how=$2
programs=${NATIVE_PROGRAMS:-build/native}
allocators="spandrel mimalloc tcmalloc jemalloc"

package_of() {
    case $1 in
    mimalloc) echo libmimalloc-dev ;;
    tcmalloc) echo libgoogle-perftools-dev ;;
    jemalloc) echo libjemalloc-dev ;;
    esac
}

# matches NAME: the glob, on a name with its threads or without
matches() {
    case $1 in
    $glob) return 0 ;;
    esac
    case ${1%-*} in
    $glob) return 0 ;;
    esac
    return 1
}

# describe NAME: the package and how it is linked
describe() {
    package=$(package_of "$1")
    version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null)
    linked=static
    ! objdump -p "$programs/$1" | grep -q "NEEDED.*lib$1" || linked=shared
    echo "$1: $package ${version:-of unknown version}, $linked"
}

some=
for workload in Pair/size=64 Batch/size=64 Churn/slots=4096; do
    for allocator in $allocators none; do
        for threads in 1 2; do
            ! matches "Native$workload/allocator=$allocator-$threads" || some=yes
        done
    done
done
if [ -z "$some" ]; then
    case $glob in
    Native*) echo "bench: nothing matches $glob"; exit 1 ;;
    *) exit 0 ;;
    esac
fi

samples=$(mktemp)
trap 'rm -f "$samples"' EXIT

echo "pkg: spandrel/native"
there=
for allocator in $allocators; do
    if [ -x "$programs/$allocator" ]; then
        there="$there $allocator"
        [ -z "$(package_of "$allocator")" ] || describe "$allocator"
    else
        echo "--- SKIP: BenchmarkNative*/allocator=$allocator:" \
            "$(package_of "$allocator") is not installed"
    fi
done

[ "$how" != quick ] || ROUNDS=1
start=$(date +%s)
round=0
while [ "$round" -lt "$ROUNDS" ] && [ $(($(date +%s) - start)) -lt "$LIMIT_SECONDS" ]; do
    for allocator in $there; do
        said=$("$programs/$allocator" $how) ||
            { printf '%s\n' "$said" "bench: $programs/$allocator failed"; exit 1; }
        printf '%s\n' "$said" | sed -n "s/^sample /$allocator /p" >>"$samples"
    done
    round=$((round + 1))
done
echo "rounds: $round"

awk -f tests/bench/native/summary.awk "$samples" | while IFS= read -r line; do
    case $line in
    Benchmark*)
        name=${line%%[[:space:]]*}
        matches "${name#Benchmark}" || continue
        ;;
    esac
    printf '%s\n' "$line"
done
