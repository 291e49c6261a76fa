#!/bin/sh
# debugged.sh -- replay the recorded traces on a process with debugged slots: each check by itself,
# all of them, some classes only, and hardly any quarantine.  Nothing is damaged, all comes back.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/ktap.sh

# replay TRACE CPUS WORD...
replay() {
    trace=$1 cpus=$2
    shift 2
    build/hosted/tests "cpus=$cpus" ram=1G run=replay "module=build/traces/$trace" "$@"
}

plain() {
    replay files.kmt 2
}

redzone() {
    replay files.kmt 2 slab_debug=redzone
}

poison() {
    replay files.kmt 2 slab_debug=poison
}

quarantine() {
    replay files.kmt 2 slab_debug=quarantine
}

trace() {
    replay files.kmt 2 slab_debug=trace
}

sites() {
    replay files.kmt 2 slab_debug=sites
}

red_zones_and_poison() {
    replay files.kmt 2 slab_debug=rp
}

some_classes() {
    replay files.kmt 2 "slab_debug=1,kmalloc-112,kmalloc-1*"
}

small_quarantine() {
    replay files.kmt 2 slab_debug=rpq quarantine=16K
}

all() {
    replay files.kmt 4 slab_debug=1
}

all_boot() {
    replay boot.kmt 1 slab_debug=1
}

all_procs() {
    replay procs.kmt 8 slab_debug=1
}

ktap replay_debugged plain redzone poison quarantine trace sites red_zones_and_poison some_classes \
    small_quarantine all all_boot all_procs
