/*
 * mm/ put together: the order in which its layers open, drain and are checked, and one account of
 * where memory is.  What each layer is stands in mm.h and in the layer's own header.
 *
 * Draining runs from the top down, since each layer gives back to the one below: objects to spans,
 * stacks to the page heap, spans and their descriptors to the page heap through this CPU's window,
 * and windows last.
 */
#include "mm/mm.h"

#include "mm/gc/gc.h"
#include "mm/page/early.h"
#include "mm/page/page.h"
#include "mm/page/page_heap.h"
#include "mm/page/ranges.h"
#include "mm/port.h"
#include "mm/slab/guard.h"
#include "mm/slab/slab.h"
#include "mm/span/span.h"
#include "mm/stack/stack.h"

void mm_early_init(struct mm_range *ranges, size_t count, size_t capacity)
{
    size_t usable = ranges_normalise(ranges, count, capacity);

    if (usable == 0)
        port_panic("mm_early_init: no usable page in %zu ranges of the memory map", count);
    early_open(ranges, usable);
}

void mm_init(void)
{
    page_heap_init();  /* tables by arena can be asked for */
    span_init();       /* its table */
    page_heap_start(); /* page_alloc, spans; early_alloc is closed */
    slab_init();       /* kmalloc, kmem_cache */
    guard_init();      /* guard_alloc, guard_sample */
    stack_init();      /* stack_create */
    gc_init();         /* gc_new; no cycles before gc_start */
}

void mm_open(void)
{
    page_heap_open();
    slab_open();
}

size_t mm_give(uint64_t base, uint64_t bytes)
{
    return page_heap_give(base, bytes);
}

void mm_drain(void)
{
    gc_drain();
    slab_drain_all();
    stack_drain();
    span_drain();
    page_drain_all();
}

void mm_check(void)
{
    slab_check();
    guard_check();
    stack_check();
    span_check_all();
    page_check();
    gc_check(); /* last: no CPU but this one answers in a forked child of a hosted process */
}

struct mm_stats mm_stats(void)
{
    struct page_stats page = page_stats();
    struct span_stats span = span_stats();
    struct slab_stats slab = slab_stats();
    size_t taken_bytes = (page.ram_pages - page.free_pages) * PAGE_BYTES;
    struct guard_stats guard = guard_stats();
    size_t stack_bytes = stack_page_bytes();
    size_t own_bytes =
        span.span_bytes + span.desc_bytes + slab.cache_bytes + guard.bytes + stack_bytes;

    return (struct mm_stats){
        .ram_bytes = page.ram_pages * PAGE_BYTES + early_bytes() + page_table_bytes(),
        .free_bytes = page.free_pages * PAGE_BYTES,
        .window_bytes = page.window_pages * PAGE_BYTES,
        .pending_bytes = page.pending_pages * PAGE_BYTES,
        .whole_chunks = page.whole_chunks,
        /* While other CPUs run, parts read one after another may exceed the whole. */
        .page_alloc_bytes = taken_bytes - MIN(own_bytes, taken_bytes),
        .stack_bytes = stack_bytes,
        .span_bytes = span.span_bytes,
        .object_bytes = slab.object_bytes,
        .magazine_bytes = slab.magazine_bytes,
        .depot_bytes = slab.depot_bytes,
        .central_bytes = slab.central_bytes,
        .guard_objects = guard.live,
        .guard_bytes = guard.bytes,
        .meta_bytes = page.meta_bytes + span.desc_bytes + slab.cache_bytes + slab.static_bytes,
    };
}
