/* What the page heap knows of pages (mm/page/view.h). */
#include "mm/page/view.h"

#include "mm/page/nodes.h"

static uint64_t view_load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* In the heap, in a window, or on its way to one. */
static uint64_t view_free(const struct page_block *block)
{
    return page_block_free(block) | view_load(&block->window) | view_load(&block->remote);
}

static bool view_bit(uint64_t word, size_t page)
{
    return (word >> page % PAGE_BLOCK_PAGES & 1) != 0;
}

static const struct page_block *view_block(size_t page)
{
    return &page_heap_of(page)->blocks[page / PAGE_BLOCK_PAGES];
}

/* Taken, and goes on with the run of the page before. */
static bool view_is_joined(size_t page)
{
    const struct page_block *block = view_block(page);

    return page < page_heaps[0].page_limit && view_bit(page_block_present(block), page) &&
           !view_bit(view_free(block), page) && view_bit(view_load(&block->joined), page);
}

struct page_view page_view(size_t page)
{
    struct page_view view = {.state = PAGE_ABSENT};

    if (page >= page_heaps[0].page_limit)
        return view;

    const struct page_block *block = view_block(page);
    uint64_t holder = view_load(&block->holder);

    if (!view_bit(page_block_present(block), page))
        return view;
    if (view_bit(view_free(block), page)) {
        view.state = PAGE_FREE;
        view.is_zero = view_bit(view_load(&block->zero), page);
        view.is_scavenged = view_bit(view_load(&block->scavenged), page);
        if (holder != 0 && !view_bit(page_block_free(block), page)) {
            view.state = PAGE_IN_WINDOW;
            view.cpu = (unsigned)holder - 1;
        }
        return view;
    }
    view.state = PAGE_TAKEN;
    for (view.first = page; view.first > 0 && view_is_joined(view.first);)
        view.first--;
    for (view.pages = 1; view_is_joined(view.first + view.pages);)
        view.pages++;
    return view;
}

struct page_counts page_count_chunks(size_t chunk, size_t chunks)
{
    struct page_counts counts = {0};
    size_t end =
        MIN((chunk + chunks) * PAGE_CHUNK_BLOCKS, page_heaps[0].page_limit / PAGE_BLOCK_PAGES);

    for (size_t i = chunk * PAGE_CHUNK_BLOCKS; i < end; i++) {
        const struct page_block *block = view_block(i * PAGE_BLOCK_PAGES);
        uint64_t present = page_block_present(block);

        if (present == 0)
            continue;

        uint64_t free = view_free(block) & present;

        counts.present += bits_count(present);
        counts.free += bits_count(free);
        counts.zero += bits_count(free & view_load(&block->zero));
        counts.scavenged += bits_count(free & view_load(&block->scavenged));
    }
    return counts;
}

size_t page_chunk_limit(void)
{
    return page_heaps[0].page_limit / CHUNK_PAGES;
}
