/*
 * A cycle of the collector: on the fly, so that at no time all CPUs stand still.
 *
 *     sweep what the last cycle has left       no object is marked, no span unswept
 *  1  the barrier on          handshake        every CPU's stores shade what they take away and put
 *  2  new objects black       handshake        every CPU has marked the slots in its magazines
 *  3  roots, then stacks, each thread's once
 *  4  mark, until a round of handshakes finds nothing new
 *  5  the barrier off         handshake        buffers are empty for good, all spans on lists (heap.c)
 *  6  all spans are unswept                    new objects are white
 *
 * A handshake is a call to each CPU, one after another.  The CPU answers in an interrupt, which it takes
 * with interrupts on, so in no sequence, with no lock held and in the middle of no refill; what it has
 * stored before can be seen by who has waited for the answer, and what was stored before the call is seen
 * by it from there on.  So behind handshake 1 no CPU stores without the barrier, and behind 2 none allocates
 * white.
 *
 * Why two.  With the barrier and black objects at once, a CPU that has both could make object b, black and
 * never scanned; another that has neither stores its new, white w into b without shading it, and forgets w:
 * b alone has it, and nobody looks into b.  Why stacks only behind 1: a thread that has been scanned could be
 * handed, through an object that is not shaded, a pointer whose only other copy a thread without the barrier
 * takes away.
 *
 * Why each stack once.  Behind 1, take an object that some thread can reach when its CPU has answered 2.  It is
 * marked in the end unless every path to it from what is grey is cut.  To cut one in the heap is a store, which
 * shades the object cut off.  To have it in a register or on a stack, a thread has read it from the heap, where
 * it had such a path; or allocated it, black; or has had it all the time, and it is found when that thread is
 * scanned.  A thread that is not scanned yet can hide what it has in an object that is scanned; that store
 * shades it, by its new value.
 *
 * When is it over?  Let no span be queued and nobody be marking, and then every CPU empty its buffer, and
 * still no span be queued, nobody be marking, and no span have been queued meanwhile, looked at in this order:
 * then there is no grey object.  Had there been one when the round began, it was in a CPU's buffer, which found
 * it not marked and queued its span; or found it marked, by one who emptied a full buffer behind his answer: he
 * is counted as marking from before the bit is set, and by the time that he is not, the span is queued.
 *
 * Stop-the-world (gcstoptheworld=1, and 2 for sweeping too) is the same without handshakes: the reference that
 * tests compare with.
 *
 * Source: Doligez, Leroy, Gonthier, 1993; Gammie, Hosking, Engelhardt, "Relaxing safely", 2015; Go's hybrid
 * barrier.  tests/model has the protocol in Promela.
 */
#include "mm/gc/gc_impl.h"
#include "mm/gc/pacer.h"

#define CYCLE_BURST_NS    200000u                /* of sweeping at once, before a mark */
#define CYCLE_SWEEP_SPANS 10u                    /* swept at a time by the background */
#define CYCLE_PERIOD_NS   (120ull * 1000000000u) /* there is a cycle at least so often */
#define CYCLE_LOOK_NS     (10ull * 1000000000u)  /* between two looks at that */

enum { GC_THREADS_NONE, GC_THREADS_MAKING, GC_THREADS_MADE };

static struct {
    const struct gc_threads *threads; /* [C] once set; NULL: there are no cycles yet */
    _Atomic unsigned threads_state;   /* [A] release / acquire; their maker has the next three */
    bool has_thread, has_background, has_watch;
    _Atomic uint64_t wanted;        /* [A] cycles that shall have begun; release / acquire */
    _Atomic uint64_t begun, done;   /* [A] release / acquire */
    _Atomic uint64_t last;          /* [A] relaxed: ticks, when the last one ended */
    _Atomic bool is_without_stacks; /* [A] relaxed: gc_collect_idle */
    _Atomic uint64_t world_stops;   /* [A] relaxed */
    _Atomic int64_t marked_bytes;   /* [A] relaxed: by the last one */
    void (*during)(void *arg);      /* set while no cycle is on: gc_collect_during */
    void *during_arg;
    uint64_t begin;      /* [C] ticks, of gc_start */
    struct gc_cycle now; /* the collector's thread: the one that is on */
} cycle;

/* ---- On the fly ---- */

static void answer_only(void)
{
}

static void answer_black(void)
{
    port_this_cpu(gc_cpu)->debt = (struct gc_debt){0};
    gc_mark_prepared();
}

static void answer_end(void)
{
    gc_barrier_discard();
    gc_spans_disown();
}

static void cycle_mark_stack(uintptr_t start, uintptr_t end, void *bytes)
{
    uint64_t before = port_ticks();

    gc_mark_words(start, end);
    atomic_fetch_add_explicit((_Atomic uint64_t *)bytes, end - start, memory_order_relaxed);
    gc_hold_note(port_ticks() - before);
}

/* Once, though two cycles may end before gc_collect_during does. */
static void cycle_call_during(void)
{
    void (*during)(void *arg) = cycle.during;

    cycle.during = NULL;
    during(cycle.during_arg);
}

/* Others mark, until there is nothing grey. */
static void cycle_mark(void)
{
    for (;;) {
        gc_work_wait();

        uint64_t puts = gc_queue_puts();

        if (!gc_mark_is_idle())
            continue;
        gc_handshake(gc_barrier_flush);
        cycle.now.rounds++;
        if (gc_mark_is_idle() && gc_queue_puts() == puts)
            return;
    }
}

static void cycle_concurrent(struct gc_pacer_mark *mark)
{
    _Atomic uint64_t stack_bytes = 0;

    span_hold_descriptors(true);
    atomic_store_explicit(&gc_barrier_is_on, true, memory_order_release);
    gc_handshake(answer_only);
    gc_kinds_blacken();
    gc_handshake(answer_black);
    cycle.now.marking = port_ticks();
    gc_work_begin(true);
    mark->global_work_bytes = gc_mark_roots();
    if (!atomic_load_explicit(&cycle.is_without_stacks, memory_order_relaxed))
        cycle.threads->scan_stacks(cycle_mark_stack, (void *)&stack_bytes);
    if (UNLIKELY(cycle.during != NULL))
        cycle_call_during();
    cycle_mark();
    if (UNLIKELY(port_setting_gccheckmark()))
        port_stop_others(gc_check_marked, NULL);
    gc_work_end(mark);
    cycle.now.marked = port_ticks();
    mark->stack_work_bytes = stack_bytes;
    atomic_store_explicit(&gc_barrier_is_on, false, memory_order_release);
    gc_owning_hold(answer_end);
    span_hold_descriptors(false);
    cycle.now.unswept_pages = gc_kinds_flip();
    gc_owning_release();
}

/* ---- The reference ---- */

static void stopped_range(uintptr_t start, uintptr_t end, void *unused)
{
    (void)unused;
    gc_mark_words(start, end);
}

static void stopped_mark(void *unused)
{
    (void)unused;
    gc_kinds_blacken();
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        gc_mark_prepared_of(port_cpu(gc_cpu, cpu));
    gc_mark_roots();
    if (!atomic_load_explicit(&cycle.is_without_stacks, memory_order_relaxed))
        port_each_stack(stopped_range, NULL);
    while (gc_mark_some(SIZE_MAX) != 0)
        continue;
    if (port_setting_gccheckmark())
        gc_check_marked(NULL);
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
        gc_spans_disown_of(port_cpu(gc_cpu, cpu));
    cycle.now.unswept_pages = gc_kinds_flip();
    if (port_setting_gcstoptheworld() == 2)
        gc_sweep_all();
}

static void cycle_stopped(struct gc_pacer_mark *mark)
{
    gc_work_begin(false);
    cycle.now.marking = port_ticks();
    atomic_fetch_add_explicit(&cycle.world_stops, 1, memory_order_relaxed);
    port_stop_others(stopped_mark, NULL);
    cycle.now.marked = port_ticks();
    gc_work_end(mark);
}

/* ---- Cycles ---- */

static int64_t cycle_heap_bytes(void)
{
    return atomic_load_explicit(&gc_heap.live_bytes, memory_order_relaxed);
}

/* What allocation and the background have left, in bursts: this thread is urgent. */
static void cycle_sweep_rest(void)
{
    uint64_t burst = gc_ns_to_ticks(CYCLE_BURST_NS), start = port_ticks();

    while (gc_sweep_some(CYCLE_SWEEP_SPANS)) {
        if (port_ticks() - start < burst)
            continue;
        cycle.threads->sleep(CYCLE_BURST_NS);
        start = port_ticks();
    }
}

static void cycle_run(void)
{
    struct gc_pacer_mark mark = {0};

    cycle_sweep_rest();
    cycle.now = (struct gc_cycle){
        .number = atomic_fetch_add_explicit(&cycle.begun, 1, memory_order_release) + 1,
        .begin = cycle.begin,
        .start = port_ticks(),
        .start_bytes = cycle_heap_bytes(),
        .work = gc_work_ns(),
        .is_forced = cycle_heap_bytes() < gc_heap.trigger_bytes,
    };
    gc_mark_begin();
    gc_hold_begin();
    if (port_setting_gcstoptheworld() != 0)
        cycle_stopped(&mark);
    else
        cycle_concurrent(&mark);

    /* What was made meanwhile is black, and not among what was counted as it was marked. */
    struct gc_work_ns before = cycle.now.work, after = gc_work_ns();
    int64_t end_bytes = cycle_heap_bytes(), made = end_bytes - cycle.now.start_bytes;
    int64_t marked = (int64_t)gc_mark_bytes() + MAX(made, 0);

    mark.marked_bytes = (uint64_t)marked;
    mark.live_bytes = (uint64_t)end_bytes;
    mark.worker_ns = after.worker - before.worker;
    mark.assist_ns = after.assist - before.assist;
    mark.idle_ns = after.idle - before.idle;
    mark.is_forced = cycle.now.is_forced;
    cycle.now.end_bytes = end_bytes;
    atomic_store_explicit(&cycle.marked_bytes, marked, memory_order_relaxed);
    atomic_fetch_add_explicit(&gc_heap.live_bytes, marked - end_bytes, memory_order_relaxed);
    gc_work_flipped(&mark, cycle.now.unswept_pages);
    cycle.now.end = port_ticks();
    atomic_store_explicit(&cycle.last, cycle.now.end, memory_order_relaxed);
    gc_trace(&cycle.now);
    if (UNLIKELY(port_setting_gccheckmark()))
        gc_check();
    atomic_fetch_add_explicit(&cycle.done, 1, memory_order_release);
    cycle.threads->wake(GC_WAITERS_CYCLE);
    cycle.threads->wake(GC_WAITERS_SWEEP);
}

static bool cycle_is_wanted(void *unused)
{
    (void)unused;
    return atomic_load_explicit(&cycle.wanted, memory_order_acquire) >
           atomic_load_explicit(&cycle.begun, memory_order_relaxed);
}

static void cycle_thread(void *unused)
{
    for (;;) {
        cycle.threads->wait(GC_WAITERS_COLLECTOR, cycle_is_wanted, NULL);
        cycle_run();
    }
    (void)unused;
}

/* There may be spans to sweep: a cycle has ended that is not the last one that was swept after. */
static bool cycle_is_unswept(void *swept)
{
    return atomic_load_explicit(&cycle.done, memory_order_acquire) != *(const uint64_t *)swept;
}

/* Sweeps when nobody wants the CPU. */
static void cycle_background(void *unused)
{
    uint64_t swept = 0;

    for (;;) {
        cycle.threads->wait(GC_WAITERS_SWEEP, cycle_is_unswept, &swept);
        swept = atomic_load_explicit(&cycle.done, memory_order_acquire);
        while (!atomic_load_explicit(&gc_barrier_is_on, memory_order_relaxed) &&
               gc_sweep_some(CYCLE_SWEEP_SPANS))
            cycle.threads->yield();
    }
    (void)unused;
}

/* Sees to it that there is a cycle now and then. */
static void cycle_watch(void *unused)
{
    for (;;) {
        cycle.threads->sleep(CYCLE_LOOK_NS);
        if (atomic_load_explicit(&cycle.threads_state, memory_order_acquire) == GC_THREADS_MADE &&
            gc_ticks_to_ns(port_ticks() -
                           atomic_load_explicit(&cycle.last, memory_order_relaxed)) >=
                CYCLE_PERIOD_NS)
            gc_want();
    }
    (void)unused;
}

/* One more cycle shall begin after the `begun`th. */
static void cycle_want(uint64_t begun)
{
    uint64_t wanted = atomic_load_explicit(&cycle.wanted, memory_order_relaxed);

    while (wanted <= begun) {
        if (atomic_compare_exchange_weak_explicit(&cycle.wanted, &wanted, begun + 1,
                                                  memory_order_release, memory_order_relaxed)) {
            cycle.threads->wake(GC_WAITERS_COLLECTOR);
            return;
        }
    }
}

void gc_want(void)
{
    cycle_want(atomic_load_explicit(&cycle.done, memory_order_acquire));
}

static bool cycle_is_done(void *number)
{
    return atomic_load_explicit(&cycle.done, memory_order_acquire) >= *(const uint64_t *)number;
}

void gc_collect(void)
{
    uint64_t number = atomic_load_explicit(&cycle.begun, memory_order_acquire) + 1;

    if (!gc_is_running())
        return;
    cycle_want(number - 1);
    cycle.threads->wait(GC_WAITERS_CYCLE, cycle_is_done, &number);
    gc_sweep_all();
}

void gc_collect_idle(void)
{
    atomic_store_explicit(&cycle.is_without_stacks, true, memory_order_relaxed);
    gc_collect();
    atomic_store_explicit(&cycle.is_without_stacks, false, memory_order_relaxed);
}

void gc_collect_during(void (*fn)(void *arg), void *arg)
{
    cycle.during_arg = arg;
    cycle.during = fn;
    gc_collect();
    cycle.during = NULL;
}

/* ---- What allocation wants of it ---- */

bool gc_make_room(unsigned tries, size_t bytes)
{
    size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;

    if (!gc_is_running() || !port_can_wait() || !cycle.threads->can_wait() || tries == 2)
        return false;
    gc_collect();
    page_free(page_alloc(pages, 0), pages); /* what others keep: this context may wait for it */
    return true;
}

void gc_free_object(struct span *span, void *object)
{
    unsigned long irq = port_irq_save(); /* this CPU answers no handshake before the end */

    if (!gc_may_mark()) {
        if (span->owner == NULL)
            gc_large_give(span, object);
        else
            gc_kind_give(gc_kind_of(span), object);
    }
    port_irq_restore(irq);
}

void gc_start(const struct gc_threads *threads)
{
    cycle.begin = port_ticks();
    cycle.last = cycle.begin;
    gc_work_init(threads);
    cycle.threads = threads;
}

/* The threads that are missing; what has been made stays, and is not made again. */
static bool cycle_make_threads(void)
{
    const struct gc_threads *threads = cycle.threads;

    if (!cycle.has_thread)
        cycle.has_thread = threads->start("gc", cycle_thread, NULL, 0, GC_THREAD_URGENT);
    if (!cycle.has_background)
        cycle.has_background =
            threads->start("gc background", cycle_background, NULL, 0, GC_THREAD_BACKGROUND);
    if (!cycle.has_watch)
        cycle.has_watch = threads->start("gc watch", cycle_watch, NULL, 0, GC_THREAD_BACKGROUND);
    return cycle.has_thread && cycle.has_background && cycle.has_watch && gc_work_make_threads();
}

bool gc_is_running(void)
{
    unsigned state = GC_THREADS_NONE;

    if (LIKELY(atomic_load_explicit(&cycle.threads_state, memory_order_acquire) == GC_THREADS_MADE))
        return true;
    if (cycle.threads == NULL || !port_can_wait() || !cycle.threads->can_wait() ||
        !atomic_compare_exchange_strong_explicit(&cycle.threads_state, &state, GC_THREADS_MAKING,
                                                 memory_order_acquire, memory_order_acquire))
        return state == GC_THREADS_MADE;

    bool are_made = cycle_make_threads();

    atomic_store_explicit(&cycle.threads_state, are_made ? GC_THREADS_MADE : GC_THREADS_NONE,
                          memory_order_release);
    return are_made;
}

struct gc_stats gc_stats(void)
{
    struct gc_work_ns ns = gc_work_ns();
    struct gc_stats stats = {
        .cycles = atomic_load_explicit(&cycle.done, memory_order_relaxed),
        .live_bytes = (size_t)atomic_load_explicit(&cycle.marked_bytes, memory_order_relaxed),
        .heap_bytes = (size_t)MAX(cycle_heap_bytes(), 0), /* slots given back were counted once */
        .goal_bytes = (size_t)atomic_load_explicit(&gc_heap.goal_bytes, memory_order_relaxed),
        .span_bytes = (size_t)atomic_load_explicit(&gc_heap.span_bytes, memory_order_relaxed),
        .hold_max_ns = gc_hold_max_ns(),
        .hold_p99_ns = gc_hold_p99_ns(),
        .world_stops = atomic_load_explicit(&cycle.world_stops, memory_order_relaxed),
        .assist_ns = ns.assist,
        .mark_ns = ns.worker + ns.idle + ns.assist,
    };

    gc_count_objects(&stats.allocs, &stats.frees);
    return stats;
}
