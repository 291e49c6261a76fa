/*
 * Opening the page heaps: memory becomes theirs piece by piece, the first at once, the rest on all
 * CPUs.
 *
 *     page_heap_init    addresses for tables; nothing is backed, no page is there
 *     page_heap_start   the lowest pieces, as many as start-up needs; early_alloc is closed
 *     page_heap_open    all others, by every CPU that calls it
 *
 * A piece is what a node has in an aligned 256 MiB.  A CPU takes a share of them off its node's
 * cursor, later those of the nearest nodes; has their arenas' tables backed (arena.c); tells all
 * CPUs of it, once for the share, since that is what costs most; and adds the pages, an arena at a
 * time, so that no lock is held for long.  Only the adding needs the heap's lock, so the cost per
 * GiB falls as CPUs are added.
 *
 *     node 0                                      node 1
 *     [ piece ][ piece ]  hole  [ piece ][ store ][ piece ][ piece ][ store ]
 *
 * Tables come from the node's store, the end of its longest run, which is as large as they can ever
 * need.  Who opens a node's last piece adds what is left of it.  So what is free is in as few runs
 * as the machine's memory, and the largest is nearly all of it.
 *
 * Pieces are found by a walk over the ranges that the early allocator left; it steps over holes, so
 * these cost nothing.  What depends on how much memory there is, the reserves and the share of zero
 * pages, is known from the ranges before all is open.  The reserve for devices is taken of what
 * opens first.
 *
 * Locks: OPENING, for cursors and counts; ARENAS and PAGE_HEAP not inside it.
 */
#include "mm/page/page.h"

#include "mm/page/arena.h"
#include "mm/page/debug.h"
#include "mm/page/early.h"
#include "mm/page/nodes.h"
#include "mm/page/reserve.h"
#include "mm/page/zero.h"

#define OPENING_PIECE_PAGES (256 * MIB / PAGE_BYTES) /* whole arenas */
#define OPENING_BATCH_MAX   32u                      /* pieces that a CPU takes at once */
#define OPENING_SHARES      4u /* batches for each CPU, at least, if it can be */

/*
 * Pages open before other CPUs start: at most 76 MiB of them are reserves, and 64 CPUs start with
 * some 10 MiB.
 */
#define OPENING_START_PAGES (128 * MIB / PAGE_BYTES)

PORT_STAT(page, left_out); /* pages that no store had tables for */

/* Where a walk over a node's memory is. */
struct opening_walk {
    size_t range; /* the first that may have more */
    size_t page;  /* all below has been seen */
};

struct opening_piece {
    struct page_heap *heap;
    size_t end;                /* page number above it, where the next piece may start */
    struct opening_walk first; /* at its first run */
    bool is_backed;            /* its tables are there */
};

/* Lock letters: [C] constant from page_heap_start on, [L] lock. */
struct opening_node {
    struct opening_walk walk; /* [L] the next piece is behind it */
    size_t pages;             /* [L] in pieces that are not yet open */
    struct page_store store;  /* what is left for tables */
    size_t store_end;         /* [C] where a run, and the store at first, ends; 0: no store */
};

static struct {
    port_lock_t lock;
    const struct mm_range *ranges; /* [C] what the early allocator left, ascending */
    size_t range_count;            /* [C] */
    unsigned nodes_left;           /* [L] with memory that is not yet open */
    struct opening_node nodes[PORT_NODE_MAX];
} opening = {.lock = PORT_LOCK_INIT(OPENING)};

static PORT_PERCPU(size_t, opening_opened); /* pages that this CPU has opened; [P] */

size_t page_opened_by(unsigned cpu)
{
    return *port_cpu(opening_opened, cpu);
}

/* ---- Walking over memory ---- */

/* The next run of a node's memory but the store, or what is left of it; the walk stays before it. */
static bool opening_run(unsigned node, struct opening_walk *walk, struct page_run *run)
{
    const struct opening_node *own = &opening.nodes[node];

    for (; walk->range < opening.range_count; walk->range++) {
        const struct mm_range *range = &opening.ranges[walk->range];
        size_t end = (range->base + range->bytes) / PAGE_BYTES;

        walk->page = MAX(walk->page, range->base / PAGE_BYTES);
        while (walk->page < end) {
            size_t next;
            bool is_own = page_node_of(walk->page, &next) == node;

            next = MIN(next, end);
            *run = (struct page_run){walk->page, next == own->store_end ? own->store.page : next};
            if (is_own && run->page < run->end)
                return true;
            walk->page = next;
        }
    }
    return false;
}

/* The next run of a piece; the walk, which starts as piece->first, goes over it. */
static bool opening_piece_run(const struct opening_piece *piece, struct opening_walk *walk,
                              struct page_run *run)
{
    unsigned node = (unsigned)(piece->heap - page_heaps);

    if (!opening_run(node, walk, run) || run->page >= piece->end)
        return false;
    run->end = MIN(run->end, piece->end);
    walk->page = run->end;
    return true;
}

/* The next piece of a node; the walk goes over it. */
static bool opening_next(unsigned node, struct opening_walk *walk, struct opening_piece *piece)
{
    struct page_run run;

    if (!opening_run(node, walk, &run))
        return false;
    piece->heap = &page_heaps[node];
    piece->first = *walk;
    piece->end = ALIGN_DOWN(run.page, OPENING_PIECE_PAGES) + OPENING_PIECE_PAGES;
    walk->page = piece->end;
    return true;
}

/* A share of what a node has left: how many pieces. */
static unsigned opening_take(unsigned node, struct opening_piece *batch)
{
    struct opening_node *own = &opening.nodes[node];
    unsigned long irq_state = port_lock(&opening.lock);
    size_t share = own->pages / OPENING_PIECE_PAGES / (OPENING_SHARES * port_cpu_count());
    unsigned count = 0;

    share = MIN(MAX(share, 1ul), OPENING_BATCH_MAX);
    while (count < share && opening_next(node, &own->walk, &batch[count]))
        count++;
    port_unlock(&opening.lock, irq_state);
    return count;
}

/* The lowest of all nodes' next pieces.  Boot CPU. */
static bool opening_take_lowest(struct opening_piece *lowest)
{
    struct opening_walk best_walk = {0, 0};
    unsigned best = PORT_NODE_MAX;

    for (unsigned node = 0; node < port_node_count(); node++) {
        struct opening_walk walk = opening.nodes[node].walk;
        struct opening_piece piece;

        if (opening_next(node, &walk, &piece) &&
            (best == PORT_NODE_MAX || piece.first.page < lowest->first.page)) {
            *lowest = piece;
            best_walk = walk;
            best = node;
        }
    }
    if (best == PORT_NODE_MAX)
        return false;
    opening.nodes[best].walk = best_walk;
    return true;
}

/* ---- Opening a piece ---- */

/* Pages become the heap's, and free. */
static void opening_add_arena(struct page_heap *heap, size_t page, size_t pages, bool is_fresh)
{
    page_debug_add(page, pages);

    unsigned long irq_state = page_heap_lock(heap);

    page_heap_add(heap, page, pages);
    if (is_fresh && PORT_FRESH_IS_ZERO && !page_debug_poisons())
        page_zero_note(heap, page, pages);
    page_heap_unlock(heap, irq_state);
}

static void opening_add(struct page_heap *heap, size_t page, size_t end)
{
    while (page < end) {
        size_t pages = MIN(end, ALIGN_DOWN(page, PAGE_ARENA_PAGES) + PAGE_ARENA_PAGES) - page;

        opening_add_arena(heap, page, pages, true);
        page += pages;
    }
}

/* Back the tables for a piece, once for each arena in which it has memory. */
static bool opening_back(const struct opening_piece *piece, struct page_store *store)
{
    struct opening_walk walk = piece->first;
    struct page_run run;
    size_t done = 0; /* arenas below this page are backed */

    while (opening_piece_run(piece, &walk, &run)) {
        size_t page = MAX(run.page, done);

        if (page < run.end && !page_arenas_back(piece->heap, page, run.end, store))
            return false;
        done = ALIGN_UP(run.end, PAGE_ARENA_PAGES);
    }
    return true;
}

/* So many pages are open, or left out.  The lock is held. */
static void opening_count_locked(size_t pages, bool is_open)
{
    if (is_open)
        *port_this_cpu(opening_opened) += pages;
    else
        port_stat_add(page, left_out, pages);
}

/* All pieces of a node are open: now what its tables have not needed. */
static void opening_open_store(struct page_heap *heap, struct page_store *store)
{
    bool is_backed =
        store->page < store->end && page_arenas_back(heap, store->page, store->end, store);

    if (is_backed) {
        port_table_flush();
        opening_add(heap, store->page, store->end);
    }

    unsigned long irq_state = port_lock(&opening.lock);

    opening_count_locked(store->end - store->page, is_backed);
    opening.nodes_left--;
    port_unlock(&opening.lock, irq_state);
}

/* Add the pages of a piece; returns how many. */
static size_t opening_open_piece(const struct opening_piece *piece)
{
    struct opening_node *node = &opening.nodes[piece->heap - page_heaps];
    struct opening_walk walk = piece->first;
    struct page_run run;
    size_t pages = 0;

    while (opening_piece_run(piece, &walk, &run)) {
        if (piece->is_backed)
            opening_add(piece->heap, run.page, run.end);
        pages += run.end - run.page;
    }

    unsigned long irq_state = port_lock(&opening.lock);

    opening_count_locked(pages, piece->is_backed);
    node->pages -= pages;

    bool is_last = node->pages == 0;

    port_unlock(&opening.lock, irq_state);
    if (is_last)
        opening_open_store(piece->heap, &node->store);
    return piece->is_backed ? pages : 0;
}

/* Returns how many pages there are now. */
static size_t opening_open(struct opening_piece *batch, unsigned count)
{
    size_t pages = 0;

    for (unsigned i = 0; i < count; i++)
        batch[i].is_backed =
            opening_back(&batch[i], &opening.nodes[batch[i].heap - page_heaps].store);
    port_table_flush();
    for (unsigned i = 0; i < count; i++)
        pages += opening_open_piece(&batch[i]);
    return pages;
}

/* ---- The order of start-up ---- */

void page_heap_init(void)
{
    size_t count;
    const struct mm_range *ranges = early_ranges(&count);

    CHECK(count > 0);
    page_nodes_init();
    page_arenas_init((ranges[count - 1].base + ranges[count - 1].bytes + PAGE_BYTES - 1) /
                     PAGE_BYTES);
    page_debug_init();
}

/* Count a node's memory, and make the end of its longest run the store. */
static void opening_survey(unsigned index)
{
    struct opening_node *node = &opening.nodes[index];
    struct opening_walk walk = {0, 0};
    struct page_run run, longest = {0, 0};
    size_t done = 0, arenas = 0, groups = 0;

    for (; opening_run(index, &walk, &run); walk.page = run.end) {
        size_t first = ALIGN_DOWN(run.page, PAGE_ARENA_PAGES);

        groups += first > done || done == 0;
        first = MAX(first, done);
        done = ALIGN_UP(run.end, PAGE_ARENA_PAGES);
        arenas += (done - first) / PAGE_ARENA_PAGES;
        node->pages += run.end - run.page;
        if (run.end - run.page > longest.end - longest.page)
            longest = run;
    }

    size_t cost = MIN(page_arenas_cost(arenas, groups), (longest.end - longest.page) / 2);

    page_node_pages[index] = node->pages;
    node->store = (struct page_store){longest.end - cost, longest.end};
    node->store_end = longest.end;
    node->pages -= cost;
    opening.nodes_left += node->pages > 0;
}

void page_heap_start(void)
{
    struct opening_piece piece;
    size_t opened = 0;

    opening.ranges = early_close(&opening.range_count);
    for (unsigned node = 0; node < port_node_count(); node++)
        opening_survey(node);
    while (opened < OPENING_START_PAGES && opening_take_lowest(&piece))
        opened += opening_open(&piece, 1);
    if (opened == 0)
        port_panic("page heap: %zu pages of memory are too few for the tables over them",
                   page_nodes_memory());
    page_reserve_init();
    page_zero_init();
}

void page_heap_open(void)
{
    unsigned own = port_cpu_node(port_cpu_id());
    struct opening_piece batch[OPENING_BATCH_MAX];
    unsigned count;

    for (unsigned nth = 0; nth < port_node_count(); nth++) {
        unsigned node = (unsigned)(page_node_near(own, nth) - page_heaps);

        while ((count = opening_take(node, batch)) > 0)
            (void)opening_open(batch, count);
    }
}

/* ---- Memory that comes later ---- */

/* Whether a page of the arena has ever been the heap's, so that all its tables cover it. */
static bool page_arena_is_open(const struct page_heap *heap, size_t arena)
{
    size_t blocks = PAGE_ARENA_PAGES / PAGE_BLOCK_PAGES;

    for (size_t i = 0; i < blocks; i++)
        if (page_block_present(&heap->blocks[arena * blocks + i]) != 0)
            return true;
    return false;
}

/* What of [page, end) lies in arenas that are open; how much. */
static size_t page_give(struct page_heap *heap, size_t page, size_t end)
{
    size_t given = 0;

    while (page < end) {
        size_t arena = page / PAGE_ARENA_PAGES;
        size_t pages = MIN((arena + 1) * PAGE_ARENA_PAGES, end) - page;

        if (page_arena_is_open(heap, arena)) {
            opening_add_arena(heap, page, pages, false);
            given += pages;
        }
        page += pages;
    }
    return given;
}

size_t page_heap_give(uint64_t base, uint64_t bytes)
{
    size_t end = MIN((base + bytes) / PAGE_BYTES, page_heaps[0].page_limit), given = 0;

    CHECK(opening.nodes_left == 0);
    for (size_t page = ALIGN_UP(base, PAGE_BYTES) / PAGE_BYTES; page < end;) {
        size_t node_end;
        struct page_heap *heap = &page_heaps[page_node_of(page, &node_end)];

        node_end = MIN(end, node_end);
        given += page_give(heap, page, node_end);
        page = node_end;
    }
    return given;
}
