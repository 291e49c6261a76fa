/*
 * Who marks, and when a cycle begins.
 *
 *     workers     so that it comes to a quarter of all CPUs (pacer.h): on some CPUs a thread of ordinary priority
 *                 that marks all of the time, or an urgent one on each, for a share of it, in bursts of
 *                 WORK_BURST_NS
 *     idle        a thread on each CPU in the background: what nobody else wants
 *     assists     who allocates faster than workers mark pays: first by what they have done that nobody has
 *                 claimed, the credit; then by marking, for gcassist= microseconds at most.  Past the goal
 *                 he waits for so long each time, as the collector must be late
 *
 * The last of those that scan, if he leaves nothing, wakes the collector, which sees whether the mark is over
 * (cycle.c).  A worker that finds nothing sleeps; who leaves something behind a slice wakes workers, and so
 * does the collector where it waits: a barrier's buffer puts spans into queues where it can wake nobody.  The
 * races are Dekker's: a sleeper counts himself and then looks at the queues; who has put looks at that count
 * behind a locked instruction.  From being counted to having told, who scans is not preempted: so nobody waits
 * for a thread that others keep from running.
 *
 * The pacer's figures are the collector thread's; what others go by is published word by word.
 *
 * Locks: none.
 */
#include "mm/gc/gc_impl.h"
#include "mm/gc/pacer.h"
#include "mm/page/page.h"

#define WORK_BURST_NS    500000u    /* of a worker that has a share of its CPU, at once */
#define WORK_SLICE_BYTES (32 * KIB) /* scanned with preemption off */
#define WORK_PATIENCE    200u       /* looks for work before a worker sleeps */
#define WORK_SWEEP_SPANS 10u        /* swept at a time */

static struct gc_pacer pacer; /* the collector's thread */

static struct {
    const struct gc_threads *threads; /* [C] once set */
    _Atomic bool is_marking;          /* [A] release / acquire */
    _Atomic uint64_t started;         /* [A] relaxed: ticks, as the mark began */
    _Atomic uint64_t assist_ratio;    /* [A] relaxed */
    _Atomic unsigned scanning;        /* [A] seq_cst: who scan */
    _Atomic unsigned asleep;  /* [A] seq_cst: workers that wait for spans, or are about to */
    _Atomic int64_t credit;   /* [A] relaxed: bytes scanned by workers, not yet claimed */
    _Atomic uint64_t scanned; /* [A] relaxed: bytes, by anyone, in this mark */
    _Atomic uint64_t worker_ticks, idle_ticks, assist_ticks; /* [A] relaxed: since start */
    _Atomic int64_t swept_pages, sweep_pages, sweep_base;    /* [A] relaxed */
    _Atomic uint64_t sweep_ratio;                            /* [A] relaxed */
    unsigned made;       /* who makes threads: those that there are, two a CPU */
    unsigned dedicated;  /* [C] CPUs */
    uint32_t fractional; /* [C] */
} work;

static bool work_is_marking(void *unused)
{
    (void)unused;
    return atomic_load_explicit(&work.is_marking, memory_order_acquire);
}

static bool work_is_over_or_there(void *unused)
{
    return !work_is_marking(unused) || !gc_queue_is_empty();
}

static void work_wake_sleepers(void)
{
    if (atomic_load_explicit(&work.asleep, memory_order_seq_cst) != 0)
        work.threads->wake(GC_WAITERS_WORK);
}

/* Scan about so many bytes, for one of the sums of ticks, and for who allocates; returns bytes. */
static size_t work_scan(size_t bytes, _Atomic uint64_t *ticks, bool is_credit)
{
    port_preempt_disable();
    atomic_fetch_add_explicit(&work.scanning, 1, memory_order_seq_cst);

    uint64_t start = port_ticks();
    size_t done = gc_mark_some(bytes);
    bool is_last = atomic_fetch_sub_explicit(&work.scanning, 1, memory_order_seq_cst) == 1;

    if (!gc_queue_is_empty())
        work_wake_sleepers();
    else if (is_last)
        work.threads->wake(GC_WAITERS_COLLECTOR);
    atomic_fetch_add_explicit(ticks, port_ticks() - start, memory_order_relaxed);
    port_preempt_enable();
    if (done != 0)
        atomic_fetch_add_explicit(&work.scanned, done, memory_order_relaxed);
    if (is_credit)
        atomic_fetch_add_explicit(&work.credit, (int64_t)done, memory_order_relaxed);
    return done;
}

/* ---- Workers ---- */

/* A slice of work; else wait until there is some, or the mark is over.  Returns ticks of marking. */
static uint64_t worker_slice(_Atomic uint64_t *sum, unsigned *misses)
{
    uint64_t start = port_ticks();

    if (work_scan(WORK_SLICE_BYTES, sum, true) != 0) {
        *misses = 0;
    } else if (++*misses < WORK_PATIENCE) {
        port_relax();
    } else {
        *misses = 0;
        atomic_fetch_add_explicit(&work.asleep, 1, memory_order_seq_cst);
        work.threads->wait(GC_WAITERS_WORK, work_is_over_or_there, NULL);
        atomic_fetch_sub_explicit(&work.asleep, 1, memory_order_seq_cst);
        return 0;
    }
    return port_ticks() - start;
}

static void worker_whole(void *ticks)
{
    unsigned misses = 0;

    for (;;) {
        work.threads->wait(GC_WAITERS_WORK, work_is_marking, NULL);
        while (work_is_marking(NULL))
            worker_slice(ticks, &misses);
    }
}

/* Its share of the time in bursts, each of which others of that CPU wait for. */
static void worker_share(void *unused)
{
    uint64_t burst = gc_ns_to_ticks(WORK_BURST_NS), used = 0;
    unsigned misses = 0;

    for (;;) {
        work.threads->wait(GC_WAITERS_WORK, work_is_marking, NULL);
        used += worker_slice(&work.worker_ticks, &misses);
        if (used >= burst) {
            work.threads->sleep(WORK_BURST_NS * (65536u - work.fractional) / work.fractional);
            used = 0;
        }
    }
    (void)unused;
}

/* ---- Assists ---- */

/* An assist, at most. */
static uint64_t assist_ticks(void)
{
    return gc_ns_to_ticks(port_setting_gcassist() * 1000ull);
}

/* Marks in small pieces, so that the time is looked at often. */
static size_t assist_scan(size_t bytes)
{
    uint64_t until = port_ticks() + assist_ticks();
    size_t done = 0;

    while (done < bytes && port_ticks() < until) {
        size_t now = work_scan(MIN(bytes - done, GC_ASSIST_PIECE), &work.assist_ticks, false);

        if (now == 0)
            break;
        done += now;
    }
    return done;
}

/* As much of the workers' credit as there is. */
static size_t credit_take(size_t bytes)
{
    int64_t credit = atomic_load_explicit(&work.credit, memory_order_relaxed);

    while (credit > 0) {
        int64_t taken = MIN(credit, (int64_t)bytes);

        if (atomic_compare_exchange_weak_explicit(&work.credit, &credit, credit - taken,
                                                  memory_order_relaxed, memory_order_relaxed))
            return (size_t)taken;
    }
    return 0;
}

static void debt_pay(uint64_t ratio, size_t bytes)
{
    unsigned long irq = port_irq_save();

    gc_debt_pay(&port_this_cpu(gc_cpu)->debt, ratio, bytes);
    port_irq_restore(irq);
}

static void pay_by_marking(size_t bytes)
{
    uint64_t ratio = atomic_load_explicit(&work.assist_ratio, memory_order_relaxed);
    unsigned long irq = port_irq_save();
    struct gc_cpu *cpu = port_this_cpu(gc_cpu);

    gc_debt_charge(&cpu->debt, bytes);

    size_t owed = gc_debt_work(&cpu->debt, ratio);

    port_irq_restore(irq);
    if (owed == 0)
        return;

    size_t paid = credit_take(owed);

    if (paid < owed && port_can_wait())
        paid += assist_scan(owed - paid);
    debt_pay(ratio, paid);
}

/* As much as is due by now, and a little more. */
static void pay_by_sweeping(void)
{
    int64_t live = atomic_load_explicit(&gc_heap.live_bytes, memory_order_relaxed);
    int64_t base = atomic_load_explicit(&work.sweep_base, memory_order_relaxed);
    int64_t swept = atomic_load_explicit(&work.swept_pages, memory_order_relaxed);

    if (live <= base || swept >= atomic_load_explicit(&work.sweep_pages, memory_order_relaxed))
        return;

    uint64_t ratio = atomic_load_explicit(&work.sweep_ratio, memory_order_relaxed);

    if ((int64_t)((unsigned __int128)(uint64_t)(live - base) * ratio >> 32) > swept)
        gc_sweep_some(WORK_SWEEP_SPANS);
}

static bool is_past_goal(void)
{
    return atomic_load_explicit(&gc_heap.live_bytes, memory_order_relaxed) >
           atomic_load_explicit(&gc_heap.goal_bytes, memory_order_relaxed);
}

/* The collector is late: for as long as an assist may take, others have the CPU. */
static void pay_by_waiting(void)
{
    uint64_t until = port_ticks() + assist_ticks();

    while (is_past_goal() && port_ticks() < until) {
        work.threads->yield();
        port_relax();
    }
}

void gc_pay(size_t bytes)
{
    if (UNLIKELY(!gc_is_running()))
        return;
    if (atomic_load_explicit(&work.is_marking, memory_order_relaxed)) {
        pay_by_marking(bytes);
    } else {
        if (atomic_load_explicit(&gc_heap.live_bytes, memory_order_relaxed) >=
            atomic_load_explicit(&gc_heap.trigger_bytes, memory_order_relaxed))
            gc_want();
        pay_by_sweeping();
    }
    if (UNLIKELY(is_past_goal()) && port_can_wait() && work.threads->can_wait())
        pay_by_waiting();
}

void gc_swept(size_t pages)
{
    atomic_fetch_add_explicit(&work.swept_pages, (int64_t)pages, memory_order_relaxed);
}

/* ---- The collector's thread ---- */

static void pace_publish(void)
{
    atomic_store_explicit(&gc_heap.trigger_bytes,
                          (int64_t)MIN(pacer.trigger_bytes, (uint64_t)INT64_MAX),
                          memory_order_relaxed);
    atomic_store_explicit(&gc_heap.goal_bytes, (int64_t)MIN(pacer.goal_bytes, (uint64_t)INT64_MAX),
                          memory_order_relaxed);
}

static uint64_t heap_bytes(void)
{
    return (uint64_t)MAX(atomic_load_explicit(&gc_heap.live_bytes, memory_order_relaxed), 0);
}

/* Memory in use that is not the collected heap's. */
static uint64_t other_bytes(void)
{
    struct page_stats pages = page_stats();
    int64_t bytes = (int64_t)((pages.ram_pages - pages.free_pages) * PAGE_BYTES) -
                    atomic_load_explicit(&gc_heap.span_bytes, memory_order_relaxed);

    return (uint64_t)MAX(bytes, 0);
}

void gc_work_begin(bool is_concurrent)
{
    struct gc_pacer_start start = {.live_bytes = heap_bytes(), .scannable_bytes = heap_bytes()};

    atomic_store_explicit(&work.assist_ratio, gc_pacer_start_mark(&pacer, &start),
                          memory_order_relaxed);
    atomic_store_explicit(&work.credit, 0, memory_order_relaxed);
    atomic_store_explicit(&work.scanned, 0, memory_order_relaxed);
    atomic_store_explicit(&work.started, port_ticks(), memory_order_relaxed);
    /* All has been swept: what is from here on, others do as soon as kinds flip. */
    atomic_store_explicit(&work.sweep_pages, 0, memory_order_relaxed);
    atomic_store_explicit(&work.swept_pages, 0, memory_order_relaxed);
    if (is_concurrent) {
        atomic_store_explicit(&work.is_marking, true, memory_order_release);
        work.threads->wake(GC_WAITERS_WORK);
    }
}

static bool work_has_ended(void *unused)
{
    (void)unused;
    if (gc_queue_is_empty())
        return atomic_load_explicit(&work.scanning, memory_order_seq_cst) == 0;
    work_wake_sleepers();
    return false;
}

void gc_work_wait(void)
{
    uint64_t scanned = atomic_load_explicit(&work.scanned, memory_order_relaxed);

    work.threads->wait(GC_WAITERS_COLLECTOR, work_has_ended, NULL);
    atomic_store_explicit(&work.assist_ratio, gc_pacer_revise(&pacer, heap_bytes(), scanned),
                          memory_order_relaxed);
}

void gc_work_end(struct gc_pacer_mark *mark)
{
    atomic_store_explicit(&work.is_marking, false, memory_order_release);
    work.threads->wake(GC_WAITERS_WORK);
    mark->heap_work_bytes = atomic_load_explicit(&work.scanned, memory_order_relaxed);
    mark->wall_ns =
        gc_ticks_to_ns(port_ticks() - atomic_load_explicit(&work.started, memory_order_relaxed));
}

void gc_work_flipped(const struct gc_pacer_mark *mark, size_t pages)
{
    gc_pacer_set_other(&pacer, other_bytes());
    gc_pacer_end_mark(&pacer, mark);
    gc_pacer_sweep_start(&pacer, heap_bytes(), pages);
    atomic_store_explicit(&work.sweep_pages, (int64_t)pacer.sweep_pages, memory_order_relaxed);
    atomic_store_explicit(&work.sweep_base, (int64_t)pacer.sweep_base_bytes, memory_order_relaxed);
    atomic_store_explicit(&work.sweep_ratio, pacer.sweep_ratio, memory_order_relaxed);
    pace_publish();
}

const struct gc_pacer *gc_pacer_now(void)
{
    return &pacer;
}

struct gc_work_ns gc_work_ns(void)
{
    return (struct gc_work_ns){
        .worker = gc_ticks_to_ns(atomic_load_explicit(&work.worker_ticks, memory_order_relaxed)),
        .idle = gc_ticks_to_ns(atomic_load_explicit(&work.idle_ticks, memory_order_relaxed)),
        .assist = gc_ticks_to_ns(atomic_load_explicit(&work.assist_ticks, memory_order_relaxed)),
    };
}

void gc_work_init(const struct gc_threads *threads)
{
    unsigned cpus = port_cpu_count();
    struct gc_pacer_settings wanted = {
        .cpus = cpus,
        .gogc = port_setting_gogc() != 0 ? port_setting_gogc() : GC_PACER_OFF,
        .min_heap_bytes = port_setting_gcminheap(),
        .limit_bytes = port_setting_memlimit() != 0 ? port_setting_memlimit() : GC_PACER_NONE,
    };

    gc_pacer_init(&pacer, &wanted);
    work.dedicated = pacer.workers.dedicated;
    work.fractional = pacer.workers.fractional;
    work.threads = threads;
    pace_publish();
}

/* The worker of a CPU, if it has one. */
static bool worker_make(uintptr_t cpu)
{
    if (cpu < work.dedicated)
        return work.threads->start("gc worker", worker_whole, &work.worker_ticks, 1ull << cpu,
                                   GC_THREAD_NORMAL);
    return work.fractional == 0 ||
           work.threads->start("gc worker", worker_share, NULL, 1ull << cpu, GC_THREAD_URGENT);
}

bool gc_work_make_threads(void)
{
    for (; work.made < 2 * port_cpu_count(); work.made++) {
        uintptr_t cpu = work.made / 2;

        if (!(work.made % 2 == 0
                  ? worker_make(cpu)
                  : work.threads->start("gc idle worker", worker_whole, &work.idle_ticks,
                                        1ull << cpu, GC_THREAD_BACKGROUND)))
            return false;
    }
    return true;
}
