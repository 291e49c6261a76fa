/*
 * panic: the report, from the first line to the end of the machine.
 *
 * Idea: the first CPU to panic owns the report.  It says why, then stops the others by NMI; each
 * of them writes its own backtrace into its per-CPU record, as only it can, and stands still; the
 * owner prints these records in turn.  A CPU that does not answer within a second is named.  Nothing
 * here takes a lock or allocates.
 *
 *     running --panic()--> owner: report, arch_exit
 *     owner   --panic()--> a short line, arch_exit        (fault inside the report)
 *     other   --panic()--> waits for the owner's NMI
 *     other   --NMI-----> record, stands still
 *
 * Contract: any context.  source: the report's shape follows what Linux and Go print.
 */
#include "kernel/panic.h"
#include <stdatomic.h>
#include "kernel/cpus.h"
#include "kernel/lock.h"
#include "kernel/percpu.h"
#include "kernel/print.h"
#include "kernel/symbol.h"
#include "kernel/time.h"

#define PANIC_FRAME_MAX   32 /* callers in a backtrace */
#define PANIC_EXIT_STATUS 1u
#define PANIC_TEXT_BYTES  200
#define PANIC_EXPLAIN_MAX 4u

struct panic_record {
    uintptr_t pcs[PANIC_FRAME_MAX]; /* [P] until is_stopped, then constant */
    size_t count;                   /* [P] likewise */
    _Atomic bool is_stopped;        /* [A] the record is whole; release / acquire */
};

static PERCPU(struct panic_record, panic_record);
static _Atomic uint32_t panic_owner; /* [A] CPU + 1 that reports, 0: none; acquire / release */
static void (*panic_teller)(void);   /* [C] once set; NULL: none */
static bool (*panic_nmi)(struct trap_frame *);              /* [C] once set; NULL: none */
static panic_explain_fn *panic_explains[PANIC_EXPLAIN_MAX]; /* [C] once set; the rest NULL */
static uint32_t panic_depth; /* [panic_owner] panics of the owner inside its own report */

static void panic_frame_print(size_t idx, uintptr_t pc,
                              bool (*format)(char *text, size_t bytes, uintptr_t address))
{
    char text[SYMBOL_TEXT_BYTES];

    if (format(text, sizeof(text), pc))
        printk("  #%zu 0x%lx %s\n", idx, pc, text);
    else
        printk("  #%zu 0x%lx\n", idx, pc);
}

void backtrace_print(const uintptr_t *pcs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        panic_frame_print(i, pcs[i], symbol_format);
}

/* As backtrace_print, but pcs[0] is where a trap or interrupt hit. */
static void panic_trap_backtrace_print(const uintptr_t *pcs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        panic_frame_print(i, pcs[i], i == 0 ? symbol_format_instruction : symbol_format);
}

static void panic_register_line(const char *text)
{
    printk("  %s\n", text);
}

/* The owner's own part: registers of the trap, or the callers from `caller` on. */
static void panic_print_this_cpu(const struct trap_frame *frame, uintptr_t caller)
{
    struct panic_record *own = this_cpu(panic_record);
    size_t first = 0;

    if (frame != NULL)
        arch_trap_dump(frame, panic_register_line);
    own->count = arch_backtrace(frame, own->pcs, PANIC_FRAME_MAX);
    printk("CPU %u, backtrace:\n", arch_cpu_id());
    if (frame != NULL) {
        panic_trap_backtrace_print(own->pcs, own->count);
    } else {
        while (first < own->count && own->pcs[first] != caller)
            first++;
        if (first == own->count) /* not among them: show all */
            first = 0;
        backtrace_print(own->pcs + first, own->count - first);
    }
    lock_dump_held(arch_cpu_id());
}

static bool panic_wait_stopped(unsigned cpu, uint64_t start)
{
    struct panic_record *record = cpu_var(panic_record, cpu);

    while (!atomic_load_explicit(&record->is_stopped, memory_order_acquire)) {
        if (arch_ticks() - start > arch_ticks_per_second())
            return false;
        arch_relax();
    }
    return true;
}

static void panic_print_others(void)
{
    unsigned me = arch_cpu_id(), count = cpus_online();

    for (unsigned cpu = 0; cpu < count; cpu++) {
        if (cpu != me)
            arch_nmi_send(cpu);
    }
    uint64_t start = arch_ticks();
    for (unsigned cpu = 0; cpu < count; cpu++) {
        if (cpu == me)
            continue;
        if (panic_wait_stopped(cpu, start)) {
            struct panic_record *record = cpu_var(panic_record, cpu);

            printk("CPU %u, backtrace:\n", cpu);
            panic_trap_backtrace_print(record->pcs, record->count);
        } else {
            printk("CPU %u does not answer\n", cpu);
        }
        lock_dump_held(cpu);
    }
}

static NORETURN void panic_stand_still(void)
{
    for (;;)
        arch_relax();
}

/* Become the owner, or do what a CPU that cannot be does. */
static void panic_take(const char *format, va_list args)
{
    uint32_t me = arch_cpu_id() + 1, owner = 0;

    if (atomic_compare_exchange_strong_explicit(&panic_owner, &owner, me, memory_order_acquire,
                                                memory_order_acquire)) {
        print_panic_begin();
        return;
    }
    if (owner != me)
        panic_stand_still(); /* the owner's NMI comes */
    if (panic_depth++ == 0)
        vprintk("panic inside the report: ", format, args);
    arch_exit(PANIC_EXIT_STATUS);
}

static NORETURN void panic_report(const struct trap_frame *frame, uintptr_t caller,
                                  const char *format, va_list args)
{
    (void)arch_irq_save();
    panic_take(format, args);
    vprintk("panic: ", format, args);
    panic_print_this_cpu(frame, caller);
    panic_print_others();
    if (panic_teller != NULL)
        panic_teller();
    printk("uptime %lu ms\n", time_uptime_ns() / 1000000);
    arch_exit(PANIC_EXIT_STATUS);
}

void panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    panic_report(NULL, (uintptr_t)__builtin_return_address(0), format, args);
}

void kernel_panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    panic_report(NULL, (uintptr_t)__builtin_return_address(0), format, args);
}

static NORETURN void panic_from(uintptr_t caller, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    panic_report(NULL, caller, format, args);
}

static NORETURN void panic_trap(const struct trap_frame *frame, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    panic_report(frame, 0, format, args);
}

void panic_tell(void (*fn)(void))
{
    panic_teller = fn;
}

void panic_share_nmi(bool (*fn)(struct trap_frame *frame))
{
    panic_nmi = fn;
}

void panic_explain_faults(panic_explain_fn *fn)
{
    size_t count = 0;

    while (count < PANIC_EXPLAIN_MAX && panic_explains[count] != NULL)
        count++;
    CHECK(count < PANIC_EXPLAIN_MAX);
    panic_explains[count] = fn;
}

static bool panic_explain(uintptr_t addr, bool is_write, char *text, size_t bytes)
{
    for (size_t i = 0; i < PANIC_EXPLAIN_MAX && panic_explains[i] != NULL; i++) {
        if (panic_explains[i](addr, is_write, text, bytes))
            return true;
    }
    return false;
}

void kernel_trap(struct trap_frame *frame, const char *what)
{
    char text[PANIC_TEXT_BYTES];
    uintptr_t addr;
    bool is_write;

    if (arch_trap_fault(frame, &addr, &is_write) &&
        panic_explain(addr, is_write, text, sizeof(text)))
        what = text;
    panic_trap(frame, "%s", what);
}

void check_failed(const char *expression, const char *file, int line)
{
    panic_from((uintptr_t)__builtin_return_address(0), "%s:%d: CHECK(%s) failed", file, line,
               expression);
}

void kernel_nmi(struct trap_frame *frame)
{
    uint32_t owner = atomic_load_explicit(&panic_owner, memory_order_acquire);
    struct panic_record *record = this_cpu(panic_record);

    if (owner == 0) {
        if (panic_nmi != NULL && panic_nmi(frame))
            return;
        printk("CPU %u: an NMI of nobody's; going on\n", arch_cpu_id());
        return;
    }
    if (owner == arch_cpu_id() + 1)
        return;
    record->count = arch_backtrace(frame, record->pcs, PANIC_FRAME_MAX);
    atomic_store_explicit(&record->is_stopped, true, memory_order_release);
    panic_stand_still();
}
