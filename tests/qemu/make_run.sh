#!/bin/sh
# make_run.sh -- the command itself: what it does with its input, its words and its exit status.
# KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh
unset LOG

# make_run INPUT ARGUMENT...: `make run` with the file INPUT typed at the monitor
make_run() {
    input=$1
    shift
    timeout "$machine_limit" make -s run "$@" <"$input" >"$temp/out" 2>&1
    status=$?
    tr -d '\r' <"$temp/out" >"$temp/said"
    [ "$status" != 124 ] || fail "did not end by itself in $machine_limit s"
}

# typed LINE...: a file of what is typed
typed() {
    printf '%s\n' "$@" >"$temp/typed"
    echo "$temp/typed"
}

input_at_its_end() {
    make_run /dev/null
    ended_well
    says "Spandrel, started by UEFI" "CPUs: 2 run of 2 found" "replay: files.kmt: 158,307 records" \
        "corruption found: 0" "spandrel> " "power off: nothing was found wrong"
}

piped_commands() {
    make_run "$(typed mem spans)" CMDLINE=run=monitor
    ended_well
    says "spandrel> mem" "pages handed out" "spandrel> spans" "large objects" "power off"
}

last_line_without_end() {
    printf cpus >"$temp/typed"
    make_run "$temp/typed" CMDLINE=run=monitor CPUS=3
    ended_well
    says "spandrel> cpus" "CPU  2"
}

failed_command_fails_make() {
    make_run "$(typed 'replay banana')" CMDLINE=run=monitor
    ended_badly
    says "banana" "power off: found wrong: 1"
}

panic_fails_make() {
    make_run "$(typed 'panic null' mem)" CMDLINE=run=monitor
    ended_badly
    says "panic: null dereference"
}

# Nobody ever types: the machine boots, replays, prompts, and waits.
silent_input_holds_nothing_up() {
    mkfifo "$temp/silent"
    timeout -s INT "$machine_limit" make -s run <>"$temp/silent" >"$temp/said" 2>&1 &
    make=$!
    until grep -aqs 'spandrel> ' "$temp/said" || ! kill -0 $make 2>/dev/null; do
        sleep 0.2
    done
    says "corruption found: 0" "spandrel> "
    kill -0 $make || fail "ended by itself"
    kill $make
    wait $make
    return 0
}

other_trace() {
    make_run /dev/null TRACE=build/traces/boot.kmt CPUS=1 MEM=128M
    ended_well
    says "replay: boot.kmt: 8,644 records" "corruption found: 0"
}

# A path that is no word of a command line, and words that are none of a shell's.
odd_words() {
    cp build/traces/boot.kmt "$temp/it's a trace.kmt"
    make_run /dev/null TRACE="$temp/it's a trace.kmt" CMDLINE="it's" CPUS=1
    ended_well
    says "replay: it_s_a_trace.kmt: 8,644 records" "command line: it's: not a key=value word"
}

# Named from where make was called; PWD is stale where what called it changes folders by itself.
trace_from_elsewhere() {
    cp build/traces/boot.kmt "$temp/here.kmt"
    root=$PWD
    (cd "$temp" && make_run /dev/null -C "$root" TRACE=here.kmt CPUS=1 && ended_well) || exit
    says "replay: here.kmt: 8,644 records"
    PWD=/ make_run /dev/null TRACE=build/traces/boot.kmt CPUS=1
    ended_well
}

least_memory() {
    make_run /dev/null MEM=64M
    ended_well
    says "corruption found: 0"
}

# Firmware resets with 16 MiB, and with 32 MiB finds no disk and waits for a key.
too_little_memory() {
    for mem in 16M 32M; do
        make_run /dev/null MEM=$mem
        ended_badly
        says "MEM=$mem may be too little for the firmware"
    done
}

bad_cpus() {
    for cpus in 0 abc; do
        make_run /dev/null CPUS=$cpus
        ended_badly
        says "CPUS=$cpus: accepted: a number"
    done
}

missing_trace() {
    make_run /dev/null TRACE=banana.kmt
    ended_badly
    says "banana.kmt: no such file"
}

ktap make_run input_at_its_end piped_commands last_line_without_end failed_command_fails_make \
    panic_fails_make silent_input_holds_nothing_up other_trace odd_words trace_from_elsewhere \
    least_memory too_little_memory bad_cpus missing_trace
