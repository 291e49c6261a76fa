/* What the collector (mm/gc/gc.h) is given of threads. */
#include "kernel/thread/gc_threads.h"
#include "kernel/preempt.h"
#include "kernel/thread/sync.h"
#include "kernel/thread/thread_impl.h"
#include "kernel/time.h"
#include "mm/gc/gc.h"

static struct wait_queue gc_queues[GC_WAITERS] = {
    [GC_WAITERS_WORK] = WAIT_QUEUE_INIT("objects to mark"),
    [GC_WAITERS_COLLECTOR] = WAIT_QUEUE_INIT("the collector"),
    [GC_WAITERS_CYCLE] = WAIT_QUEUE_INIT("a collection's end"),
    [GC_WAITERS_SWEEP] = WAIT_QUEUE_INIT("spans to sweep"),
};

static bool gc_threads_make(const char *name, void (*fn)(void *arg), void *arg, uint64_t cpus,
                            enum gc_thread_priority priority)
{
    static const enum thread_priority priorities[] = {[GC_THREAD_URGENT] = THREAD_URGENT,
                                                      [GC_THREAD_NORMAL] = THREAD_NORMAL,
                                                      [GC_THREAD_BACKGROUND] = THREAD_BACKGROUND};
    struct thread_options options = {.priority = priorities[priority], .cpus = cpus};
    struct thread *thread = thread_create(name, fn, arg, &options);

    if (thread != NULL)
        thread_detach(thread);
    return thread != NULL;
}

static void gc_threads_scan(arch_range_fn *fn, void *arg)
{
    struct thread *own;

    for (unsigned idx = 0; (own = thread_own(idx)) != NULL; idx++)
        thread_live(own, fn, arg);
    for (struct thread *thread = thread_next(NULL); thread != NULL; thread = thread_next(thread)) {
        uintptr_t of_thread = (uintptr_t)&thread->arg; /* which it may not have taken yet */

        unsigned long irq = arch_irq_save();

        fn(of_thread, of_thread + sizeof(thread->arg), arg);
        arch_irq_restore(irq);
        thread_live(thread, fn, arg);
    }
}

static void gc_threads_wait(enum gc_waiters where, bool (*is_over)(void *arg), void *arg)
{
    WAIT_UNTIL(&gc_queues[where], is_over(arg));
}

static void gc_threads_wake(enum gc_waiters where)
{
    wait_queue_wake_all(&gc_queues[where]);
}

static void gc_threads_sleep(uint64_t ns)
{
    thread_sleep_until(time_uptime_ns() + ns);
}

static bool gc_threads_can_wait(void)
{
    unsigned long irq = arch_irq_save();
    bool is_on = this_cpu(preempt)->depth == 0;

    arch_irq_restore(irq);
    return is_on;
}

void gc_threads_start(void)
{
    static const struct gc_threads threads = {
        .start = gc_threads_make,
        .scan_stacks = gc_threads_scan,
        .wait = gc_threads_wait,
        .wake = gc_threads_wake,
        .sleep = gc_threads_sleep,
        .yield = thread_yield,
        .can_wait = gc_threads_can_wait,
    };

    gc_start(&threads);
}
