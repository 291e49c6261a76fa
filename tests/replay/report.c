/*
 * The replay's report.
 *
 * It is taken at two points at which nothing runs, so that its sums are exact: after the record at
 * which the trace has most bytes live, in the trace's order, and after the last one.  Peak live
 * and peak heap are not of these points, but sampled at every alloc of the concurrent run.
 *
 * Waste of a class is what its spans hold and nobody asked for: free slots, the rounding up of
 * sizes to slots, the tails of spans.
 */
#include "tests/replay/report.h"

#include "kernel/base/string.h"
#include "kernel/nodes.h"
#include "kernel/print.h"
#include "mm/page/page.h"
#include "mm/span/span.h"
#include "tests/bench/figure.h"
#include "tests/bench/ticks.h"

bool report_init(struct replay_report *report, const struct replay *replay)
{
    size_t count = slab_class_count() + 1;

    memset(report, 0, sizeof(*report));
    report->replay = replay;
    report->class_count = count;
    report->class_pages = ALIGN_UP(count * sizeof(*report->classes), PAGE_BYTES) / PAGE_BYTES;
    report->classes = page_alloc(report->class_pages, PAGE_ZERO);
    if (report->classes == NULL)
        printk("replay: no memory for the report, %zu pages\n", report->class_pages);
    return report->classes != NULL;
}

void report_fini(struct replay_report *report)
{
    page_free(report->classes, report->class_pages);
}

/* ---- Measuring ---- */

/* The class of an object's span; objects of no class are large: the last row. */
static struct report_class *report_class_of(struct replay_report *report, const struct span *span)
{
    if (span->span_class == SPAN_CLASS_LARGE)
        return &report->classes[report->class_count - 1];
    return &report->classes[span->span_class - 1];
}

static void report_count_object(struct replay_report *report, const struct replay_id *id)
{
    struct trace_record record = trace_record(report->replay->trace, id->record);

    if (id->addr == NULL || trace_is_page(&record))
        return;

    const struct span *span = span_of(id->addr);

    if (span == NULL) /* in the guard pool, which no row counts */
        return;

    struct report_class *class = report_class_of(report, span);
    class->objects++;
    class->asked_bytes += record.size;
    if (class == &report->classes[report->class_count - 1]) {
        class->slab.spans++;
        class->slab.slots++;
        class->slab.live++;
        class->slab.span_bytes += span_bytes(span);
    }
}

void report_take_peak(struct replay_report *report)
{
    report->peak = mm_stats();
    for (size_t i = 0; i + 1 < report->class_count; i++) {
        if (!slab_class_stats(i, &report->classes[i].slab))
            report->classes[i].slab = (struct slab_class_stats){0};
    }
    report->classes[report->class_count - 1].slab.name = "large";
    for (uint32_t i = 0; i < report->replay->trace->id_count; i++)
        report_count_object(report, &report->replay->ids[i]);
}

void report_take_end(struct replay_report *report)
{
    const struct replay *replay = report->replay;

    report->end = mm_stats();
    report->totals = replay_totals(replay);
    report->peak_live_bytes = replay->peak_live_bytes;
    report->peak_heap_bytes = replay->peak_heap_bytes;
}

/* ---- Text ---- */

void report_print_head(const struct replay_report *report)
{
    const struct replay *replay = report->replay;
    const struct trace *trace = replay->trace;

    printk("replay: %s: %s records, %s objects, %s pages in %s runs, %u CPU%s; corruption found: "
           "%u\n",
           replay->name, figure_count(trace->record_count).text,
           figure_count(trace->object_allocs).text, figure_count(trace->pages).text,
           figure_count(trace->page_allocs).text, replay->cpu_count,
           replay->cpu_count == 1 ? "" : "s", report->damaged);
}

static void report_print_ticks(const struct replay_report *report)
{
    uint64_t records = report->replay->trace->record_count;
    uint64_t busy = ticks_to_units(report->totals.busy_ticks);
    uint64_t own = ticks_to_units(report->own_ticks);
    uint64_t all_ticks = report->totals.busy_ticks + report->totals.wait_ticks;

    if (!ticks_are_instructions())
        printk("  elapsed %s ms; %s %% of the CPUs' time went into waiting for each other\n",
               figure_ratio(ticks_to_units(report->elapsed_ticks), 1000000, 1).text,
               figure_ratio(report->totals.wait_ticks * 100, all_ticks, 1).text);
    if (report->has_own_ticks && own <= busy)
        printk("  %s %s per operation; the replay's own walk, fill and check take %s more\n",
               figure_ratio(busy - own, records, 1).text, ticks_unit(),
               figure_ratio(own, records, 1).text);
    else
        printk("  %s %s per operation, the replay's own work included; %s\n",
               figure_ratio(busy, records, 1).text, ticks_unit(),
               report->has_own_ticks ? "the machine was too busy to tell that apart"
                                     : "there was no memory to measure that alone");
}

static void report_print_peak(const struct replay_report *report)
{
    const struct mm_stats *end = &report->end;

    printk("  peak live %s KiB asked for, peak heap %s KiB in spans and pages: ratio %s\n",
           figure_count(report->peak_live_bytes / KIB).text,
           figure_count(report->peak_heap_bytes / KIB).text,
           figure_ratio(report->peak_heap_bytes, report->peak_live_bytes, 3).text);
    printk("  metadata %s KiB of %s KiB RAM: %s %%\n", figure_count(end->meta_bytes / KIB).text,
           figure_count(end->ram_bytes / KIB).text,
           figure_ratio(end->meta_bytes * 100, end->ram_bytes, 2).text);
    printk("  refused for want of memory: %s of %s allocations\n",
           figure_count(report->totals.refused).text,
           figure_count(report->replay->trace->object_allocs + report->replay->trace->page_allocs)
               .text);
    if (report->free_pages_after != report->free_pages_before)
        printk("  WRONG: %s free pages before, %s after everything was freed\n",
               figure_count(report->free_pages_before).text,
               figure_count(report->free_pages_after).text);
}

static void report_print_layer(const char *what, size_t peak_bytes, size_t end_bytes)
{
    printk("  %-34s %12s %12s\n", what, figure_count(peak_bytes / KIB).text,
           figure_count(end_bytes / KIB).text);
}

static void report_print_layers(const struct replay_report *report)
{
    const struct mm_stats *peak = &report->peak;
    const struct mm_stats *end = &report->end;
    size_t own = (report->replay->plan_pages + report->class_pages) * PAGE_BYTES;

    printk("\n");
    printk("  %-34s %12s %12s\n", "held by layer, KiB", "at the peak", "at the end");
    report_print_layer("objects in use, as slots", peak->object_bytes, end->object_bytes);
    report_print_layer("magazines", peak->magazine_bytes, end->magazine_bytes);
    report_print_layer("depots", peak->depot_bytes, end->depot_bytes);
    report_print_layer("central: free slots, tails", peak->central_bytes, end->central_bytes);
    report_print_layer("spans, the three above", peak->span_bytes, end->span_bytes);
    report_print_layer("pages handed out", peak->page_alloc_bytes, end->page_alloc_bytes);
    report_print_layer("  of these the replay's own plan", own, own);
    report_print_layer("threads' stacks", peak->stack_bytes, end->stack_bytes);
    report_print_layer("page heap, free", peak->free_bytes, end->free_bytes);
    report_print_layer("  of these in CPUs' windows", peak->window_bytes, end->window_bytes);
    report_print_layer("  of these freed, not collected yet", peak->pending_bytes,
                       end->pending_bytes);
    report_print_layer("  of these in whole chunks of 2 MiB", peak->whole_chunks * CHUNK_BYTES,
                       end->whole_chunks * CHUNK_BYTES);
    report_print_layer("metadata, all layers", peak->meta_bytes, end->meta_bytes);
    report_print_layer("RAM", peak->ram_bytes, end->ram_bytes);
}

/* Where there are several. */
static void report_print_nodes(void)
{
    if (node_count() == 1)
        return;
    printk("\n");
    printk("  %-14s %12s %12s %12s %12s\n", "at the end", "RAM, KiB", "free, KiB", "whole, KiB",
           "longest, KiB");
    for (unsigned node = 0; node < node_count(); node++) {
        struct page_stats page = page_node_stats(node);

        printk("  node %-9u %12s %12s %12s %12s\n", node,
               figure_count(page.ram_pages * PAGE_BYTES / KIB).text,
               figure_count(page.free_pages * PAGE_BYTES / KIB).text,
               figure_count(page.whole_chunks * CHUNK_BYTES / KIB).text,
               figure_count(page.largest_run * PAGE_BYTES / KIB).text);
    }
}

static void report_print_class(const struct report_class *class)
{
    const struct slab_class_stats *slab = &class->slab;
    size_t others = slab->live > class->objects ? slab->live - class->objects : 0;
    size_t used = class->asked_bytes + others * slab->slot_bytes; /* others': taken as all used */

    printk("  %-14s %7s %8s %8s %7s %10s %10s %8s\n", slab->name, figure_count(slab->spans).text,
           figure_count(slab->slots).text, figure_count(slab->live).text,
           figure_ratio(slab->live * 100, slab->slots, 1).text, figure_count(slab->magazine).text,
           figure_count(slab->span_bytes / KIB).text,
           figure_ratio((slab->span_bytes - MIN(used, slab->span_bytes)) * 100, slab->span_bytes, 1)
               .text);
}

void report_print(const struct replay_report *report)
{
    report_print_ticks(report);
    report_print_peak(report);
    report_print_layers(report);
    report_print_nodes();
    printk("\n");
    printk("  %-14s %7s %8s %8s %7s %10s %10s %8s\n", "at the peak", "spans", "slots", "live",
           "use %", "magazines", "KiB", "waste %");
    for (size_t i = 0; i < report->class_count; i++) {
        if (report->classes[i].slab.spans != 0)
            report_print_class(&report->classes[i]);
    }
}

unsigned report_wrong_count(const struct replay_report *report)
{
    return report->damaged + (report->free_pages_after != report->free_pages_before);
}
