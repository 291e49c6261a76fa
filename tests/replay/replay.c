/*
 * The replay: runs a trace's records on several CPUs at once and finds what an allocator got wrong.
 *
 * Idea.  Record r runs on CPU trace_cpu(r) modulo the CPUs there are, and each CPU does its
 * records in the trace's order.  Between CPUs only one order matters: that of the records of one
 * id, alloc, free, alloc, free ...  So each id counts the records done on it, its turn; the plan
 * says for each record which turn it needs, and a CPU that comes too early waits:
 *
 *     CPU 0   alloc 7 (turn 0)   alloc 8 (0)                 alloc 7 (2) . . . waits
 *     CPU 1                      free 8 (1) . waits . done   free 7 (1)
 *
 * A turn is passed on with release and taken with acquire, so that id's address and the object's
 * contents travel with it.  Who waits long marks the turn and sleeps; who passes it on wakes it.
 *
 * No deadlock: the records not yet done have a first one in the trace's order.  All before it are
 * done, so its CPU has come to it and its id's turn is its own: it can run.  Nothing else is
 * waited for, no lock is held, interrupts are on.  The argument needs no particular CPU per record,
 * so it holds for any number of CPUs; it holds for a limit too, which only ends the order earlier.
 *
 * What is found.  An object is filled with a pattern of its own (pattern.h) at its alloc and
 * compared at its free, all bytes asked for.  An alloc that gives NULL is "refused", not wrong; its
 * free does nothing.
 *
 * What is counted.  Live and heap bytes are shared counters, sampled at every alloc: this is a part
 * of the replay's own cost, which a dry pass (REPLAY_DRY) measures: everything but the allocator.
 * Time spent waiting for others or printing is kept apart.
 *
 * Memory: the plan comes from page_alloc before the pass, none during it.
 */
#include "tests/replay/replay.h"

#include "kernel/base/check.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/print.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "tests/replay/pattern.h"

#define REPLAY_BATCH 256u /* records that a CPU does before it adds them to `done` */
#define REPLAY_SPINS 200u /* looks at a turn before the CPU sleeps: QEMU's may share a core */

/* ---- One record ---- */

static void atomic_max(_Atomic size_t *peak, size_t value)
{
    size_t seen = atomic_load_explicit(peak, memory_order_relaxed);

    while (value > seen && !atomic_compare_exchange_weak_explicit(
                               peak, &seen, value, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void replay_count_alloc(struct replay *replay, size_t bytes, size_t page_bytes)
{
    size_t live = atomic_fetch_add_explicit(&replay->live_bytes, bytes, memory_order_relaxed);
    size_t pages = atomic_fetch_add_explicit(&replay->page_bytes, page_bytes, memory_order_relaxed);
    size_t spans = span_bytes_now() - replay->span_bytes_base;

    atomic_max(&replay->peak_live_bytes, live + bytes);
    atomic_max(&replay->peak_heap_bytes, spans + pages + page_bytes);
}

static void replay_count_free(struct replay *replay, size_t bytes, size_t page_bytes)
{
    atomic_fetch_sub_explicit(&replay->live_bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&replay->page_bytes, page_bytes, memory_order_relaxed);
}

static void *replay_take(const struct replay *replay, const struct replay_worker *worker,
                         const struct trace_record *record)
{
    if (replay->flags & REPLAY_DRY)
        return trace_bytes(record) <= replay->dry_area_bytes ? worker->dry_area : NULL;
    if (trace_is_page(record))
        return page_alloc((size_t)1 << record->size, 0);
    return kmalloc(record->size);
}

/* Every other object is freed with its size, which the allocator then checks. */
static void replay_give(const struct replay *replay, void *addr, const struct trace_record *record)
{
    if (replay->flags & REPLAY_DRY)
        return;
    if (trace_is_page(record))
        page_free(addr, (size_t)1 << record->size);
    else if (record->id % 2 == 0)
        kfree(addr);
    else
        kfree_sized(addr, record->size);
}

static COLD void replay_report_damage(struct replay *replay, const struct replay_id *id,
                                      const struct trace_record *record, uint64_t seed)
{
    struct pattern_damage damage;
    uint32_t before = atomic_fetch_add_explicit(&replay->damaged, 1, memory_order_relaxed);

    if (before >= REPLAY_REPORT_MAX)
        return;
    if (!pattern_find_damage(id->addr, trace_bytes(record), seed, &damage))
        damage = (struct pattern_damage){0}; /* it changed back under our eyes */
    printk("replay: CORRUPTION: record %u, id %u, %lu bytes at %p: at offset %zu expected "
           "0x%016lx, found 0x%016lx\n",
           id->record, record->id, trace_bytes(record), id->addr, damage.offset, damage.expected,
           damage.found);
}

static void replay_alloc(struct replay *replay, struct replay_worker *worker, struct replay_id *id,
                         const struct replay_step *step, const struct trace_record *record)
{
    size_t bytes = trace_bytes(record);

    id->record = step->record;
    id->addr = replay_take(replay, worker, record);
    if (id->addr == NULL) {
        worker->refused++;
        return;
    }
    replay_count_alloc(replay, bytes, trace_is_page(record) ? bytes : 0);
    if (replay->flags & REPLAY_FILL)
        pattern_fill(id->addr, bytes, pattern_seed(record->id, step->turn));
    if (replay->after_fill != NULL)
        replay->after_fill(id->addr, bytes, step->record);
}

/* alloc_turn: the turn at which the object was filled. */
static void replay_free(struct replay *replay, const struct replay_worker *worker,
                        struct replay_id *id, uint32_t alloc_turn,
                        const struct trace_record *record)
{
    size_t bytes = trace_bytes(record);
    uint64_t seed = pattern_seed(record->id, alloc_turn);
    bool is_dry = replay->flags & REPLAY_DRY; /* then all of a CPU's objects share one area */

    if (id->addr == NULL)
        return;
    if ((replay->flags & REPLAY_FILL) &&
        !pattern_is_whole(is_dry ? worker->dry_area : id->addr, bytes, seed) && !is_dry)
        replay_report_damage(replay, id, record, seed);
    replay_count_free(replay, bytes, trace_is_page(record) ? bytes : 0);
    replay_give(replay, id->addr, record);
    id->addr = NULL;
}

/*
 * Sleep until the turn may have come.  The mark goes into the turn by compare-and-swap, so whoever
 * passes this turn on sees it; its IPI is held back until arch_idle enables interrupts.
 */
static void replay_sleep(struct replay *replay, struct replay_id *id, uint32_t turn)
{
    uint64_t bit = 1ull << arch_cpu_id();
    uint32_t seen;

    arch_irq_disable();
    atomic_fetch_or_explicit(&replay->sleepers, bit, memory_order_relaxed);
    seen = atomic_fetch_or_explicit(&id->turn, REPLAY_AWAITED, memory_order_acq_rel);
    if ((seen & ~REPLAY_AWAITED) != turn)
        arch_idle();
    arch_irq_enable();
    atomic_fetch_and_explicit(&replay->sleepers, ~bit, memory_order_relaxed);
}

static NOINLINE void replay_wait(struct replay *replay, struct replay_worker *worker,
                                 struct replay_id *id, uint32_t turn)
{
    uint64_t start = arch_ticks();
    unsigned spins = 0;

    while ((atomic_load_explicit(&id->turn, memory_order_acquire) & ~REPLAY_AWAITED) != turn) {
        if (spins++ < REPLAY_SPINS)
            arch_relax();
        else
            replay_sleep(replay, id, turn);
    }
    worker->wait_ticks += arch_ticks() - start;
}

static NOINLINE void replay_wake(struct replay *replay)
{
    uint64_t sleepers = atomic_load_explicit(&replay->sleepers, memory_order_relaxed);

    for (; sleepers != 0; sleepers &= sleepers - 1)
        arch_ipi_send((unsigned)__builtin_ctzll(sleepers));
}

static void replay_do_step(struct replay *replay, struct replay_worker *worker,
                           const struct replay_step *step)
{
    struct trace_record record = trace_record(replay->trace, step->record);
    struct replay_id *id = &replay->ids[record.id];

    if (atomic_load_explicit(&id->turn, memory_order_acquire) != step->turn)
        replay_wait(replay, worker, id, step->turn);
    if (trace_is_alloc(&record))
        replay_alloc(replay, worker, id, step, &record);
    else
        replay_free(replay, worker, id, step->turn - 1, &record);
    if (atomic_exchange_explicit(&id->turn, step->turn + 1, memory_order_acq_rel) & REPLAY_AWAITED)
        replay_wake(replay);
}

/* ---- One CPU ---- */

static void replay_progress(struct replay *replay, struct replay_worker *worker, uint32_t records)
{
    uint64_t before = atomic_fetch_add_explicit(&replay->done, records, memory_order_relaxed);
    uint64_t total = MAX(replay->trace->record_count, 1u);
    unsigned tenth = (unsigned)((before + records) * 10 / total);

    if ((replay->flags & REPLAY_PROGRESS) && tenth != before * 10 / total) {
        uint64_t start = arch_ticks();
        size_t live = atomic_load_explicit(&replay->live_bytes, memory_order_relaxed);

        printk("replay: %s: %3u %%, %zu KiB live\n", replay->name, tenth * 10, live / KIB);
        worker->print_ticks += arch_ticks() - start;
    }
}

static void replay_worker_run(void *arg)
{
    struct replay *replay = arg;
    struct replay_worker *worker = &replay->workers[arch_cpu_id()];
    uint64_t apart = worker->wait_ticks + worker->print_ticks;
    uint64_t start = arch_ticks();
    uint32_t batch = 0;

    while (worker->next < worker->step_count &&
           worker->steps[worker->next].record < replay->limit) {
        replay_do_step(replay, worker, &worker->steps[worker->next++]);
        if (++batch == REPLAY_BATCH) {
            replay_progress(replay, worker, batch);
            batch = 0;
        }
    }
    replay_progress(replay, worker, batch);
    apart = worker->wait_ticks + worker->print_ticks - apart;
    worker->busy_ticks += arch_ticks() - start - apart;
}

void replay_run(struct replay *replay, uint32_t limit)
{
    replay->limit = limit;
    cpu_run_all(replay->cpu_count, replay_worker_run, replay);
}

void replay_release(struct replay *replay)
{
    for (uint32_t i = 0; i < replay->trace->id_count; i++) {
        struct replay_id *id = &replay->ids[i];
        uint32_t turn = atomic_load_explicit(&id->turn, memory_order_acquire);

        if (turn % 2 == 0) /* allocs and frees alternate: the last was a free */
            continue;
        struct trace_record record = trace_record(replay->trace, id->record);
        replay_free(replay, &replay->workers[0], id, turn - 1, &record);
    }
}

/* ---- The plan ---- */

static unsigned replay_cpu_of(const struct replay *replay, uint32_t record)
{
    return trace_record(replay->trace, record).cpu % replay->cpu_count;
}

/* Each CPU's steps lie behind one another in `steps`; ids' turns count the records passed. */
static void replay_plan_steps(struct replay *replay, struct replay_step *steps)
{
    uint32_t records = replay->trace->record_count;

    for (uint32_t i = 0; i < records; i++)
        replay->workers[replay_cpu_of(replay, i)].step_count++;
    for (unsigned cpu = 0; cpu < replay->cpu_count; cpu++) {
        replay->workers[cpu].steps = steps;
        steps += replay->workers[cpu].step_count;
    }
    for (uint32_t i = 0; i < records; i++) {
        struct replay_worker *worker = &replay->workers[replay_cpu_of(replay, i)];
        struct replay_id *id = &replay->ids[trace_record(replay->trace, i).id];
        struct replay_step *step = &worker->steps[worker->next++];

        step->record = i;
        step->turn = atomic_fetch_add_explicit(&id->turn, 1, memory_order_relaxed);
    }
}

bool replay_init(struct replay *replay, const struct trace *trace, const char *name, unsigned cpus)
{
    size_t id_bytes = (size_t)trace->id_count * sizeof(struct replay_id);
    size_t bytes = id_bytes + (size_t)trace->record_count * sizeof(struct replay_step);

    CHECK(cpus >= 1 && cpus <= cpus_online());
    if (trace->record_count >= REPLAY_AWAITED) {
        printk("replay: %s: %u records are more than a turn can count\n", name,
               trace->record_count);
        return false;
    }
    memset(replay, 0, sizeof(*replay));
    replay->trace = trace;
    replay->name = name;
    replay->cpu_count = cpus;
    replay->plan_pages = MAX(ALIGN_UP(bytes, PAGE_BYTES) / PAGE_BYTES, 1ul);
    replay->plan = page_alloc(replay->plan_pages, PAGE_ZERO);
    if (replay->plan == NULL) {
        printk("replay: %s: no memory for the plan, %zu KiB\n", name, bytes / KIB);
        return false;
    }
    replay->ids = replay->plan;
    replay_plan_steps(replay, (struct replay_step *)((char *)replay->plan + id_bytes));
    return true;
}

static void replay_dry_areas_free(struct replay *replay)
{
    page_free(replay->dry_areas, replay->cpu_count * (replay->dry_area_bytes / PAGE_BYTES));
    replay->dry_areas = NULL;
}

void replay_fini(struct replay *replay)
{
    replay_dry_areas_free(replay);
    page_free(replay->plan, replay->plan_pages);
}

/* Room for the trace's largest object; an object that no machine has room for is not one. */
static bool replay_dry_areas_alloc(struct replay *replay)
{
    uint64_t room = page_free_count() * PAGE_BYTES;
    uint64_t largest = PAGE_BYTES;

    for (uint32_t i = 0; i < replay->trace->record_count; i++) {
        struct trace_record record = trace_record(replay->trace, i);
        uint64_t bytes = trace_bytes(&record);

        if (bytes <= room)
            largest = MAX(largest, bytes);
    }
    replay->dry_area_bytes = ALIGN_UP(largest, PAGE_BYTES);
    replay->dry_areas = page_alloc(replay->cpu_count * (replay->dry_area_bytes / PAGE_BYTES), 0);
    for (unsigned cpu = 0; replay->dry_areas != NULL && cpu < replay->cpu_count; cpu++)
        replay->workers[cpu].dry_area = (char *)replay->dry_areas + cpu * replay->dry_area_bytes;
    return replay->dry_areas != NULL;
}

bool replay_reset(struct replay *replay, unsigned flags)
{
    replay_dry_areas_free(replay);
    for (uint32_t i = 0; i < replay->trace->id_count; i++)
        replay->ids[i] = (struct replay_id){0};
    for (unsigned cpu = 0; cpu < replay->cpu_count; cpu++) {
        const struct replay_worker *worker = &replay->workers[cpu];

        replay->workers[cpu] =
            (struct replay_worker){.steps = worker->steps, .step_count = worker->step_count};
    }
    replay->flags = flags;
    replay->done = replay->damaged = 0;
    replay->sleepers = 0;
    replay->live_bytes = replay->page_bytes = 0;
    replay->peak_live_bytes = replay->peak_heap_bytes = 0;
    if ((flags & REPLAY_DRY) && !replay_dry_areas_alloc(replay))
        return false;
    replay->span_bytes_base = span_bytes_now();
    return true;
}

struct replay_totals replay_totals(const struct replay *replay)
{
    struct replay_totals totals = {0};

    for (unsigned cpu = 0; cpu < replay->cpu_count; cpu++) {
        totals.refused += replay->workers[cpu].refused;
        totals.busy_ticks += replay->workers[cpu].busy_ticks;
        totals.wait_ticks += replay->workers[cpu].wait_ticks;
    }
    return totals;
}
