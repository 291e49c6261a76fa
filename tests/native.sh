#!/bin/sh
# native.sh -- the native benchmark, quickly and once: it prints all its lines with the allocators
# that are here, and with none of them; its figures are what its samples say.  KTAP.

cd "$(dirname "$0")/.." || exit 1
. tests/ktap.sh
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# has_lines PROGRAMS ALLOCATOR...: what is printed with the programs of that folder has a figure for
# each of these, a reason for each other one
has_lines() {
    said=$(NATIVE_PROGRAMS=$1 tests/bench/native/run.sh '*' quick) || { echo "$said"; return 1; }
    shift
    cores=2
    [ "$(nproc)" != 1 ] || cores=1
    count=0
    for workload in Pair/size=64 Batch/size=64 Churn/slots=4096; do
        for allocator in "$@" none; do
            for threads in $(seq $cores); do
                printf '%s\n' "$said" | grep -qE "^BenchmarkNative$workload/allocator=$allocator-$threads *	 *[0-9]+	 *[0-9.]+ ns/op	 *[0-9.]+ min-ns/op$" ||
                    { printf '%s\n' "$said" "no line: $workload $allocator $threads"; return 1; }
                count=$((count + 1))
            done
        done
    done
    [ "$(printf '%s\n' "$said" | grep -c ^Benchmark)" = $count ] || { echo "other lines"; return 1; }
    skipped=$(printf '%s\n' "$said" | grep -c '^--- SKIP: .*allocator=.* is not installed$')
    [ "$skipped" = $((4 - $#)) ] || { echo "$skipped skipped"; return 1; }
}

with_what_is_here() {
    set --
    for program in build/native/*; do
        [ ! -x "$program" ] || set -- "$@" "${program##*/}"
    done
    has_lines build/native "$@"
}

with_spandrel_alone() {
    mkdir "$temp/alone" && cp build/native/spandrel "$temp/alone" && has_lines "$temp/alone" spandrel
}

broken_program_is_told() {
    mkdir "$temp/broken" && printf '#!/bin/sh\necho why; exit 3\n' >"$temp/broken/spandrel" &&
        chmod +x "$temp/broken/spandrel"
    ! said=$(NATIVE_PROGRAMS=$temp/broken tests/bench/native/run.sh '*' quick) &&
        printf '%s\n' "$said" | grep -qx why
}

glob_chooses_lines() {
    said=$(tests/bench/native/run.sh 'NativeBatch*spandrel-1' quick | grep -c ^Benchmark)
    other=$(tests/bench/native/run.sh 'Kmalloc*' quick)
    [ "$said" = 1 ] && [ -z "$other" ] && ! tests/bench/native/run.sh 'NativeNo*' quick
}

# Medians of 5 and of 4 samples; the empty loop 1 ns an operation, 9 once.
figures() {
    for ns in 700 500 600 9000 400; do
        echo "spandrel W 1 100 $ns 100"
    done >"$temp/samples"
    for ns in 300 500 10000 200; do
        echo "mimalloc W 1 100 $ns 900"
        echo "tcmalloc W 1 100 2000 100"
    done >>"$temp/samples"
    awk -f tests/bench/native/summary.awk "$temp/samples" | tr -s ' \t' ' ' >"$temp/figures"
    cat "$temp/figures"
    grep -qx 'BenchmarkNativeW/allocator=spandrel-1 500 5.000 ns/op 3.000 min-ns/op' "$temp/figures" &&
        grep -qx 'BenchmarkNativeW/allocator=mimalloc-1 400 3.000 ns/op 1.000 min-ns/op' "$temp/figures" &&
        grep -qx 'BenchmarkNativeW/allocator=none-1 1300 1.000 ns/op 1.000 min-ns/op' "$temp/figures" &&
        grep -qx 'W 1.67 mimalloc ' "$temp/figures"
}

ktap native with_what_is_here with_spandrel_alone broken_program_is_told glob_chooses_lines figures
