#!/bin/sh
# suites.sh -- what `make test` runs: a line for each suite with its name, the seconds after which
# it counts as hanging, many times what it needs, and a command that prints KTAP.  Long ones first.
# Tests that count to the slot run without guard sampling, which takes one allocation in 20,000.

for machine in "hosted-thread 8" "hosted-address 4" "hosted 8" "hosted 1"; do # of two: QEMU's
    variant=${machine% *} cpus=${machine#* }
    echo "$variant-$cpus-cpus 900 build/$variant/tests cpus=$cpus guard_rate=0"
done
echo "mutants-sample 300 env JOBS=1 tests/mutants/run.sh" \
    "sequence-not-rewound-in-slab-hosted sequence-pop-leaves-the-token" \
    "pending-not-pushed kfree-double-free-not-checked"
for machine in "8 512M" "2 512M" "2 128M" "1 512M"; do
    echo "qemu-tests-$(echo "$machine" | tr ' ' -) 600 tests/qemu/tests.sh $machine"
done
# Of four CPUs and of much memory, what these can change.
for glob in "thread*" "*_smp"; do
    echo "qemu-tests-4-512M-$(echo "$glob" | tr -d '*_') 300 tests/qemu/tests.sh 4 512M $glob"
done
echo "qemu-tests-2-8G-page 300 tests/qemu/tests.sh 2 8G page*"
echo "hosted-thread-4-cpus-3-nodes 300 build/hosted-thread/tests cpus=4 nodes=3 guard_rate=0 page*"
for glob in "page*" "slab*"; do
    echo "hosted-4-cpus-3-nodes-${glob%\*} 300 build/hosted/tests cpus=4 nodes=3 guard_rate=0 $glob"
done
# A machine of 1 TiB in one piece: TSan leaves room for that where addresses are not randomised.
fixed_addresses=$(setarch -R true 2>/dev/null && echo setarch -R)
for variant in hosted-thread hosted-address hosted; do
    echo "$variant-lifecycle 120 $fixed_addresses build/$variant/lifecycle"
done
# Pages checked: no window, poison, owners; with little memory, since free memory is looked at often.
for glob in "page_*" "slab" "kmalloc"; do
    echo "hosted-address-checked-${glob%_*} 300 build/hosted-address/tests ram=128M cpus=2 guard_rate=0 page_poison=1 page_owner=1 $glob"
done
# Debugged slots: the slab allocator's tests under all checks at once, each trace under each.
for machine in "hosted-thread 8" "hosted-address 2" "hosted 4"; do
    variant=${machine% *} cpus=${machine#* }
    for glob in "kmalloc*" "kmem_cache*" "slab*"; do
        echo "$variant-debugged-${glob%\*} 300 build/$variant/tests cpus=$cpus guard_rate=0 slab_debug=1 $glob"
    done
done
echo "hosted-debugged-without-quarantine 300 build/hosted/tests cpus=4 guard_rate=0 slab_debug=1 quarantine=0 slab*"
# Guard sampling: its own tests, every allocation sampled, and many under load.
for machine in "hosted-thread 8" "hosted-address 4" "hosted 1"; do
    variant=${machine% *} cpus=${machine#* }
    echo "$variant-guard 300 build/$variant/tests cpus=$cpus guard*"
done
echo "qemu-tests-guard 300 tests/qemu/tests.sh 2 512M guard* guard_rate=20000"
echo "hosted-address-leaks-guarded 300 build/hosted-address/tests cpus=4 guard_rate=100 leaks*"
echo "hosted-address-guarded 300 build/hosted-address/tests cpus=2 guard_rate=1 guard_kmalloc*"
echo "hosted-thread-guarded 300 build/hosted-thread/tests cpus=8 guard_rate=100 slab_smp*"
echo "hosted-guarded 300 build/hosted/tests cpus=8 guard_rate=1000 slab_smp*"
# The collector: its tests under all its checks; stopping the world; under other settings.
for machine in "hosted-address 4" "hosted 8" "hosted 1"; do
    variant=${machine% *} cpus=${machine#* }
    echo "$variant-$cpus-cpus-gc 300 build/$variant/tests cpus=$cpus guard_rate=0 gccheckmark=1 clobberfree=1 gc*"
done
echo "qemu-tests-gc 300 tests/qemu/tests.sh 2 512M gc* gccheckmark=1 clobberfree=1"
for stops in 1 2; do
    echo "hosted-4-cpus-gc-stops-$stops 300 build/hosted/tests cpus=4 guard_rate=0 gcstoptheworld=$stops gccheckmark=1 gc*"
done
echo "hosted-gc-limit 120 build/hosted/tests cpus=2 guard_rate=0 gogc=off memlimit=64M gc.keeps*"
echo "hosted-gc-ten-million 120 build/hosted/tests cpus=2 ram=2G guard_rate=0 gc.list*"
for setting in gogc=50 gogc=off gcminheap=64K gcminheap=32M; do
    echo "hosted-gc-$setting 60 build/hosted/tests cpus=1 guard_rate=0 $setting gc_settings"
done
# The soak: each run of all tests has a little of it; here with more guarded objects.
for machine in "hosted-thread 8" "hosted 4"; do
    variant=${machine% *} cpus=${machine#* }
    echo "$variant-$cpus-cpus-soak 120 build/$variant/tests cpus=$cpus guard_rate=500 slab_soak"
done
echo "replay-debugged 300 tests/replay/debugged.sh"
echo "hosted-reserves-capped 60 build/hosted/tests ram=64M reserve=1G dmareserve=16M page_reserve*"
echo "qemu-make-run 300 tests/qemu/make_run.sh"
echo "qemu-replay 600 tests/qemu/replay.sh"
echo "qemu-loader-failures 600 tests/qemu/loader_failures.sh"
echo "qemu-tests-debugged 300 tests/qemu/tests.sh 2 512M slab* slab_debug=1"
echo "qemu-scavenge 300 tests/qemu/scavenge.sh"
echo "qemu-panics 300 tests/qemu/panics.sh"
echo "qemu-gdb 300 tests/qemu/gdb.sh"
echo "qemu-refusals 300 tests/qemu/refusals.sh"
echo "qemu-numa 300 tests/qemu/numa.sh"
echo "qemu-threads 300 tests/qemu/threads.sh"
echo "qemu-scale 300 tests/qemu/scale.sh"
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    options=-runs=200000
    [ "$name" != fuzz_slab ] || options=-runs=5000 # each is hundreds of operations
    echo "$name 120 tests/fuzz/run.sh build/fuzz/${name#fuzz_} $options"
done
echo "lift 120 tests/lift/run.sh"
echo "sequences 120 tests/sequences.sh"
echo "gc-types 120 tests/mm/gc/refused.sh"
echo "gc-threads 60 tests/mm/gc/threads.sh"
echo "model 120 tests/model/run.sh small"
echo "native 120 tests/native.sh"
echo "image 60 tests/image.sh"
echo "lint 120 tests/lint/lint.sh"
echo "summary 60 tests/summary_test.sh"
