/*
 * The page heap, looked at: what it holds, whether it is sound, and why a free is wrong.  Nothing
 * else changes the heap meanwhile, but for the windows of other CPUs in page_heap_fault.
 */
#include "mm/page/page_heap.h"

#include "mm/page/hints.h"

/* ---- What there is ---- */

size_t page_heap_whole_chunks(const struct page_heap *heap)
{
    const struct summary *root = heap->levels[heap->top];
    size_t whole = 0;

    for (size_t i = 0; i < heap->level_counts[heap->top]; i++)
        whole += root[i].whole;
    return whole;
}

size_t page_heap_largest_run(const struct page_heap *heap)
{
    return summary_merge(heap->levels[heap->top], heap->level_counts[heap->top],
                         1ul << page_level_shift(heap->top))
        .max;
}

/* ---- A free that is wrong ---- */

const char *page_heap_fault(const struct page_heap *heap, size_t page, size_t pages,
                            struct page_run *run)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];
    uint64_t bit = 1ull << page % PAGE_BLOCK_PAGES;

    *run = (struct page_run){page, page};
    if ((page_block_present(block) & bit) == 0)
        return "not a page of the heap";
    if ((page_block_window(block) & bit) != 0)
        return "double free, it is in a CPU's window";
    if ((page_block_taken(block) & bit) == 0)
        return "double free, it is in the heap";
    while (page_continues_run(heap, run->page))
        run->page--;
    do
        run->end++;
    while (run->end < heap->page_limit && page_continues_run(heap, run->end));
    if (run->page != page)
        return "wrong address, it is inside a run";
    if (run->end != page + pages)
        return "wrong length";
    return NULL;
}

/* ---- Invariants ---- */

static void page_heap_check_block(const struct page_heap *heap, size_t index)
{
    const struct page_block *block = &heap->blocks[index];
    size_t page = index * PAGE_BLOCK_PAGES;
    uint64_t free = page_block_free(block), present = page_block_present(block);
    uint64_t window = page_block_window(block), remote = page_block_remote(block);
    uint64_t joined = page_block_joined(block), scavenged = page_block_scavenged(block);

    if (((free | window | remote) & ~present) != 0 ||
        ((free & window) | (free & remote) | (window & remote)) != 0)
        port_panic("page heap: P1: pages %#lx..: free %#lx, window %#lx, remote %#lx, present %#lx",
                   page, free, window, remote, present);
    if (page_block_is_held(block) ? free != 0 : window != 0)
        port_panic("page heap: P5: pages %#lx..: %s, free %#lx, window %#lx", page,
                   page_block_is_held(block) ? "held" : "not held", free, window);
    if (((free | window | ~present) & joined) != 0)
        port_panic("page heap: P7: pages %#lx..: free %#lx, window %#lx, present %#lx, joined %#lx",
                   page, free, window, present, joined);
    if ((scavenged & ~free) != 0)
        port_panic("page heap: P8: pages %#lx..: free %#lx, scavenged %#lx", page, free, scavenged);
}

/* P4 for the run [page, end), free. */
static void page_heap_check_hint(const struct page_heap *heap, size_t page, size_t end)
{
    size_t start = MAX(page, heap->floor);

    if (end <= heap->floor)
        return;

    unsigned k = page_hint_of(end - start);

    if (start / CHUNK_PAGES < heap->hints[k])
        port_panic("page heap: P4: pages %#lx..: %zu free below the hint for %zu, chunk %u", start,
                   end - start, page_hint_pages(k), heap->hints[k]);
}

static void page_heap_check_hints(const struct page_heap *heap)
{
    size_t page = 0, end = 0; /* the run that ends where the walk stands; none: empty */

    for (unsigned k = 1; k < PAGE_HINTS; k++)
        if (heap->hints[k - 1] > heap->hints[k])
            port_panic("page heap: P4: hint %u is chunk %u, hint %u chunk %u", k - 1,
                       heap->hints[k - 1], k, heap->hints[k]);
    for (size_t i = 0; i < heap->page_limit / PAGE_BLOCK_PAGES; i++) {
        uint64_t free = page_block_free(&heap->blocks[i]);

        while (free != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(free), run = bits_low_run(free >> bit);

            if (i * PAGE_BLOCK_PAGES + bit != end) {
                page_heap_check_hint(heap, page, end);
                page = i * PAGE_BLOCK_PAGES + bit;
                end = page;
            }
            end += run;
            free &= ~bits_mask(bit, run);
        }
    }
    page_heap_check_hint(heap, page, end);
}

static void page_heap_check_blocks(const struct page_heap *heap)
{
    size_t free_pages = 0, present_pages = 0, scavenged_pages = 0;

    for (size_t i = 0; i < heap->page_limit / PAGE_BLOCK_PAGES; i++) {
        const struct page_block *block = &heap->blocks[i];

        page_heap_check_block(heap, i);
        free_pages += bits_count(page_block_free(block));
        present_pages += bits_count(page_block_present(block));
        scavenged_pages += bits_count(page_block_scavenged(block));
    }
    if (free_pages != heap->free_pages || present_pages != heap->present_pages)
        port_panic("page heap: P3: %zu free, %zu present counted; %zu, %zu noted", free_pages,
                   present_pages, heap->free_pages, heap->present_pages);
    if (scavenged_pages != heap->scavenged_pages)
        port_panic("page heap: P8: %zu scavenged counted; %zu noted", scavenged_pages,
                   heap->scavenged_pages);
}

void page_heap_check(const struct page_heap *heap)
{
    page_heap_check_blocks(heap);
    page_heap_check_hints(heap);
    for (unsigned level = 0; level <= heap->top; level++) {
        size_t count = heap->page_limit >> page_level_shift(level);

        for (size_t i = 0; i < count; i++) {
            struct summary is = heap->levels[level][i];
            struct summary want = page_tree_summary(heap, level, i);

            if (!summary_is_equal(&is, &want))
                port_panic("page heap: P2: level %u entry %zu is %zu %zu %zu %u %#x, "
                           "below it says %zu %zu %zu %u %#x",
                           level, i, is.start, is.max, is.end, is.whole, is.some, want.start,
                           want.max, want.end, want.whole, want.some);
        }
    }
}
