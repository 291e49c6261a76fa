/*
 * printk: formats straight into the console, so that no buffer bounds a line.
 *
 * Idea: a call owns the console from its first byte to its last.  The owner is one word, the CPU's
 * index + 1, taken by compare-and-swap: so a printk that finds its own CPU there knows that it
 * interrupts a printk of this CPU -- an NMI, or a fault inside the formatting -- and goes on
 * without waiting.  A ticket lock (kernel/lock.h) has a moment between "queued" and "owner known"
 * in which an NMI would wait for ever.  The price is that waiting is not in order of arrival.
 *
 * Invariants
 *   P1  only the owner, or a CPU that interrupts it on the owner's own CPU, or the CPU that panics,
 *       writes to the console
 *   P2  every call leaves the console at the start of a line, but print_bytes
 *
 * Locks: print_owner, inside every other lock; interrupts are off while it is held.
 */
#include "kernel/print.h"
#include <stdatomic.h>
#include "arch/arch.h"
#include "kernel/base/string.h"

/* How long a panic waits for another CPU's line to end, in ticks: about a tenth of a second. */
#define PRINT_PANIC_WAIT_TICKS (1ull << 28)

#define PRINT_NOBODY 0u

#define PRINT_LOG_BYTES 16384u

static _Atomic uint32_t print_owner;     /* [A] CPU + 1; seq_cst to take, release to give */
static _Atomic uint32_t print_panic_cpu; /* [A] CPU + 1 once it panics; seq_cst, see print_take */
static bool print_line_open;             /* [print_owner] the last byte written was no newline */
static format_sink *print_capture_sink;  /* [print_owner] NULL: the console */
static void *print_capture_context;      /* [print_owner] */

/* The last that went to the console, for debuggers; what an NMI says inside a line may be torn. */
static USED char print_log[PRINT_LOG_BYTES]; /* [print_owner] a ring */
static USED size_t print_log_count; /* [print_owner] bytes ever written; the next one's place */

struct print_hold {
    unsigned long irq_state;
    bool is_nested; /* the console was this CPU's already, or is by its panic */
};

/*
 * Who takes the console looks whether a CPU panics after taking it, and who panics looks whether
 * the console is taken after saying so: one sees the other, and no line starts inside the report.
 */
static struct print_hold print_take(void)
{
    struct print_hold hold = {.irq_state = arch_irq_save()};
    uint32_t me = arch_cpu_id() + 1;

    for (;;) {
        uint32_t panicking = atomic_load_explicit(&print_panic_cpu, memory_order_relaxed);
        uint32_t owner = PRINT_NOBODY;

        hold.is_nested = panicking == me;
        if (hold.is_nested)
            return hold;
        if (panicking == PRINT_NOBODY &&
            atomic_compare_exchange_strong_explicit(&print_owner, &owner, me, memory_order_seq_cst,
                                                    memory_order_relaxed)) {
            if (atomic_load_explicit(&print_panic_cpu, memory_order_seq_cst) == PRINT_NOBODY)
                return hold;
            atomic_store_explicit(&print_owner, PRINT_NOBODY, memory_order_release);
            continue;
        }
        hold.is_nested = owner == me;
        if (hold.is_nested)
            return hold;
        arch_relax();
    }
}

static void print_give(struct print_hold hold)
{
    if (!hold.is_nested)
        atomic_store_explicit(&print_owner, PRINT_NOBODY, memory_order_release);
    arch_irq_restore(hold.irq_state);
}

static void print_to_console(const char *bytes, size_t n)
{
    arch_console_write(bytes, n);
    for (size_t i = 0; i < n; i++)
        print_log[print_log_count++ % PRINT_LOG_BYTES] = bytes[i];
}

static void print_put(void *unused, const char *bytes, size_t n)
{
    (void)unused;
    if (n == 0)
        return;
    print_line_open = true; /* for what interrupts this */
    if (print_capture_sink != NULL)
        print_capture_sink(print_capture_context, bytes, n);
    else
        print_to_console(bytes, n);
    print_line_open = bytes[n - 1] != '\n';
}

static void print_end_line(void)
{
    if (print_line_open)
        print_put(NULL, "\n", 1);
}

void vprintk(const char *prefix, const char *format, va_list args)
{
    struct print_hold hold = print_take();

    print_end_line();
    print_put(NULL, prefix, strlen(prefix));
    format_to(print_put, NULL, format, args);
    print_end_line();
    print_give(hold);
}

void printk(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintk("", format, args);
    va_end(args);
}

void print_bytes(const char *bytes, size_t n)
{
    struct print_hold hold = print_take();

    print_put(NULL, bytes, n);
    print_give(hold);
}

void print_panic_begin(void)
{
    uint32_t me = arch_cpu_id() + 1;
    uint64_t start = arch_ticks();

    atomic_store_explicit(&print_panic_cpu, me, memory_order_seq_cst);
    for (;;) {
        uint32_t owner = atomic_load_explicit(&print_owner, memory_order_seq_cst);

        if (owner == PRINT_NOBODY || owner == me || arch_ticks() - start > PRINT_PANIC_WAIT_TICKS)
            break;
        arch_relax();
    }
    print_capture_sink = NULL;
}

void print_capture(format_sink *sink, void *context)
{
    struct print_hold hold = print_take();

    print_end_line();
    print_capture_sink = sink;
    print_capture_context = context;
    print_give(hold);
}

void kernel_log(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintk("", format, args);
    va_end(args);
}
