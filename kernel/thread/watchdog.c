/*
 * The watchdog: a CPU that has had interrupts off for longer than watchdog= seconds is reported, with
 * its backtrace, once for each such time.
 *
 * Each CPU's tick looks at the next CPU that is not asleep: at how often that has been interrupted.  If
 * that has not changed since for so long, it gets an NMI, in which it prints where it is.  A CPU is
 * watched as long as any other is awake; one that sleeps wakes up to look (sched.c asks watchdog_next).
 *
 * Locks: none.
 */
#include "kernel/cmdline.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/print.h"
#include "kernel/stop.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"
#include "kernel/verdict.h"

#define WATCHDOG_FRAMES 24u

/* What a CPU has seen of the one that it watches. */
struct watchdog {
    unsigned cpu;        /* [P] that it watches */
    uint64_t interrupts; /* [P] of that one, when they changed last */
    uint64_t since;      /* [P] arch_ticks() of that moment; 0: it has not looked yet */
    bool is_reported;    /* [P] since then */
};

static PERCPU(struct watchdog, watchdog);
static uint64_t watchdog_after;              /* [C] arch_ticks() that are too long; 0: never */
static PERCPU(_Atomic bool, watchdog_asked); /* [A] acq_rel: an NMI shall say where it is */

/* The next CPU after this one that does not sleep; itself: none. */
static unsigned watchdog_pick(unsigned me)
{
    uint64_t asleep = atomic_load_explicit(&sched_idle_cpus, memory_order_relaxed);
    unsigned cpu = me;

    do {
        cpu = (cpu + 1) % cpus_online();
    } while (cpu != me && (asleep >> cpu & 1));
    return cpu;
}

static void watchdog_tick(void)
{
    struct watchdog *dog = this_cpu(watchdog);
    unsigned me = arch_cpu_id(), cpu = watchdog_pick(me);
    uint64_t interrupts, now = arch_ticks();

    if (watchdog_after == 0 || cpu == me)
        return;
    interrupts = cpu_interrupts_of(cpu);
    if (dog->since == 0 || cpu != dog->cpu || interrupts != dog->interrupts) {
        *dog = (struct watchdog){.cpu = cpu, .interrupts = interrupts, .since = now};
        return;
    }
    if (dog->is_reported || now - dog->since < watchdog_after)
        return;
    dog->is_reported = true;
    printk("watchdog: CPU %u has had interrupts off for %lu s\n", cpu,
           time_ticks_to_ns(watchdog_after) / 1000000000);
    verdict_add_wrong(1);
    atomic_store_explicit(cpu_var(watchdog_asked, cpu), true, memory_order_release);
    arch_nmi_send(cpu);
}
TICK_WORK(watchdog_tick);

uint64_t watchdog_next(void)
{
    return watchdog_after != 0 && watchdog_pick(arch_cpu_id()) != arch_cpu_id()
               ? arch_ticks() + watchdog_after / 2
               : UINT64_MAX;
}

/* In an NMI.  True: it was the watchdog's. */
static bool watchdog_nmi(struct trap_frame *frame)
{
    uintptr_t pcs[WATCHDOG_FRAMES];

    if (!atomic_exchange_explicit(this_cpu(watchdog_asked), false, memory_order_acq_rel))
        return false;
    printk("CPU %u, thread %s, backtrace:\n", arch_cpu_id(), thread_name(thread_self()));
    backtrace_print(pcs, arch_backtrace(frame, pcs, WATCHDOG_FRAMES));
    return true;
}

void watchdog_init(void)
{
    watchdog_after = settings.watchdog * arch_ticks_per_second();
    panic_share_nmi(watchdog_nmi);
}
