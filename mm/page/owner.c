/*
 * Owners of pages (page_owner=1): the backtraces of a run's allocation and of its free.
 *
 * A table by page number, flat and backed arena by arena like the heap's own, with one record per
 * page: 136 bytes, 3.3 % of memory, which is why it is there only when asked for.  A run's record
 * stands at its first page; the others say how far back that is.  A record stays when its run is
 * freed, until its pages go out again: so a page that is free shows who had it and who gave it up.
 *
 * A page's way back may be stale: the first page has gone out again, in a shorter run.  Then the
 * length there says that the page is not of it, and its last owner is not known.
 *
 * Records are written by who owns the pages, without a lock; reports read what they find.
 */
#include "mm/page/debug.h"

#include "mm/page/arena.h"

struct page_owner {
    uintptr_t alloc[PAGE_OWNER_FRAMES]; /* return addresses, innermost first; 0: no more */
    uintptr_t free[PAGE_OWNER_FRAMES];  /* likewise; all 0: not freed since */
    uint32_t pages;                     /* of the run that starts here; 0: none did */
    uint32_t back;                      /* pages back to the first of the run last seen here */
};

static struct {
    struct page_owner *records; /* [C] by page number; NULL: off */
    size_t page_limit;          /* [C] */
} page_owner;

void page_owner_init(void)
{
    page_owner.records =
        page_arena_table("page_owner=1", PAGE_ARENA_PAGES * sizeof(struct page_owner));
    page_owner.page_limit = page_arena_limit() * PAGE_ARENA_PAGES;
}

size_t page_owner_bytes(void)
{
    return page_arena_table_bytes(page_owner.records);
}

/* The callers, less the page heap's own function that asks. */
static void owner_backtrace(uintptr_t *frames)
{
    uintptr_t pcs[PAGE_OWNER_FRAMES + 1];
    size_t count = port_backtrace(pcs, ARRAY_COUNT(pcs));

    for (size_t i = 0; i < PAGE_OWNER_FRAMES; i++)
        frames[i] = i + 1 < count ? pcs[i + 1] : 0;
}

NOINLINE void page_owner_note_alloc(size_t page, size_t pages)
{
    struct page_owner *record = &page_owner.records[page];

    for (size_t i = 0; i < pages; i++) {
        record[i].pages = 0;
        record[i].back = (uint32_t)i;
    }
    record->pages = (uint32_t)pages;
    owner_backtrace(record->alloc);
    record->free[0] = 0;
}

NOINLINE void page_owner_note_free(size_t page, size_t pages)
{
    (void)pages;
    owner_backtrace(page_owner.records[page].free);
}

static void owner_print_frames(const char *what, const uintptr_t *frames)
{
    size_t count = 0;

    while (count < PAGE_OWNER_FRAMES && frames[count] != 0)
        count++;
    if (count == 0)
        return;
    port_print("  %s by:\n", what);
    port_backtrace_print(frames, count);
}

void page_owner_print(size_t page)
{
    if (page_owner.records == NULL || page >= page_owner.page_limit)
        return;

    size_t back = page_owner.records[page].back;
    const struct page_owner *record = &page_owner.records[page - back];

    if (record->pages <= back)
        return;
    port_print("  last seen as page %zu of %u from %#lx on\n", back, record->pages,
               (page - back) * PAGE_BYTES);
    owner_print_frames("allocated", record->alloc);
    owner_print_frames("freed", record->free);
}
