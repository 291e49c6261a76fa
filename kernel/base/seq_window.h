/*
 * A window: 64 aligned pages of which one CPU takes and gives back runs (mm/page/page_window.c says
 * what for), and in plain C what its four operations do.
 *
 * This is the definition that the restartable sequences of arch/sequence.h carry out, the whole of
 * the fallback for a port without them, and what slow paths call.  To call one of these, have
 * interrupts off on the CPU whose window it is.
 *
 * Idea.  A page of the window is free, or handed out as one of:
 *
 *      single 1            a run of one page
 *      single 0, head 1    the first of a longer run
 *      single 0, head 0    a further page of it
 *
 * A take writes these bits for the pages of its run and then, as one store, clears their bits in
 * `free`: that is the commit.  Until then the pages are free, and of a free page `single` and
 * `head` mean nothing, so a take that is given up or begun again half-way has done nothing.  A give
 * writes `free` alone.  Pages that are not the window's have single 0, head 1: no run that may be
 * given here begins or goes on there.
 *
 * Another CPU may look: `free` first, then `single`, then `head`, each acquire.  A page that it
 * sees handed out has its bits by then, since they are written in the order head, single, free.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/base/base.h"

#define SEQ_WINDOW_PAGES   64u
#define SEQ_WINDOW_RUN_MAX 15u /* pages in a run; a quarter of the window, as in Go's page cache */
#define SEQ_PAGE_SHIFT     12

/* Byte offsets of the members, for sequences; asserted below. */
#define SEQ_WINDOW_FREE      0
#define SEQ_WINDOW_SINGLE    8
#define SEQ_WINDOW_HEAD      16
#define SEQ_WINDOW_BASE      24
#define SEQ_WINDOW_GIVE_BASE 32

/* A give base that makes every give miss: no address is this, or a few pages above. */
#define SEQ_WINDOW_NO_GIVES 0x8000000000000001ul /* not canonical */

/* [P] written by its CPU, but give_base; all zero: no pages, every operation misses. */
struct seq_window {
    _Atomic uint64_t free;       /* [P] bit: may be handed out; release / acquire */
    _Atomic uint64_t single;     /* [P] release / acquire */
    _Atomic uint64_t head;       /* [P] release / acquire */
    _Atomic uintptr_t base;      /* [P] address of the first page; relaxed */
    _Atomic uintptr_t give_base; /* [A] base, or SEQ_WINDOW_NO_GIVES: gives shall miss; relaxed */
};

_Static_assert(offsetof(struct seq_window, free) == SEQ_WINDOW_FREE, "offset");
_Static_assert(offsetof(struct seq_window, single) == SEQ_WINDOW_SINGLE, "offset");
_Static_assert(offsetof(struct seq_window, head) == SEQ_WINDOW_HEAD, "offset");
_Static_assert(offsetof(struct seq_window, base) == SEQ_WINDOW_BASE, "offset");
_Static_assert(offsetof(struct seq_window, give_base) == SEQ_WINDOW_GIVE_BASE, "offset");

static inline uint64_t seq_window_load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void seq_window_store(_Atomic uint64_t *word, uint64_t bits)
{
    atomic_store_explicit(word, bits, memory_order_release);
}

/*
 * All bits but those of a run at the low end, by its pages.  A table: one load, where the shift
 * would be three instructions.
 */
static const int16_t seq_window_others[SEQ_WINDOW_RUN_MAX + 1] = {
    -0x1,   -0x2,   -0x4,   -0x8,   -0x10,   -0x20,   -0x40,   -0x80,
    -0x100, -0x200, -0x400, -0x800, -0x1000, -0x2000, -0x4000, -0x8000,
};

static inline uint64_t seq_window_mask(size_t pages)
{
    return ~(uint64_t)seq_window_others[pages];
}

/* The page number of an address in the window; SEQ_WINDOW_PAGES or more: not a page of it. */
static inline uint64_t seq_window_bit(const struct seq_window *window, const void *addr)
{
    uint64_t offset =
        (uintptr_t)addr - atomic_load_explicit(&window->give_base, memory_order_relaxed);

    /* Rotated, an offset that is not a multiple of a page is a large number too. */
    return offset >> SEQ_PAGE_SHIFT | offset << (64 - SEQ_PAGE_SHIFT);
}

/* Hand out the run of 1 .. SEQ_WINDOW_RUN_MAX free pages that begins at `bit`. */
static inline void *seq_window_take_at(struct seq_window *window, unsigned bit, size_t pages)
{
    uint64_t run = seq_window_mask(pages) << bit, first = 1ull << bit;
    uint64_t single = seq_window_load(&window->single) & ~run;

    seq_window_store(&window->head, (seq_window_load(&window->head) & ~run) | first);
    seq_window_store(&window->single, pages == 1 ? single | first : single);
    seq_window_store(&window->free, seq_window_load(&window->free) & ~run);
    return (void *)(atomic_load_explicit(&window->base, memory_order_relaxed) +
                    ((uintptr_t)bit << SEQ_PAGE_SHIFT));
}

/* Take the first free page; NULL: there is none. */
static inline void *seq_window_take_one(struct seq_window *window)
{
    uint64_t free = seq_window_load(&window->free);

    return free != 0 ? seq_window_take_at(window, (unsigned)__builtin_ctzll(free), 1) : NULL;
}

/*
 * Take 2 .. SEQ_WINDOW_RUN_MAX pages from the first free page on; NULL: there are not so many,
 * though there may be further up.
 */
static inline void *seq_window_take_run(struct seq_window *window, size_t pages)
{
    uint64_t free = seq_window_load(&window->free);
    unsigned bit = free != 0 ? (unsigned)__builtin_ctzll(free) : 0;

    if ((~(free >> bit) & seq_window_mask(pages)) != 0)
        return NULL;
    return seq_window_take_at(window, bit, pages);
}

/* Give back a run of one page; false: it is not one that is handed out here. */
static inline bool seq_window_give_one(struct seq_window *window, void *addr)
{
    uint64_t free = seq_window_load(&window->free);
    uint64_t bit = seq_window_bit(window, addr);

    if (bit >= SEQ_WINDOW_PAGES || (free >> bit & 1) != 0 ||
        (seq_window_load(&window->single) >> bit & 1) == 0)
        return false;
    seq_window_store(&window->free, free | 1ull << bit);
    return true;
}

/* Give back a run of 2 pages or more; false: it is not one that is handed out here. */
static inline bool seq_window_give_run(struct seq_window *window, void *addr, size_t pages)
{
    uint64_t free = seq_window_load(&window->free);
    uint64_t bit = seq_window_bit(window, addr);

    if (bit >= SEQ_WINDOW_PAGES || (free >> bit & 1) != 0)
        return false;

    /* Where a run or a free page begins, from this page on: next where this run ends. */
    uint64_t begins = free | seq_window_load(&window->single) | seq_window_load(&window->head);
    uint64_t after = begins >> bit >> 1;
    uint64_t end = after != 0 ? (unsigned)__builtin_ctzll(after) + 1u : SEQ_WINDOW_PAGES - bit;

    if ((begins >> bit & 1) == 0 || end != pages || pages < 2)
        return false;
    seq_window_store(&window->free, free | seq_window_mask(pages) << bit);
    return true;
}
