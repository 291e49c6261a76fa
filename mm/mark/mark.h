/*
 * The marker: which objects can be reached, by conservative tracing over spans.
 *
 * Any aligned word that is an address inside a live object counts as a reference to it.  Who marks
 * says what objects are (struct mark_heap) and where to begin (mark_range); objects found are
 * scanned in turn, all of their words, until no more are found.
 *
 * Idea.  The unit of work is not the object but the span (Green Tea): each has two bitmaps, marked
 * and scanned, and stands in a queue while the first has bits that the second lacks.
 *
 *                     slots      #.##..#.                    queue
 *     span  --------  marked     #.#...#.    + - -> [span] -> [span] -> [span]
 *                     scanned    #.......    |        when taken off, all of its marked slots
 *           queued <----------------------- -+        that are not scanned are, side by side
 *
 * So the queue is never longer than there are spans, its links stand in the spans' own records, and
 * nothing is allocated while marking, whatever the shape of what is marked: a list of ten million
 * objects is as good as a tree.  Large objects are scanned MARK_PIECE_BYTES at a time, and stand in
 * the queue again in between.
 *
 * Side memory, all of it taken by mark_open, in pieces by chunk:
 *
 *     chunks[] --> | record's offset, by granule | record, bitmaps | record, bitmaps | ...
 *
 * 8 bytes for each 2 MiB of addresses; 1 KiB for each of these in which a span begins; 32 bytes a
 * span and 16 for each 64 of its slots.  That is 0.7 % of spans of up to 64 slots, 3.6 % of those of
 * 8-byte slots, next to nothing of large objects.
 *
 * Mark bits are atomic, and a slot is scanned by who sets its bit in `scanned`: with a lock around
 * the queue several CPUs could mark at once.
 *
 * Contract.  From mark_open to mark_close no span is created or destroyed and no slot becomes live
 * or free, and one CPU calls.  Locks: none.
 *
 * Source: Go 1.25's Green Tea collector (issue 73581); conservative tracing: Boehm, Weiser, "Garbage
 * collection in an uncooperative environment", 1988.
 */
#pragma once

#include "mm/span/span.h"

#define MARK_PIECE_BYTES (128 * KIB) /* of a large object, scanned at once */

/* A span's objects. */
struct mark_shape {
    size_t lead_bytes; /* before each object that belong to it too: references there count */
    size_t scan_bytes; /* of each object that may hold references; 0: none */
};

/* What is marked. */
struct mark_heap {
    /* A span's shape; false: its objects are not to be marked. */
    bool (*shape)(const struct span *span, struct mark_shape *out);
    /* Whether a slot is an object; of a large object's span: slot 0. */
    bool (*is_live)(const struct span *span, unsigned slot);
};

struct mark_chunk;
struct mark_span;

/* A marking.  Private but for its sizes. */
struct mark {
    const struct mark_heap *heap;
    struct mark_chunk **chunks;      /* by chunk; NULL: no span of the heap begins there */
    size_t chunk_count;              /* entries */
    struct mark_span *first, *last;  /* the queue; NULL: empty */
    size_t spans;                    /* of the heap */
    size_t side_pages;               /* side memory, pages */
    size_t marked_count, scan_bytes; /* so far: objects, bytes looked at */
};

/*
 * mark_open -- take the side memory; nothing is marked.
 *   returns  false when memory is exhausted (nothing is kept)
 *   context  irq; takes PAGE_RESERVE memory: a leak is looked for when there is no other
 *   pairs    mark_close
 */
bool mark_open(struct mark *mark, const struct mark_heap *heap);
void mark_close(struct mark *mark);

/* The objects to which the aligned words of [start, end) refer become marked. */
void mark_range(struct mark *mark, uintptr_t start, uintptr_t end);
/* Scan objects that are marked and what these refer to, until all are scanned. */
void mark_drain(struct mark *mark);

/* Whether an address lies in a span of the heap, between mark_open and mark_close. */
bool mark_has(const struct mark *mark, const void *addr);

/* Call fn for every live object that is not marked, by address. */
void mark_each_unmarked(const struct mark *mark,
                        void (*fn)(const struct span *span, unsigned slot, void *arg), void *arg);

/* Call fn for each piece of the side memory, [start, end). */
void mark_each_piece(const struct mark *mark, void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                     void *arg);
