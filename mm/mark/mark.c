/* The marker; the theory stands in mm/mark/mark.h. */
#include "mm/mark/mark.h"

#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "mm/page/view.h"
#include "mm/span/span_each.h"

#define MARK_GRANULES (CHUNK_BYTES / GRANULE_BYTES) /* in a chunk */

/* Words are read as they stand, whoever wrote them and whatever a sanitizer thinks of them. */
#define MARK_READER __attribute__((no_sanitize("address"), no_sanitize("thread")))

/*
 * What is known of a span.  Of a large object `scanned` is not a bit but how many bytes are.
 * Lock letters: [C] constant from mark_open on; [Q] the queue's; [A] atomic, relaxed: what is marked
 * was written before mark_open.
 */
struct mark_span {
    struct span *span;          /* [C] */
    struct mark_span *next;     /* [Q] */
    size_t scan_bytes;          /* [C] as in struct mark_shape */
    uint32_t lead_bytes;        /* [C] likewise */
    _Atomic uint32_t is_queued; /* [A] in the queue, or being scanned */
    _Atomic uint64_t bits[];    /* [A] words of `marked`, then as many of `scanned` */
};

/* A piece of side memory. */
struct mark_chunk {
    uint32_t pages;                  /* [C] its size */
    uint32_t end;                    /* [C] bytes from its start to behind the last record */
    uint32_t records[MARK_GRANULES]; /* [C] by the granule of the span's base: bytes from the
                                         piece's start to the record; 0: none */
};

/* ---- Records ---- */

static unsigned mark_words(const struct span *span)
{
    return MAX((span_slot_count(span) + 63) / 64, 1u);
}

static size_t mark_record_bytes(const struct span *span)
{
    return sizeof(struct mark_span) + 2 * mark_words(span) * sizeof(uint64_t);
}

static _Atomic uint64_t *mark_marked(struct mark_span *of)
{
    return of->bits;
}

static _Atomic uint64_t *mark_scanned(struct mark_span *of)
{
    return of->bits + mark_words(of->span);
}

static struct mark_span *mark_record(struct mark_chunk *piece, size_t offset)
{
    return (struct mark_span *)((char *)piece + offset);
}

/* The record of a span; NULL: it is none of the heap's. */
static struct mark_span *mark_find(const struct mark *mark, const struct span *span)
{
    size_t granule = (span->base - port_direct_base()) / GRANULE_BYTES;
    struct mark_chunk *piece = mark->chunks[granule / MARK_GRANULES];

    if (piece == NULL || piece->records[granule % MARK_GRANULES] == 0)
        return NULL;
    return mark_record(piece, piece->records[granule % MARK_GRANULES]);
}

bool mark_has(const struct mark *mark, const void *addr)
{
    const struct span *span = span_of(addr);

    return span != NULL && mark_find(mark, span) != NULL;
}

/* ---- Side memory ---- */

struct mark_opening {
    struct mark *mark;
    struct mark_chunk *piece; /* of the chunk at hand */
    size_t bytes;             /* that it needs */
};

static void *mark_take(struct mark *mark, size_t pages)
{
    void *memory = page_alloc(pages, PAGE_ZERO | PAGE_RESERVE);

    if (memory != NULL)
        mark->side_pages += pages;
    return memory;
}

static void mark_measure(struct span *span, void *arg)
{
    struct mark_opening *opening = arg;
    struct mark_shape shape;

    if (opening->mark->heap->shape(span, &shape))
        opening->bytes += mark_record_bytes(span);
}

static void mark_add(struct span *span, void *arg)
{
    struct mark_opening *opening = arg;
    struct mark_chunk *piece = opening->piece;
    struct mark_shape shape;

    if (!opening->mark->heap->shape(span, &shape))
        return;

    struct mark_span *of = mark_record(piece, piece->end);
    size_t granule = (span->base - port_direct_base()) / GRANULE_BYTES;

    of->span = span;
    of->scan_bytes = shape.scan_bytes;
    of->lead_bytes = (uint32_t)shape.lead_bytes;
    piece->records[granule % MARK_GRANULES] = piece->end;
    piece->end += (uint32_t)mark_record_bytes(span);
    opening->mark->spans++;
}

static bool mark_open_chunk(struct mark *mark, size_t chunk)
{
    struct mark_opening opening = {.mark = mark};

    span_each_in_chunk(chunk, mark_measure, &opening);
    if (opening.bytes == 0)
        return true;

    size_t pages = (sizeof(struct mark_chunk) + opening.bytes + PAGE_BYTES - 1) / PAGE_BYTES;

    opening.piece = mark_take(mark, pages);
    if (opening.piece == NULL)
        return false;
    opening.piece->pages = (uint32_t)pages;
    opening.piece->end = sizeof(struct mark_chunk);
    mark->chunks[chunk] = opening.piece;
    span_each_in_chunk(chunk, mark_add, &opening);
    return true;
}

static size_t mark_table_pages(const struct mark *mark)
{
    return (mark->chunk_count * sizeof(*mark->chunks) + PAGE_BYTES - 1) / PAGE_BYTES;
}

bool mark_open(struct mark *mark, const struct mark_heap *heap)
{
    *mark = (struct mark){.heap = heap, .chunk_count = page_chunk_limit()};
    mark->chunks = mark_take(mark, mark_table_pages(mark));
    if (mark->chunks == NULL)
        return false;
    for (size_t chunk = 0; chunk < mark->chunk_count; chunk++) {
        if (!mark_open_chunk(mark, chunk)) {
            mark_close(mark);
            return false;
        }
    }
    return true;
}

void mark_close(struct mark *mark)
{
    for (size_t chunk = 0; chunk < mark->chunk_count; chunk++)
        if (mark->chunks[chunk] != NULL)
            page_free(mark->chunks[chunk], mark->chunks[chunk]->pages);
    page_free(mark->chunks, mark_table_pages(mark));
    mark->chunks = NULL;
}

void mark_each_piece(const struct mark *mark, void (*fn)(uintptr_t start, uintptr_t end, void *arg),
                     void *arg)
{
    uintptr_t table = (uintptr_t)mark->chunks;

    fn(table, table + mark_table_pages(mark) * PAGE_BYTES, arg);
    for (size_t chunk = 0; chunk < mark->chunk_count; chunk++) {
        uintptr_t piece = (uintptr_t)mark->chunks[chunk];

        if (piece != 0)
            fn(piece, piece + mark->chunks[chunk]->pages * PAGE_BYTES, arg);
    }
}

/* ---- Marking ---- */

static void mark_queue(struct mark *mark, struct mark_span *of)
{
    of->next = NULL;
    if (mark->last != NULL)
        mark->last->next = of;
    else
        mark->first = of;
    mark->last = of;
}

/* A slot that is to be scanned has been marked. */
static void mark_notice(struct mark *mark, struct mark_span *of)
{
    if (atomic_load_explicit(&of->is_queued, memory_order_relaxed) == 0 &&
        atomic_exchange_explicit(&of->is_queued, 1, memory_order_relaxed) == 0)
        mark_queue(mark, of);
}

/* The slot of a span in which an address lies; slots or more: in none. */
static unsigned mark_slot(const struct mark_span *of, uintptr_t addr)
{
    return (unsigned)span_slot_index(of->span, (const void *)addr);
}

/* What a word refers to, if anything, is marked. */
static ALWAYS_INLINE void mark_word(struct mark *mark, uintptr_t word)
{
    struct span *span = span_of((const void *)word);

    if (LIKELY(span == NULL))
        return;

    struct mark_span *of = mark_find(mark, span);
    unsigned slots = span_slot_count(span), slot = 0;

    if (of == NULL)
        return;
    if (slots != 0) {
        slot = mark_slot(of, word);
        if (slot >= slots)
            return;
    }

    _Atomic uint64_t *marked = &mark_marked(of)[slot / 64];
    uint64_t bit = 1ull << slot % 64;

    if ((atomic_load_explicit(marked, memory_order_relaxed) & bit) != 0 ||
        !mark->heap->is_live(span, slot) ||
        (atomic_fetch_or_explicit(marked, bit, memory_order_relaxed) & bit) != 0)
        return;
    mark->marked_count++;
    mark_notice(mark, of);
}

MARK_READER void mark_range(struct mark *mark, uintptr_t start, uintptr_t end)
{
    const uintptr_t *at = (const uintptr_t *)ALIGN_UP(start, sizeof(uintptr_t));
    const uintptr_t *stop = (const uintptr_t *)ALIGN_DOWN(end, sizeof(uintptr_t));

    for (; at < stop; at++)
        mark_word(mark, *at);
}

/* ---- Scanning ---- */

static void mark_scan_slots(struct mark *mark, struct mark_span *of, unsigned word, uint64_t bits)
{
    for (; bits != 0; bits &= bits - 1) {
        unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);
        uintptr_t object = (uintptr_t)span_slot(of->span, slot) + of->lead_bytes;

        mark_range(mark, object, object + of->scan_bytes);
        mark->scan_bytes += of->scan_bytes;
    }
}

/* Scan what is marked and not scanned, what is marked meanwhile too; false: there was nothing. */
static bool mark_scan_pass(struct mark *mark, struct mark_span *of)
{
    _Atomic uint64_t *marked = mark_marked(of), *scanned = mark_scanned(of);
    unsigned words = mark_words(of->span);
    bool has_found = false;

    for (unsigned word = 0; word < words; word++) {
        uint64_t fresh;

        while ((fresh = atomic_load_explicit(&marked[word], memory_order_relaxed) &
                        ~atomic_load_explicit(&scanned[word], memory_order_relaxed)) != 0) {
            fresh &= ~atomic_fetch_or_explicit(&scanned[word], fresh, memory_order_relaxed);
            mark_scan_slots(mark, of, word, fresh);
            has_found = true;
        }
    }
    return has_found;
}

/* The next piece of a large object, which stands in the queue again if there is more. */
static void mark_scan_large(struct mark *mark, struct mark_span *of)
{
    size_t done = atomic_load_explicit(mark_scanned(of), memory_order_relaxed);
    size_t piece = MIN(of->scan_bytes - done, MARK_PIECE_BYTES);

    atomic_store_explicit(mark_scanned(of), done + piece, memory_order_relaxed);
    mark_range(mark, of->span->base + done, of->span->base + done + piece);
    mark->scan_bytes += piece;
    if (done + piece < of->scan_bytes)
        mark_queue(mark, of);
}

static void mark_scan_span(struct mark *mark, struct mark_span *of)
{
    if (span_slot_count(of->span) == 0) {
        mark_scan_large(mark, of);
        return;
    }
    while (mark_scan_pass(mark, of))
        continue;
    atomic_store_explicit(&of->is_queued, 0, memory_order_relaxed);
}

void mark_drain(struct mark *mark)
{
    while (mark->first != NULL) {
        struct mark_span *of = mark->first;

        mark->first = of->next;
        if (mark->first == NULL)
            mark->last = NULL;
        mark_scan_span(mark, of);
    }
}

/* ---- What was not found ---- */

struct mark_unmarked {
    const struct mark *mark;
    void (*fn)(const struct span *span, unsigned slot, void *arg);
    void *arg;
};

static void mark_unmarked_of(struct span *span, void *arg)
{
    const struct mark_unmarked *unmarked = arg;
    struct mark_span *of = mark_find(unmarked->mark, span);
    unsigned slots = MAX(span_slot_count(span), 1u);

    if (of == NULL)
        return;
    for (unsigned slot = 0; slot < slots; slot++) {
        uint64_t word = atomic_load_explicit(&mark_marked(of)[slot / 64], memory_order_relaxed);

        if ((word >> slot % 64 & 1) == 0 && unmarked->mark->heap->is_live(span, slot))
            unmarked->fn(span, slot, unmarked->arg);
    }
}

void mark_each_unmarked(const struct mark *mark,
                        void (*fn)(const struct span *span, unsigned slot, void *arg), void *arg)
{
    struct mark_unmarked unmarked = {mark, fn, arg};

    for (size_t chunk = 0; chunk < mark->chunk_count; chunk++)
        if (mark->chunks[chunk] != NULL)
            span_each_in_chunk(chunk, mark_unmarked_of, &unmarked);
}
