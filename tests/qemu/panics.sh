#!/bin/sh
# panics.sh -- one machine for each kind of misuse: the report names it, shows by whom, and the
# machine ends with a failure.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/qemu/lib.sh

# expect KIND TEXT...: `panic KIND` ends in a report with each TEXT and a backtrace of both CPUs;
# $settings go to the command line
settings=
expect() {
    kind=$1
    shift
    machine boot/qemu.sh pvh build/debug/kernel.elf "run=panic,$kind $settings" -
    ended_badly
    says "$@" "CPU 0, backtrace:" " kernel_run+0x" " arch_entry+0x" \
        "CPU 1, backtrace:" " kernel_cpu_main+0x"
    if grep -aq 'went unseen' "$temp/said"; then
        fail "went unseen"
    fi
}

# at FUNCTION FILE TEXT: a frame of FUNCTION, at the one line of FILE that holds TEXT
at() {
    line=$(grep -nF "$3" "$2" | cut -d: -f1)
    grep -aqE "^  #[0-9]+ 0x[0-9a-f]+ $1\+0x[0-9a-f]+ \($2:$line\)\$" "$temp/said" ||
        fail "expected: $1 at $2:$line"
}

plain() {
    expect plain "panic: asked for" " panic_plain+0x"
    at panic_plain kernel/commands_mm.c 'panic("asked for")'
    at kernel_run kernel/main.c 'command_run_line(line)'
    at arch_entry arch/x86_64/entry.S 'call    kernel_run'
}

failed_check() {
    expect check "panic: kernel/" "CHECK(panic_hide(NULL) != NULL) failed"
}

null_dereference() {
    expect null "panic: null dereference: read at 0x0" " panic_null+0x" "cr2 0000000000000000"
    at panic_null kernel/commands_mm.c '*(volatile int *)panic_hide(NULL)' # no call: what trapped
}

write_to_text() {
    expect write-text "panic: page fault: write to read-only address 0xffffffff81" "(kernel text)" \
        " panic_write_text+0x"
}

execute_data() {
    expect exec-data "panic: page fault: execute of no-execute memory at 0xffff8" \
        " commands_panic+0x"
}

# The backtrace is cut off long before arch_entry.
stack_overflow() {
    machine boot/qemu.sh pvh build/debug/kernel.elf run=panic,stack-overflow -
    ended_badly
    says "panic: stack overflow: boot stack of CPU 0" "  #31 0x" " panic_recurse" \
        "CPU 1, backtrace:" " kernel_cpu_main+0x"
}

double_free() {
    expect double-free "panic: kfree: double free of 0xffff8" "in kmalloc-112, slot " \
        "state: free" " kfree"
}

bad_free() {
    expect bad-free "panic: kfree: 0xffff8" "is not the start of an object" \
        "address is byte 16 of its object"
}

wrong_size() {
    expect wrong-size "panic: kfree_sized: 0xffff8" "is not an object of that size" \
        "in kmalloc-112, slot "
}

# kmalloc(50) under slab_debug=1: its byte 50, though its slot is longer.
slab_bounds() {
    settings="slab_debug=1,kmalloc-*"
    expect slab-bounds "panic: kfree: 0xffff8" "of 50 bytes: out of bounds: byte 50 was written, 1 behind" \
        "in kmalloc-64, slot " "  50 bytes asked for" "  allocated on CPU 0 by:" \
        "  #0 0xffffffff81" " panic_slab_bounds+0x"
}

# Written to while it waits in the quarantine: found when it leaves, with both backtraces.
slab_poison() {
    settings="slab_debug=pqt quarantine=64K"
    expect slab-poison "panic: slab: 0xffff8" "was written after it was freed: byte 40" \
        "in kmalloc-112, slot " "  allocated on CPU 0 by:" "  freed on CPU 0 by:" \
        " panic_slab_poison+0x"
}

page_double_free() {
    expect page-double-free "panic: page_free(0xffff8" "double free" " page_free"
}

page_poison() {
    settings="page_poison=1 page_owner=1"
    expect page-poison "offset 96: found 0xf4eef401f4eef4ee, expected 0xf4eef4eef4eef4ee" \
        "  allocated by:" "  freed by:" " panic_page_poison+0x" "panic: page poison: page 0x"
    at panic_page_poison kernel/commands_mm.c 'page_free(page, 1)'
}

page_owner() {
    settings="page_owner=1"
    expect page-double-free "panic: page_free(0xffff8" "  allocated by:" "  freed by:" \
        " panic_page_double_free+0x"
}

guard_overflow() {
    expect guard-overflow "panic: guard: out of bounds, write of 0xffffe" ": 1 byte behind object 0xffffe" \
        "guard: object 0xffffe" "  allocated on CPU 0, event " " panic_guard_overflow+0x" \
        "vector 14  error 0x2"
}

guard_use_after_free() {
    expect guard-use-after-free "panic: guard: use after free, read of 0xffffe" \
        ": byte 5 of object 0xffffe" "  allocated on CPU 0, event " "  freed on CPU 0, event " \
        " panic_guard_use_after_free+0x" "vector 14  error 0x0"
}

guard_corruption() {
    expect guard-corruption "panic: guard: kfree: corruption found at 0xffffe" "  found 01" \
        ": 1 byte be" " object 0xffffe" " panic_guard_corruption+0x"
}

stack_limit() {
    expect stack-limit "panic: stack overflow: thread main, limit 252 KiB, 256 KiB deep" \
        " panic_touch_stack+0x" "vector 14  error 0x2"
}

stack_reserve() {
    expect stack-reserve "cannot grow beyond 68 KiB: interrupts are off, and this CPU's reserve" \
        " stack_fault+0x" " panic_touch_stack+0x"
}

# expect_thread KIND TEXT...: as expect, of a thread on CPU 0; its backtrace goes on to its entry
expect_thread() {
    kind=$1
    shift
    machine boot/qemu.sh pvh build/debug/kernel.elf "run=panic,$kind" -
    ended_badly
    says "$@" "CPU 0, backtrace:" " sched_entry+0x" "CPU 1, backtrace:" " kernel_cpu_main+0x"
}

thread_overflow() {
    expect_thread thread-overflow "panic: stack overflow: thread deep, limit 252 KiB, 25" \
        " panic_deeper" " panic_deep_entry+0x" "CPU 0 runs thread deep; of 252 KiB of stack 252 KiB are backed"
}

mutex_deadlock() {
    expect_thread mutex-deadlock "one waits for mutex right, owned by two" \
        "two waits for mutex left, owned by one" "panic: mutex_lock: deadlock: 2 threads wait in a ring" \
        " panic_lock_both+0x"
}

mutex_unlock() {
    expect mutex-unlock "panic: mutex_unlock: mutex left is owned by owner, not by main" \
        "CPU 0 runs main" "CPU 1 runs idle"
}

park_with_interrupts_off() {
    expect_thread park-irq-off "panic: thread_park: interrupts are off, or a lock is held" \
        " panic_park_entry+0x"
}

threads_in_the_report() {
    expect_thread threads "panic: asked for" "CPU 0 runs thread asker; of 252 KiB of stack 4 KiB are backed" \
        "CPU 1 runs idle" "  thread waiter waits for mutex left, owned by owner"
}

lock_order() {
    expect lock-order "panic: lock order: MONITOR is taken while TEST is held" "holds lock TEST"
}

ktap panic plain failed_check null_dereference write_to_text execute_data stack_overflow \
    double_free bad_free wrong_size slab_bounds slab_poison page_double_free page_poison page_owner lock_order \
    guard_overflow guard_use_after_free guard_corruption stack_limit stack_reserve \
    thread_overflow mutex_deadlock mutex_unlock park_with_interrupts_off threads_in_the_report
