/*
 * Finding leaks (mm/slab/leaks.h): mark what can be reached, report what is in use and not marked.
 *
 * Roots, all of them conservative: any aligned word may be a pointer, to an object's start or into
 * it.
 *
 *     port_each_root   static variables, CPU 0's per-CPU variables, each CPU's stacks from its stack
 *                      pointer up and its registers                                   mm/port.h
 *     pages            all that page_alloc has handed out and that is no span of ours: other CPUs'
 *                      per-CPU variables, and what its users keep there
 *     objects          that are reachable, all of their words
 *     guarded objects  all that are in use: they are in no span, so never reported
 *
 * and passed over is what refers to objects without owning them, its holes:
 *
 *     mm/'s own        span descriptors, magazines and caches, page windows, the guard pool's pages,
 *                      in which freed objects stand too, the marker's memory
 *     port's           pages that stacks are made of, whose dead part is full of old addresses
 *
 * Not looked at: memory from early_alloc (the map of ranges and page tables), the tables by arena,
 * modules, what devices hold.
 *
 * All CPUs but this one stand still from before the first look to behind the last, in an interrupt,
 * so with no lock held and no restartable sequence half done.  What they have in their registers is
 * on their stacks.  A slot between a magazine and its user still holds its token and is no object;
 * one of which the token has just been taken is in a register.  Of a large object that is being made
 * nothing but its descriptor is in a register: it counts from when it is handed out
 * (mm/span/large.h).
 *
 * Locks: none of its own; takes the page heap's, SPAN_DESC and SLAB_CACHES.
 *
 * Source: the leak finding mode of Boehm's collector; Linux's kmemleak.
 */
#include "mm/slab/leaks.h"

#include "kernel/base/sort.h"
#include "mm/mark/mark.h"
#include "mm/page/page.h"
#include "mm/page/page_window.h"
#include "mm/page/view.h"
#include "mm/slab/debug.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab_impl.h"
#include "mm/slab/sites.h"
#include "mm/slab/slab_own.h"
#include "mm/span/large.h"
#include "mm/span/span_each.h"

#define LEAKS_FRAMES 8u /* of a site, printed */

PORT_STAT(slab, leaks_failed);

/* [start, end) is not looked at. */
struct leaks_hole {
    uintptr_t start, end;
};

struct leaks_request {
    void (*found)(const struct kmem_leak *leak, void *arg);
    void *arg;
    size_t count;
};

struct leaks {
    struct mark mark;
    struct leaks_hole *holes; /* ascending and apart, once joined */
    size_t hole_count;        /* so far */
    size_t hole_limit;        /* that there is room for; 0: they are being counted */
    uintptr_t desc_page;      /* the last page of descriptors seen */
    struct leaks_request *request;
};

/* ---- What objects are ---- */

static bool leaks_shape(const struct span *span, struct mark_shape *out)
{
    if (span->span_class == SPAN_CLASS_LARGE) {
        *out = (struct mark_shape){.scan_bytes = span_bytes(span)};
        return span->owner == NULL;
    }
    if (span->span_class >= SIZE_CLASS_COUNT && span->span_class != SPAN_CLASS_CACHE)
        return false;

    const struct central *central = central_of(span);

    *out = (struct mark_shape){.lead_bytes = central->object_shift,
                               .scan_bytes = central->object_bytes};
    return true;
}

static bool leaks_is_live(const struct span *span, unsigned slot)
{
    if (span->owner == NULL)
        return span_large_is_out(span);

    const struct central *central = central_of(span);
    char *at = span_slot(span, slot);

    return !span_slot_is_free(span, slot) && !slab_has_token(at) &&
           (central->debug_flags == 0 || !slab_debug_is_held(central, at + central->object_shift));
}

static const struct mark_heap leaks_heap = {leaks_shape, leaks_is_live};

/* ---- Holes ---- */

static void leaks_add_hole(uintptr_t start, uintptr_t end, void *arg)
{
    struct leaks *leaks = arg;

    if (leaks->hole_limit != 0) {
        CHECK(leaks->hole_count < leaks->hole_limit);
        leaks->holes[leaks->hole_count] = (struct leaks_hole){start, end};
    }
    leaks->hole_count++;
}

/* The page of the pool that a span's descriptor stands in. */
static void leaks_add_descriptor(struct span *span, void *arg)
{
    struct leaks *leaks = arg;
    uintptr_t page = ALIGN_DOWN((uintptr_t)span, PAGE_BYTES);

    if (page != leaks->desc_page)
        leaks_add_hole(page, page + PAGE_BYTES, leaks);
    leaks->desc_page = page;
}

static void leaks_each_hole(struct leaks *leaks)
{
    leaks->hole_count = 0;
    leaks->desc_page = 0;
    for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
        size_t bytes;
        uintptr_t window = (uintptr_t)page_window_of_cpu(cpu, &bytes);

        leaks_add_hole(window, window + bytes, leaks);
    }
    slab_each_own(leaks_add_hole, leaks);
    guard_each_page(leaks_add_hole, leaks);
    span_each(leaks_add_descriptor, leaks);
    mark_each_piece(&leaks->mark, leaks_add_hole, leaks);
    port_each_nonroot(leaks_add_hole, leaks);
}

static size_t leaks_hole_pages(const struct leaks *leaks)
{
    return (leaks->hole_limit * sizeof(*leaks->holes) + PAGE_BYTES - 1) / PAGE_BYTES;
}

static int leaks_compare(const void *a, const void *b)
{
    uintptr_t left = ((const struct leaks_hole *)a)->start;
    uintptr_t right = ((const struct leaks_hole *)b)->start;

    return (left > right) - (left < right);
}

/* Sort the holes; those that touch become one. */
static void leaks_join_holes(struct leaks *leaks)
{
    size_t joined = 0;

    sort(leaks->holes, leaks->hole_count, sizeof(*leaks->holes), leaks_compare);
    for (size_t i = 1; i < leaks->hole_count; i++) {
        struct leaks_hole *last = &leaks->holes[joined], next = leaks->holes[i];

        if (next.start <= last->end)
            last->end = MAX(last->end, next.end);
        else
            leaks->holes[++joined] = next;
    }
    leaks->hole_count = joined + 1;
}

/* Count the holes, take memory for them and one more, which it is itself, and write them down. */
static bool leaks_open_holes(struct leaks *leaks)
{
    leaks_each_hole(leaks);
    leaks->hole_limit = leaks->hole_count + 1;
    leaks->holes = page_alloc(leaks_hole_pages(leaks), PAGE_RESERVE);
    if (leaks->holes == NULL)
        return false;
    leaks_each_hole(leaks);
    leaks_add_hole((uintptr_t)leaks->holes,
                   (uintptr_t)leaks->holes + leaks_hole_pages(leaks) * PAGE_BYTES, leaks);
    leaks_join_holes(leaks);
    return true;
}

/* The first hole that ends above an address; hole_count: none. */
static size_t leaks_first_hole(const struct leaks *leaks, uintptr_t addr)
{
    size_t low = 0, high = leaks->hole_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (leaks->holes[middle].end > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- Roots ---- */

/* A range of roots, less the holes in it. */
static void leaks_mark_range(uintptr_t start, uintptr_t end, void *arg)
{
    struct leaks *leaks = arg;
    size_t hole = leaks_first_hole(leaks, start);

    for (; hole < leaks->hole_count && leaks->holes[hole].start < end; hole++) {
        mark_range(&leaks->mark, start, MAX(start, leaks->holes[hole].start));
        start = MAX(start, leaks->holes[hole].end);
    }
    if (start < end)
        mark_range(&leaks->mark, start, end);
}

/* What page_alloc has handed out of a chunk, but spans of ours. */
static void leaks_mark_chunk(struct leaks *leaks, size_t chunk)
{
    uint64_t taken[PAGE_CHUNK_BLOCKS];

    if (!page_chunk_taken(chunk, taken))
        return;
    for (size_t i = 0; i < CHUNK_PAGES; i++) {
        char *page = page_address(chunk * CHUNK_PAGES + i);

        if ((taken[i / 64] >> i % 64 & 1) != 0 && !mark_has(&leaks->mark, page))
            leaks_mark_range((uintptr_t)page, (uintptr_t)page + PAGE_BYTES, leaks);
    }
}

static void leaks_mark(struct leaks *leaks)
{
    port_each_root(leaks_mark_range, leaks);
    guard_each_live(leaks_mark_range, leaks);
    for (size_t chunk = 0; chunk < page_chunk_limit(); chunk++)
        leaks_mark_chunk(leaks, chunk);
    mark_drain(&leaks->mark);
}

/* ---- The report ---- */

static void leaks_found(const struct span *span, unsigned slot, void *arg)
{
    struct leaks_request *request = arg;
    struct kmem_leak leak = {(const void *)span->base, span_bytes(span), "kmalloc-large"};

    if (span->owner != NULL) {
        const struct central *central = central_of(span);

        leak = (struct kmem_leak){(char *)span_slot(span, slot) + central->object_shift,
                                  central->object_bytes, central->name};
    }
    request->count++;
    if (request->found != NULL)
        request->found(&leak, request->arg);
}

/* All other CPUs stand still. */
static void leaks_stopped(void *arg)
{
    struct leaks leaks = {.request = arg};

    leaks.request->count = KMEM_LEAKS_FAILED;
    span_drain(); /* pages of the pool without a descriptor in use are nobody's */
    if (!mark_open(&leaks.mark, &leaks_heap))
        return;
    if (leaks_open_holes(&leaks)) {
        leaks.request->count = 0;
        leaks_mark(&leaks);
        mark_each_unmarked(&leaks.mark, leaks_found, leaks.request);
        page_free(leaks.holes, leaks_hole_pages(&leaks));
    }
    mark_close(&leaks.mark);
}

size_t kmem_leaks(void (*found)(const struct kmem_leak *leak, void *arg), void *arg)
{
    struct leaks_request request = {found, arg, 0};

    page_scavenge_hold(); /* pages in flight hold what they held last */
    port_stop_others(leaks_stopped, &request);
    page_scavenge_release();
    if (request.count == KMEM_LEAKS_FAILED)
        port_stat_inc(slab, leaks_failed);
    return request.count;
}

/* Where an object of a span is counted; NULL: nowhere. */
static const struct slab_site *leaks_site(const struct span *span, const void *object)
{
    if (span->owner == NULL)
        return slab_debug_large_site(span);
    return central_of(span)->debug_flags != 0 ? slab_record(central_of(span), object)->site : NULL;
}

size_t kmem_leak_site(const void *object, uintptr_t *pcs, size_t max)
{
    const struct span *span = span_of(object);
    size_t count = 0;

    if (span == NULL)
        return 0;
    if (span->owner != NULL && central_of(span)->debug_flags & SLAB_DEBUG_TRACE) {
        const struct slab_trace *trace = &slab_record(central_of(span), object)->alloc;

        for (; count < MIN(max, SLAB_TRACE_FRAMES) && trace->pcs[count] != 0; count++)
            pcs[count] = trace->pcs[count];
        return count;
    }

    const struct slab_site *site = leaks_site(span, object);

    if (max > 0 && site != NULL && site->address != 0)
        pcs[count++] = site->address;
    return count;
}

void kmem_leak_print(const struct kmem_leak *leak)
{
    uintptr_t pcs[LEAKS_FRAMES];
    size_t frames = kmem_leak_site(leak->object, pcs, LEAKS_FRAMES);

    port_print("  leak: %p, %zu bytes, %s%s\n", leak->object, leak->bytes, leak->cache,
               frames == 0 ? ", site not recorded" : ", allocated by");
    if (frames != 0)
        port_backtrace_print(pcs, frames);
}
