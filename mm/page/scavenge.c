/*
 * The scavenger: gives free memory back to the host below, until it is used again.
 *
 * What.  A pass goes over memory from the highest address down, since allocations come from below:
 * first chunks that are free as a whole, so that the host frees whole huge pages and none is broken;
 * then aligned 64 KiB in the other chunks.  Each block has a word of scavenged bits, which say that
 * a free page has been given back; they are cleared when the page is taken from the heap.
 *
 * How much.  What is retained, that is all pages that are not scavenged, may shrink to 110 % of the
 * peak of pages in use.  Go takes the heap's size at the end of the last mark; as long as there is
 * no collector, it is the most that was in use in the last 5 seconds and since, as seen whenever an
 * idle CPU asks.  The first 5 seconds only measure.
 *
 * How fast.  It runs on CPUs that have nothing else to do, one at a time, and for 1 % of one CPU's
 * time: time that passes earns credit, a hundredth of it, saved for a second at most; work spends
 * what it has taken.  (Go has a PI controller there, since its sleeps overshoot.  A tick comes 100
 * times a second, and what a piece overspends is waited for.)
 *
 *     heap --take--> in flight --release--> heap, with scavenged bits
 *
 * A run in flight, one chunk at most, is taken as if allocated, so nobody touches it meanwhile.  It
 * counts as free, and hides nothing: an allocation that fails in ordinary context holds flights up,
 * waits for the one under way, and tries again (page_scavenge_hold).  One that may not wait, in an
 * interrupt handler or under a lock, can fail for up to 2 MiB that are in flight.
 *
 * Locks: PAGE_HEAP, for one look (64 chunks) or one run at a time, and never while the host works.
 *
 * Source: Go's scavenger (mgcscavenge.go); scavtrace's line is Go's.
 */
#include "mm/page/scavenge.h"

#include "mm/page/debug.h"
#include "mm/page/nodes.h"
#include "mm/page/page.h"
#include "mm/page/zero.h"

static const size_t scavenge_grain_pages[] = {
    [SCAVENGE_CHUNKS] = CHUNK_PAGES,
    [SCAVENGE_QUANTA] = SCAVENGE_QUANTUM_PAGES,
    [SCAVENGE_PAGES] = 1,
};

/* ---- Finding a run; the heap's lock is held ---- */

void scavenge_restart(struct scavenge_scan *scan, const struct page_heap *heap,
                      enum scavenge_grain last)
{
    *scan = (struct scavenge_scan){
        .grain = SCAVENGE_CHUNKS, .last = last, .end = heap->page_limit / CHUNK_PAGES};
}

/* The chunk number down to which, from `chunk` on, no run of `pages` is free; chunk + 1: it has. */
static size_t scavenge_skip(const struct page_heap *heap, size_t chunk, size_t pages)
{
    for (unsigned level = heap->top + 1; level-- > 0;) {
        unsigned shift = page_level_shift(level) - PAGE_CHUNK_SHIFT;

        if (heap->levels[level][chunk >> shift].max < pages)
            return chunk >> shift << shift;
    }
    return chunk + 1;
}

static uint64_t scavenge_dirty(const struct page_block *block)
{
    return page_block_free(block) & ~page_block_scavenged(block);
}

/* The pages of a block's aligned quanta that are free as a whole, and not all scavenged. */
static uint64_t scavenge_quanta(const struct page_block *block)
{
    uint64_t starts = bits_run_starts(page_block_free(block), SCAVENGE_QUANTUM_PAGES);
    uint64_t any = scavenge_dirty(block);

    for (unsigned shift = SCAVENGE_QUANTUM_PAGES / 2; shift > 0; shift /= 2)
        any |= any >> shift;
    return (starts & any & bits_aligned(SCAVENGE_QUANTUM_PAGES)) *
           ((1ull << SCAVENGE_QUANTUM_PAGES) - 1);
}

static bool scavenge_find_in_chunk(const struct page_heap *heap, size_t chunk,
                                   enum scavenge_grain grain, struct scavenge_run *run)
{
    const struct page_block *blocks = &heap->blocks[chunk * PAGE_CHUNK_BLOCKS];
    bool is_whole = heap->levels[0][chunk].max == CHUNK_PAGES;

    if (grain == SCAVENGE_QUANTA && is_whole)
        return false; /* that would break it */
    for (size_t i = PAGE_CHUNK_BLOCKS; i-- > 0;) {
        uint64_t pages =
            grain == SCAVENGE_QUANTA ? scavenge_quanta(&blocks[i]) : scavenge_dirty(&blocks[i]);

        if (pages == 0)
            continue;
        if (grain == SCAVENGE_CHUNKS) {
            *run = (struct scavenge_run){chunk * CHUNK_PAGES, CHUNK_PAGES};
            return true;
        }

        unsigned above = (unsigned)__builtin_clzll(pages);
        size_t length = MIN(bits_high_run(pages << above), SCAVENGE_QUANTUM_PAGES);

        *run = (struct scavenge_run){
            chunk * CHUNK_PAGES + (i + 1) * PAGE_BLOCK_PAGES - above - length, length};
        return true;
    }
    return false;
}

bool scavenge_find(const struct page_heap *heap, struct scavenge_scan *scan, size_t spare,
                   struct scavenge_run *run)
{
    for (unsigned i = 0; i < SCAVENGE_LOOK_CHUNKS && scan->grain != SCAVENGE_END; i++) {
        size_t grain_pages = scavenge_grain_pages[scan->grain];

        if (scan->end == 0 || spare < grain_pages) {
            scan->end = heap->page_limit / CHUNK_PAGES;
            scan->grain = scan->grain == scan->last ? SCAVENGE_END : scan->grain + 1;
            continue;
        }

        size_t chunk = scan->end - 1;
        size_t next = scavenge_skip(heap, chunk, grain_pages);

        if (next > chunk && scavenge_find_in_chunk(heap, chunk, scan->grain, run))
            return true;
        scan->end = MIN(next, chunk);
    }
    return false;
}

/* ---- Pace ---- */

void scavenge_earn(struct scavenge_pace *pace, uint64_t now, uint64_t ticks_per_second)
{
    int64_t most = (int64_t)(ticks_per_second / SCAVENGE_SHARE);
    uint64_t earned = (now - pace->seen) / SCAVENGE_SHARE;

    pace->seen += earned * SCAVENGE_SHARE;
    pace->credit = MIN(pace->credit + (int64_t)earned, most);
}

void scavenge_spend(struct scavenge_pace *pace, uint64_t ticks)
{
    pace->credit -= (int64_t)ticks;
}

/* ---- One run ---- */

static size_t scavenge_count_dirty(const struct page_heap *heap, struct scavenge_run run)
{
    size_t end = run.page + run.pages, dirty = 0;

    for (struct page_walk walk = page_walk(run.page, end); page_walk_on(&walk);
         page_walk_next(&walk))
        dirty += bits_count(scavenge_dirty(&heap->blocks[walk.index]) & walk.mask);
    return dirty;
}

/* The run is free again, and as the host has left it. */
static void scavenge_land_locked(struct page_heap *heap, struct scavenge_run run,
                                 enum port_release answer)
{
    size_t end = run.page + run.pages;

    CHECK(page_heap_put(heap, run.page, run.pages));
    heap->flight_pages = 0;
    if (answer == PORT_RELEASE_FAILED)
        return;
    for (struct page_walk walk = page_walk(run.page, end); page_walk_on(&walk);
         page_walk_next(&walk)) {
        struct page_block *block = &heap->blocks[walk.index];

        if (!page_block_is_held(block)) /* else it is a window's meanwhile */
            page_block_scavenge(heap, block, walk.mask);
    }
    if (answer == PORT_RELEASED_AS_ZERO)
        page_zero_note(heap, run.page, run.pages);
}

enum scavenge_progress {
    SCAVENGE_GOES_ON,
    SCAVENGE_WAITS, /* an allocation holds it up */
    SCAVENGE_STOPS, /* the pass is over, or the host takes no more */
};

/* The scan that is on the coarsest grain, of these the highest; NULL: all are at their end. */
static struct scavenge_scan *scavenger_scan(struct scavenger *scavenger)
{
    struct scavenge_scan *next = NULL;

    for (unsigned i = scavenger->heap_count; i-- > 0;) {
        struct scavenge_scan *scan = &scavenger->scans[i];

        if (scan->grain < (next == NULL ? SCAVENGE_END : next->grain))
            next = scan;
    }
    return next;
}

static void scavenger_restart(struct scavenger *scavenger, enum scavenge_grain last)
{
    for (unsigned i = 0; i < scavenger->heap_count; i++)
        scavenge_restart(&scavenger->scans[i], &scavenger->heaps[i], last);
}

/* One look, and the run that it finds.  *count grows by the pages given back. */
static enum scavenge_progress scavenger_run(struct scavenger *scavenger, size_t spare,
                                            size_t *count)
{
    struct scavenge_scan *scan = scavenger_scan(scavenger);
    struct scavenge_run run;
    size_t dirty = 0;

    if (scan == NULL)
        return SCAVENGE_STOPS;

    struct page_heap *heap = &scavenger->heaps[scan - scavenger->scans];
    unsigned long irq_state = page_heap_lock(heap);

    if (atomic_load_explicit(&scavenger->holds, memory_order_relaxed) != 0) {
        page_heap_unlock(heap, irq_state);
        return SCAVENGE_WAITS;
    }
    if (scavenge_find(heap, scan, spare, &run)) {
        dirty = scavenge_count_dirty(heap, run);
        page_heap_take(heap, run.page, run.pages);
        heap->flight_pages = run.pages;
    }
    page_heap_unlock(heap, irq_state);
    if (dirty == 0)
        return SCAVENGE_GOES_ON;

    enum port_release answer =
        scavenger->release((void *)(port_direct_base() + run.page * PAGE_BYTES), run.pages);

    irq_state = page_heap_lock(heap);
    scavenge_land_locked(heap, run, answer);
    page_heap_unlock(heap, irq_state);
    if (answer == PORT_RELEASE_FAILED) {
        atomic_store_explicit(&scavenger->is_on, false, memory_order_relaxed);
        return SCAVENGE_STOPS;
    }
    *count += dirty;
    return SCAVENGE_GOES_ON;
}

/* ---- In the background ---- */

void scavenger_open(struct scavenger *scavenger, struct page_heap *heaps, unsigned heap_count,
                    enum port_release (*release)(void *addr, size_t pages), uint64_t now)
{
    scavenger->heaps = heaps;
    scavenger->heap_count = heap_count;
    scavenger->release = release;
    scavenger->pace.seen = now;
    scavenger->period_end = now + SCAVENGE_PERIOD_SECONDS * port_ticks_per_second();
    scavenger->last_peak_pages = 0;
    for (unsigned i = 0; i < heap_count; i++)
        scavenger->last_peak_pages += heaps[i].present_pages;
    scavenger->traced = now;
    scavenger_restart(scavenger, SCAVENGE_QUANTA);
    atomic_store_explicit(&scavenger->is_on, true, memory_order_release);
}

size_t scavenger_goal(const struct scavenger *scavenger)
{
    return MAX(scavenger->peak_pages, scavenger->last_peak_pages) * 110 / 100;
}

struct scavenge_use {
    size_t in_use, retained, scavenged; /* pages */
};

static struct scavenge_use scavenger_use(const struct scavenger *scavenger)
{
    struct scavenge_use use = {0};

    for (unsigned i = 0; i < scavenger->heap_count; i++) {
        struct page_heap *heap = &scavenger->heaps[i];
        unsigned long irq_state = page_heap_lock(heap);

        use.in_use += heap->present_pages - heap->free_pages;
        use.retained += heap->present_pages - heap->scavenged_pages;
        use.scavenged += heap->scavenged_pages;
        page_heap_unlock(heap, irq_state);
    }
    return use;
}

/* Go's line, with what has been done since the last one. */
static void scavenger_trace(struct scavenger *scavenger, uint64_t now, const char *remark)
{
    struct scavenge_use use = scavenger_use(scavenger);

    port_print("scav %zu KiB work (bg), %zu KiB work (eager), %zu KiB now, %zu%% util%s\n",
               scavenger->idle_pages * (PAGE_BYTES / KIB),
               scavenger->eager_pages * (PAGE_BYTES / KIB), use.scavenged * (PAGE_BYTES / KIB),
               use.in_use * 100 / MAX(use.retained, 1ul), remark);
    scavenger->idle_pages = 0;
    scavenger->eager_pages = 0;
    scavenger->traced = now;
}

/* Note what is in use; returns the pages that are retained beyond the goal. */
static size_t scavenger_measure(struct scavenger *scavenger, uint64_t now)
{
    struct scavenge_use use = scavenger_use(scavenger);

    if (now >= scavenger->period_end) {
        scavenger->period_end = now + SCAVENGE_PERIOD_SECONDS * port_ticks_per_second();
        scavenger->last_peak_pages = scavenger->peak_pages;
        scavenger->peak_pages = 0;
        scavenger_restart(scavenger, SCAVENGE_QUANTA);
    }
    scavenger->peak_pages = MAX(scavenger->peak_pages, use.in_use);
    return use.retained - MIN(use.retained, scavenger_goal(scavenger));
}

bool scavenger_step(struct scavenger *scavenger, uint64_t now)
{
    uint64_t start = port_ticks();
    size_t spare = scavenger_measure(scavenger, now);

    scavenge_earn(&scavenger->pace, now, port_ticks_per_second());
    scavenger->has_spare = spare >= SCAVENGE_QUANTUM_PAGES;
    if (spare < SCAVENGE_QUANTUM_PAGES || scavenger->pace.credit <= 0)
        return false;

    enum scavenge_progress progress = scavenger_run(scavenger, spare, &scavenger->idle_pages);

    if (scavenger->traces && scavenger->idle_pages > 0 &&
        now - scavenger->traced >= port_ticks_per_second())
        scavenger_trace(scavenger, now, "");
    scavenge_spend(&scavenger->pace, port_ticks() - start);
    return progress == SCAVENGE_GOES_ON && scavenger->pace.credit > 0;
}

void scavenger_all(struct scavenger *scavenger)
{
    enum scavenge_progress progress = SCAVENGE_GOES_ON;

    scavenger_restart(scavenger, SCAVENGE_PAGES);
    while (progress != SCAVENGE_STOPS) {
        if (progress == SCAVENGE_WAITS)
            port_relax();
        progress = scavenger_run(scavenger, SIZE_MAX, &scavenger->eager_pages);
    }
    scavenger_restart(scavenger, SCAVENGE_QUANTA);
}

/* ---- The kernel's own ---- */

struct scavenger page_scavenger;

static bool scavenger_enter(struct scavenger *scavenger)
{
    return atomic_load_explicit(&scavenger->is_on, memory_order_acquire) &&
           !atomic_exchange_explicit(&scavenger->is_busy, true, memory_order_acquire);
}

static void scavenger_leave(struct scavenger *scavenger)
{
    atomic_store_explicit(&scavenger->is_busy, false, memory_order_release);
}

static bool page_scavenge_idle(void)
{
    bool has_more = false;

    if (scavenger_enter(&page_scavenger)) {
        uint64_t now = port_ticks();

        has_more = scavenger_step(&page_scavenger, now);
        if (page_scavenger.has_spare) /* it waits for time, or for a page that is busy */
            port_idle_again(port_ticks_per_second() / SCAVENGE_LOOKS_PER_SECOND);
        else
            port_idle_again(page_scavenger.period_end - now);
        scavenger_leave(&page_scavenger);
    }
    return has_more;
}
PORT_IDLE_WORK(page_scavenge_idle);

void page_scavenge_start(bool traces)
{
    if (page_debug_poisons()) {
        port_print("scavenger: off, as page_poison=1 keeps a pattern in free pages\n");
        return;
    }
    page_scavenger.traces = traces;
    scavenger_open(&page_scavenger, page_heaps, port_node_count(), port_release_pages,
                   port_ticks());
}

bool page_scavenge_all(void)
{
    page_drain_all();
    while (!scavenger_enter(&page_scavenger)) {
        if (!atomic_load_explicit(&page_scavenger.is_on, memory_order_relaxed))
            return false;
        port_relax();
    }
    scavenger_all(&page_scavenger);
    scavenger_trace(&page_scavenger, port_ticks(), " (forced)");
    scavenger_leave(&page_scavenger);
    return true;
}

/*
 * A hold is counted before the lock is taken, and a flight starts under the lock only when none is:
 * so once the flight that is seen here has landed, no other is under way.
 */
void page_scavenge_hold(void)
{
    atomic_fetch_add_explicit(&page_scavenger.holds, 1, memory_order_relaxed);
    for (unsigned node = 0; node < port_node_count();) {
        struct page_heap *heap = &page_heaps[node];
        unsigned long irq_state = page_heap_lock(heap);
        size_t flight_pages = heap->flight_pages;

        page_heap_unlock(heap, irq_state);
        if (flight_pages == 0)
            node++;
        else
            port_relax();
    }
}

void page_scavenge_release(void)
{
    atomic_fetch_sub_explicit(&page_scavenger.holds, 1, memory_order_relaxed);
}
