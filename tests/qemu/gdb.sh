#!/bin/sh
# gdb.sh -- the project's commands for gdb (kernel/spandrel.gdb), on a machine that stands still:
# what they say is what the kernel counts, and what its own reports say.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

# debug STOP CMDLINE INITRD COMMAND...: boot, run up to function STOP, gdb's commands, end;
# $temp/gdb: what they have printed
debug() {
    stop=$1 cmdline=$2 initrd=$3
    shift 3
    rm -f "$temp/socket"
    CPUS=1 timeout "$machine_limit" boot/qemu.sh pvh build/debug/kernel.elf "$cmdline" "$initrd" \
        -S -gdb "unix:$temp/socket,server=on,wait=off" </dev/null >"$temp/out" 2>&1 &
    qemu=$!
    tries=0
    while [ ! -S "$temp/socket" ] && [ "$tries" -lt 200 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    printf '%s\n' 'set pagination off' 'set confirm off' "target remote $temp/socket" \
        "hbreak $stop" continue 'echo here\n' "$@" kill >"$temp/commands"
    timeout "$machine_limit" gdb -nx -q -batch -x kernel/spandrel.gdb -x "$temp/commands" \
        build/debug/kernel.elf >"$temp/gdb.all" 2>&1 </dev/null
    wait "$qemu"
    tr -d '\r' <"$LOG" >"$temp/said"
    sed '1,/^here$/d' "$temp/gdb.all" >"$temp/gdb"
}

# prints PATTERN...: each is a whole line of what gdb's commands have printed
prints() {
    for pattern; do
        grep -aqxE "$pattern" "$temp/gdb" && continue
        tail -n 30 "$temp/gdb.all"
        fail "expected: $pattern"
    done
}

# At panic_hide, `pointer` is an object of kmalloc(100), freed, or 16 bytes behind one in use.
# With slots in their order, and not in the guard pool.
plain="slab_random=0 guard_rate=0"
in_kmalloc_112="0xffff8[0-9a-f]{11} +8 KiB  class +[0-9]+  kmalloc-112:"
in_kmalloc_112="$in_kmalloc_112 73 slots of 112 bytes, [0-9]+ not taken"

object_in_use() {
    debug panic_hide "run=panic,bad-free $plain" - 'spandrel-span pointer' \
        'spandrel-span (char*)pointer-16' \
        'spandrel-span ((size_t)pointer&-8192)+72*112' \
        'spandrel-span ((size_t)pointer&-8192)+73*112'
    prints "$in_kmalloc_112" "  0xffff8[0-9a-f]{11} is byte 16 of slot [0-9]+, which is in use" \
        "  0xffff8[0-9a-f]{11} is byte 0 of slot [0-9]+, which is in use" \
        "  0xffff8[0-9a-f]{8}f80 is byte 0 of slot 72, which is free in its span" \
        "  0xffff8[0-9a-f]{8}ff0 is in no slot"
}

object_freed() {
    debug panic_hide "run=panic,double-free $plain" - 'spandrel-span pointer' \
        'printf "0x%lx is it\n", pointer' 'spandrel-magazines $spandrel_span->index' \
        'spandrel-magazines 0'
    elsewhere="in a magazine, the quarantine or on its way"
    prints "$in_kmalloc_112" \
        "  0xffff8[0-9a-f]{11} is byte 0 of slot [0-9]+, which is free, $elsewhere"
    object=$(sed -n 's/ is it$//p' "$temp/gdb")
    prints "  CPU 0, loaded, with room for [0-9]+:" "    $object" \
        "[1-9][0-9]* slots of kmalloc-112 are in magazines" \
        "no class or cache has magazines of number 0"
    count=$(sed -n 's/ slots of kmalloc-112 are in magazines$//p' "$temp/gdb")
    [ "$(grep -cxE '    0xffff8[0-9a-f]{11}' "$temp/gdb")" = "$count" ] || fail "not $count of them"
}

# Neither the image, nor the last page of memory, nor no address of all.
no_object() {
    debug panic_hide run=panic,bad-free - 'spandrel-span panic_hide' 'spandrel-span 0' \
        'spandrel-span 0xffff80001fff0000' 'spandrel-span 0x1234567800000000'
    prints "no span holds 0xffffffff81[0-9a-f]{6}" "no span holds 0x0" \
        "no span holds 0xffff80001fff0000" "no span holds 0x1234567800000000"
}

# A walk over the table finds as many spans as there are descriptors, and bytes as are counted.
spans_are_all() {
    debug report_take_end run=replay,boot build/traces/all.cpio spandrel-spans spandrel-mem
    walked=$(sed -n 's/^\([0-9]*\) spans, \([0-9]*\) KiB$/\1 \2/p' "$temp/gdb")
    counted=$(sed -n 's/^spans: \([0-9]*\) KiB, \([0-9]*\) descriptors$/\2 \1/p' "$temp/gdb")
    echo "walked: $walked, counted: $counted"
    [ "$walked" = "$counted" ] && [ "${walked% *}" -gt 20 ] &&
        [ "$(grep -c ' KiB  class ' "$temp/gdb")" = "${walked% *}" ] || fail "not the same"
}

# The monitor's `mem`, a moment before, has the heap's free memory and what is in windows of it.
memory() {
    debug verdict_end "run=mem then=poweroff" - spandrel-mem spandrel-log
    heap=$(sed -n 's/^node 0: \([0-9]*\) of [0-9]* KiB free in the page heap.*/\1/p' "$temp/gdb")
    told=$(tr -d '\r' <"$temp/gdb" | awk '
        $1 == "free" { free = $2 }
        $1 == "windows" || $1 == "pending" { away += $2 }
        END { print free - away }')
    echo "heap: $heap, by mem: $told"
    [ "$heap" = "$told" ] && [ "$heap" -gt 1000 ] || fail "not the same"
}

# What is in the log is what went to the serial line, at this stop all of it, but for what stood in
# the device's FIFO of 16 bytes at the end.  Behind it gdb says that it kills the machine.
log_is_what_was_said() {
    tr -d '\000' <"$temp/gdb" | sed 'N;$!P;$!D;$d' >"$temp/logged"
    said=$(wc -c <"$temp/said")
    missing=$(($(wc -c <"$temp/logged") - said))
    [ "$said" -gt 1000 ] && [ "$missing" -ge 0 ] && [ "$missing" -le 16 ] &&
        cmp -n "$said" "$temp/logged" "$temp/said" || fail "not what was said: $missing bytes more"
}

log() {
    debug verdict_end "run=stats then=poweroff" - spandrel-log
    log_is_what_was_said
}

# The same where the ring comes round in the middle; what stood there before is zero.
log_comes_round() {
    debug kernel_init "run=stats then=poweroff" - \
        'set var print_log_count = sizeof(print_log) - 500' 'hbreak verdict_end' continue 'echo here\n' \
        spandrel-log
    sed '1,/^here$/d' "$temp/gdb" >"$temp/gdb.log" && mv "$temp/gdb.log" "$temp/gdb"
    log_is_what_was_said
}

ktap gdb object_in_use object_freed no_object spans_are_all memory log log_comes_round
