/*
 * Debugging of pages: poison and owners, each a setting, both off by default.
 *
 *     page_poison=1  a free page holds a pattern, which is verified when the page is handed out:
 *                    who writes to a page that is not his is found               mm/page/poison.c
 *     page_owner=1   who allocated a page and who freed it, as backtraces        mm/page/owner.c
 *
 * While either is on no CPU takes a window, so that every request comes by the heap's slow paths,
 * which call the functions below; the fast paths know nothing of it and cost nothing.
 */
#pragma once

#include "mm/page/page_heap.h"

#define PAGE_OWNER_FRAMES 8u

struct page_debug {
    bool is_on;      /* [C] after start-up: any of it */
    bool has_poison; /* [C] likewise */
    bool has_owners; /* [C] likewise */
};
extern struct page_debug page_debug;

static inline bool page_debug_is_on(void)
{
    return UNLIKELY(page_debug.is_on);
}

static inline bool page_debug_poisons(void)
{
    return page_debug.has_poison;
}

/* ---- At start-up, from page_init.c ---- */

void page_debug_init(void);                     /* read the settings; create the table */
void page_debug_add(size_t page, size_t pages); /* these will be free pages of the heap */

/* ---- Only while page_debug_is_on(); the caller owns the pages; no lock held ---- */

void page_debug_alloc(size_t page, size_t pages); /* verify, and note who has them */
void page_debug_free(size_t page, size_t pages);  /* note who gave them up, and poison */

/* ---- Reports; any context ---- */

/* Who has the page, or had it last; nothing where that is not known. */
void page_owner_print(size_t page);

/* ---- What the two parts are made of ---- */

void page_poison_fill(size_t page, size_t pages);
void page_poison_verify(size_t page, size_t pages); /* panics at a page that does not hold it */

void page_owner_init(void);
void page_owner_note_alloc(size_t page, size_t pages);
void page_owner_note_free(size_t page, size_t pages);
size_t page_owner_bytes(void); /* what backs the table, page tables included */
