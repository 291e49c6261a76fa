/*
 * Page windows: page_alloc and page_free without a lock.
 *
 * Idea.  Each CPU holds one window: the free pages of a block of 64, as a word of bits in which 1
 * is a page that this CPU may hand out.  A request for fewer than 16 pages takes them from the word
 * and a free puts them back, each as a restartable sequence (mm/port.h; what they do is
 * kernel/base/seq_window.h): no lock, no atomic, interrupts stay on.
 *
 *     window   domain   ..#########.####     free when it came, or remote since: its to hand out
 *              free     .....####...#.##     may be handed out now
 *     block    free     ................     held: the heap hands out nothing of it
 *              remote   #...............     freed to the heap meanwhile, for the holder
 *
 * The fast paths look at this CPU's words only, never at the block's; a free of a page that is not
 * the domain's takes the slow way, to the heap.  So does any free that is wrong in some way, and one
 * by another CPU.  Window and block are brought together there, under the heap's lock:
 *
 *   publish   before the heap judges a free: what the window says of its domain, into the block
 *   notify    behind it, where pages of a held block have become remote: a give of such a page on
 *             the fast way would be a double free that nobody sees.  So the holder's gives miss from
 *             now on, until on its next slow way it has settled: taken the remote pages
 *
 * Pages that are known to be zero stand apart, in `zero`, so that the fast paths hand out others
 * first: PAGE_ZERO finds them there, and who finds no run else makes them ordinary ones.
 *
 * So no double free and no wrong length passes: on the fast way it is a miss, and the slow way
 * finds it.  Of two CPUs that free one page at once, one by the window's give and one by the heap,
 * the give may be past its look at give_base when the other notifies: then the page is free in the
 * window and remote too, which notify sees, or whoever publishes next.  What nobody can see is such
 * a give that commits behind notify's look, and whose page is handed out again before the next:
 * nothing without an atomic instruction in the give could order these few instructions.
 *
 * Windows strand nothing.  A miss gives the window back before it takes another.  When the heap has
 * no run, this CPU's window is given back, and in ordinary context every CPU's, before the request
 * fails.  An idle CPU gives its window back once it has not used it for a while (drain.c).
 *
 * Cost: hit and free of a page, call and return included, 36 instructions; of 2 .. 15 pages, 60.
 *
 * Locks: the heap's, where it says so.  Source: Go's page cache (mpagecache.go).
 */
#include "mm/page/page_window.h"

#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/page/reserve.h"
#include "mm/page/zero.h"

#define WINDOW_GAIN   4u /* pages more, after the run, that make a block worth it */
#define WINDOW_MISSES 3u /* of one length, running */

/*
 * Lock letters: [P] this CPU's, interrupts off; [L] lock of the block's heap, by any CPU.
 * Invariant, tested by page_window_check():
 *   P6  a window's block names its CPU as the holder, and no other block does; what is free in a
 *       window, `zero` included, is in its domain, and what is in its domain is present; a zero
 *       page has head 1 and single 0, as if it were not the domain's
 */
struct page_window {
    struct seq_window seq;    /* [P] */
    _Atomic uint64_t zero;    /* [P] bit: free and zero, apart from seq.free; release / acquire */
    uint64_t domain;          /* [P L] bit: this window's to hand out and to take back */
    struct page_block *block; /* [P L] NULL: none */
    struct page_heap *_Atomic heap; /* [P L] of the block; relaxed: CPUs of other heaps look */
    size_t missed_pages;            /* [P] the last miss: its length */
    unsigned misses;                /* [P] and how many of that length have come running */
} __attribute__((aligned(PORT_LINE_BYTES)));

_Static_assert(SEQ_WINDOW_PAGES == PAGE_BLOCK_PAGES, "a window is a block");
_Static_assert(1ul << SEQ_PAGE_SHIFT == PAGE_BYTES, "of pages");

static PORT_PERCPU(struct page_window, page_window);

static inline struct page_heap *window_heap(const struct page_window *window)
{
    return atomic_load_explicit(&window->heap, memory_order_relaxed);
}

PORT_STAT(page, window_miss);

/* ---- The fast paths ---- */

PORT_RESTARTABLE void *page_alloc(size_t pages, unsigned flags)
{
    void *addr;

    if (UNLIKELY(flags != 0))
        return page_alloc_slow(pages, 1, PAGE_NONE, flags);
    if (LIKELY(pages == 1)) {
        if (LIKELY(port_window_take_one(page_window, &addr)))
            return addr;
    } else if (LIKELY(pages - 1 < PAGE_WINDOW_RUN_MAX)) {
        if (LIKELY(port_window_take_run(page_window, pages, &addr)))
            return addr;
    }
    return page_alloc_slow(pages, 1, PAGE_NONE, flags);
}

PORT_RESTARTABLE void page_free(void *addr, size_t pages)
{
    bool is_done;

    if (LIKELY(pages == 1))
        is_done = port_window_give_one(page_window, addr);
    else
        is_done = port_window_give_run(page_window, addr, pages);
    if (UNLIKELY(!is_done))
        page_free_slow(addr, pages);
}

/* Zero pages of the window become ordinary ones; who looks sees them in one place at least. */
static void window_mix(struct page_window *window, uint64_t zero)
{
    seq_window_store(&window->seq.free, seq_window_load(&window->seq.free) | zero);
    seq_window_store(&window->zero, seq_window_load(&window->zero) & ~zero);
}

/* All that is free in the window.  Any CPU. */
static uint64_t window_free(const struct page_window *window)
{
    uint64_t zero = seq_window_load(&window->zero); /* before seq.free: window_mix */

    return zero | seq_window_load(&window->seq.free);
}

/* Hand out the run of free pages at `bit`, some of which may be zero. */
static void *window_take_at(struct page_window *window, unsigned bit, size_t pages)
{
    window_mix(window, seq_window_load(&window->zero) & bits_mask(bit, pages));
    return seq_window_take_at(&window->seq, bit, pages);
}

void *page_window_search(size_t pages, size_t align)
{
    unsigned long irq_state = port_irq_save();
    struct page_window *window = port_this_cpu(page_window);
    uint64_t free = window_free(window);
    void *addr = NULL;

    if (free == 0) {
        port_irq_restore(irq_state);
        return NULL;
    }

    uint64_t aligned = align <= PAGE_BLOCK_PAGES ? bits_aligned(align) : 0;
    uint64_t starts = bits_run_starts(seq_window_load(&window->seq.free), pages) & aligned;

    if (starts == 0) /* zero pages among them, of which others stay apart */
        starts = bits_run_starts(free, pages) & aligned;
    if (starts != 0)
        addr = window_take_at(window, (unsigned)__builtin_ctzll(starts), pages);
    port_irq_restore(irq_state);
    return addr;
}

void *page_window_search_zero(size_t pages, size_t align)
{
    unsigned long irq_state = port_irq_save();
    struct page_window *window = port_this_cpu(page_window);
    uint64_t starts = bits_run_starts(seq_window_load(&window->zero), pages);
    void *addr = NULL;

    starts &= align <= PAGE_BLOCK_PAGES ? bits_aligned(align) : 0;
    if (starts != 0)
        addr = window_take_at(window, (unsigned)__builtin_ctzll(starts), pages);
    port_irq_restore(irq_state);
    return addr;
}

/* ---- Between a window and its block; the heap's lock is held ---- */

/* The window that has pages of a block; NULL: none. */
static struct page_window *window_of(const struct page_block *block)
{
    uint64_t holder = atomic_load_explicit(&block->holder, memory_order_relaxed);

    return UNLIKELY(holder != 0) ? port_cpu(page_window, holder - 1) : NULL;
}

static void window_set_give_base(struct page_window *window, uintptr_t base)
{
    atomic_store_explicit(&window->seq.give_base, base, memory_order_relaxed);
}

/* What the window says of its domain, in the block's words. */
static void window_publish(const struct page_window *window)
{
    uint64_t free = window_free(window); /* in this order: seq_window.h */
    uint64_t single = seq_window_load(&window->seq.single);
    uint64_t begins = free | single | seq_window_load(&window->seq.head);
    uint64_t joined = page_block_joined(window->block) & ~window->domain;
    uint64_t twice = free & page_block_remote(window->block);

    if (UNLIKELY(twice != 0))
        page_freed_twice(window_heap(window), window->block, twice);
    page_block_set_window(window->block, free);
    page_block_set_joined(window->block, joined | (~begins & window->domain));
}

/* Remote pages into this CPU's window; its gives may hit again. */
static void window_settle(struct page_window *window)
{
    struct seq_window *seq = &window->seq;
    uint64_t remote =
        page_heap_fetch_remote(window_heap(window), window->block, window_free(window));

    window->domain |= remote;
    seq_window_store(&seq->free, seq_window_load(&seq->free) | remote);
    window_set_give_base(window, atomic_load_explicit(&seq->base, memory_order_relaxed));
    window_publish(window);
}

static void window_open(struct page_window *window, struct page_heap *heap, size_t index)
{
    struct seq_window *seq = &window->seq;
    uintptr_t base = (uintptr_t)page_address(index * PAGE_BLOCK_PAGES);

    uint64_t zero = page_zero_take_block(heap, index);

    page_heap_hold(heap, index, port_cpu_id());
    atomic_store_explicit(&window->heap, heap, memory_order_relaxed);
    window->block = &heap->blocks[index];
    window->domain = page_block_window(window->block);
    seq_window_store(&seq->head, ~window->domain | zero); /* gives of zero pages miss */
    seq_window_store(&seq->single, 0);
    seq_window_store(&window->zero, zero);
    seq_window_store(&seq->free, window->domain & ~zero);
    atomic_store_explicit(&seq->base, base, memory_order_relaxed);
    window_set_give_base(window, base);
}

void page_window_return_locked(void)
{
    struct page_window *window = port_this_cpu(page_window);
    struct page_block *block = window->block;
    struct page_heap *heap = window_heap(window);

    if (block == NULL)
        return;

    DCHECK(port_lock_is_held(&heap->lock));
    window_publish(window);
    page_heap_release(heap, (size_t)(block - heap->blocks));
    page_zero_give_block(heap, (size_t)(block - heap->blocks), seq_window_load(&window->zero));
    seq_window_store(&window->zero, 0);
    seq_window_store(&window->seq.free, 0);
    seq_window_store(&window->seq.single, 0);
    seq_window_store(&window->seq.head, ~0ull);
    window_set_give_base(window, SEQ_WINDOW_NO_GIVES);
    window->domain = 0;
    window->block = NULL;
    atomic_store_explicit(&window->heap, NULL, memory_order_relaxed);
}

uint64_t page_window_free(void)
{
    return window_free(port_this_cpu(page_window));
}

struct page_heap *page_window_heap(void)
{
    return window_heap(port_this_cpu(page_window));
}

/*
 * One page: the window is empty.  A run: from a block that has more to give than the window, or when
 * such runs keep missing.  Else they come from the heap one by one, and the window's few pages stay
 * for those that fit.
 */
bool page_window_is_worth_locked(const struct page_heap *heap, size_t page, size_t pages)
{
    struct page_window *window = port_this_cpu(page_window);
    uint64_t free = page_block_free(&heap->blocks[page / PAGE_BLOCK_PAGES]);

    window->misses = pages == window->missed_pages ? window->misses + 1 : 1;
    window->missed_pages = pages;
    return pages == 1 || window->misses >= WINDOW_MISSES ||
           bits_count(free) >= pages + bits_count(window_free(window)) + WINDOW_GAIN;
}

bool page_window_may_take_locked(const struct page_heap *heap, size_t page, size_t pages)
{
    const struct page_block *block = &heap->blocks[page / PAGE_BLOCK_PAGES];

    return page % PAGE_BLOCK_PAGES + pages <= PAGE_BLOCK_PAGES && !port_fault_is_armed() &&
           !page_debug_is_on() && page_reserve_has_room(heap, bits_count(page_block_free(block)));
}

bool page_window_take_locked(struct page_heap *heap, size_t page, size_t pages)
{
    struct page_window *window = port_this_cpu(page_window);
    unsigned bit = page % PAGE_BLOCK_PAGES;

    DCHECK(port_lock_is_held(&heap->lock));
    port_stat_inc(page, window_miss);
    page_window_return_locked();
    window_open(window, heap, page / PAGE_BLOCK_PAGES);

    bool is_zero = (~seq_window_load(&window->zero) & bits_mask(bit, pages)) == 0;

    (void)window_take_at(window, bit, pages);
    return is_zero;
}

/* The page behind the run counts: whether it goes on with the run is asked too. */
bool page_window_publish_locked(struct page_heap *heap, size_t page, size_t pages)
{
    bool is_held = false;
    size_t last = MIN(page + pages, heap->page_limit - 1) / PAGE_BLOCK_PAGES;

    for (size_t index = page / PAGE_BLOCK_PAGES; index <= last; index++) {
        const struct page_window *window = window_of(&heap->blocks[index]);

        if (window == NULL)
            continue;
        window_publish(window);
        is_held = true;
    }
    return is_held;
}

void page_window_notify_locked(struct page_heap *heap, size_t page, size_t pages)
{
    size_t last = (page + pages - 1) / PAGE_BLOCK_PAGES;

    for (size_t index = page / PAGE_BLOCK_PAGES; index <= last; index++) {
        struct page_window *window = window_of(&heap->blocks[index]);

        if (window == NULL)
            continue;
        if (window == port_this_cpu(page_window)) {
            window_settle(window);
            continue;
        }
        window_set_give_base(window, SEQ_WINDOW_NO_GIVES);
        atomic_thread_fence(memory_order_seq_cst);
        window_publish(window);
    }
}

void page_window_return(void)
{
    unsigned long irq_state = port_irq_save();
    struct page_heap *heap = page_window_heap();

    if (heap != NULL) {
        unsigned long lock_state = page_heap_lock(heap);

        page_window_return_locked();
        page_heap_unlock(heap, lock_state);
    }
    port_irq_restore(irq_state);
}

/* ---- Counting and checking ---- */

size_t page_window_count_locked(const struct page_heap *heap)
{
    unsigned cpus = port_cpu_count();
    size_t pages = 0;

    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        const struct page_window *window = port_cpu(page_window, cpu);

        if (window_heap(window) == heap)
            pages += bits_count(window_free(window));
    }
    return pages;
}

const void *page_window_of_cpu(unsigned cpu, size_t *bytes)
{
    *bytes = sizeof(struct page_window);
    return port_cpu(page_window, cpu);
}

size_t page_window_bytes(void)
{
    return port_cpu_count() * sizeof(struct page_window);
}

/* Whether a window and its block agree. */
static bool window_is_sound(const struct page_window *window)
{
    const struct page_block *block = window->block;
    uint64_t free = window_free(window), zero = seq_window_load(&window->zero);

    if (block == NULL)
        return free == 0 && window->domain == 0;
    return window_of(block) == window && (free & ~window->domain) == 0 &&
           (window->domain & ~page_block_present(block)) == 0 &&
           (zero & (seq_window_load(&window->seq.single) | ~seq_window_load(&window->seq.head))) ==
               0;
}

void page_window_check(void)
{
    unsigned cpus = port_cpu_count();

    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        const struct page_window *window = port_cpu(page_window, cpu);

        if (!window_is_sound(window))
            port_panic("page heap: P6: CPU %u's window at %#lx: free %#lx of %#lx", cpu,
                       (unsigned long)window->seq.base, (unsigned long)window_free(window),
                       (unsigned long)window->domain);
        if (window->block != NULL)
            window_publish(window);
    }
}
