#!/bin/sh
# stress.sh -- what `make stress` runs, in the form of suites.sh: the soak (tests/soak/soak.c) for
# about an hour in all, on two cores.  Bounded by operations, so that what it does does not depend on
# how fast the machine is; SEED=N, 1 if not given, for other sequences.  Operations a second, on one
# of two busy cores: 370,000; 280,000 with ASan, 25,000 with TSan, 75,000 with debugged slots, 60,000
# in QEMU.

seed=${SEED:-1}
soak() {
    variant=$1 cpus=$2 operations=$3
    shift 3
    echo "$variant-$cpus-cpus${1:+-$1} 7200 build/$variant/tests cpus=$cpus seed=$seed" \
        "soak=$operations guard_rate=500 $* slab_soak"
}

echo "qemu-4-cpus 7200 tests/qemu/tests.sh 4 512M slab_soak seed=$seed soak=60000000 guard_rate=500"
echo "qemu-million-threads 7200 tests/qemu/tests.sh 2 8G thread_million threads=1000000"
soak hosted-thread 8 40000000
soak hosted-address 8 300000000
soak hosted 8 400000000
soak hosted 2 400000000
soak hosted 4 100000000 slab_debug=1
