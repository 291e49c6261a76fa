/*
 * Arenas: tables by address, backed for the arenas that have memory.  (The theory stands in
 * mm/page/arena.c, how memory opens in mm/page/page_init.c.)
 */
#pragma once

#include "mm/page/page_heap.h"

#define PAGE_ARENA_TABLES_MAX 4u

/*
 * page_arena_table -- a flat table with so many bytes for each arena, from physical address 0 on.
 *   what     its name, for a panic: there are no addresses, or no place for one more
 *   returns  where it starts; it reads as zero, and can be written for an arena in which a page is
 *            the page heap's
 *   context  between page_heap_init and page_heap_start
 */
void *page_arena_table(const char *what, size_t arena_bytes);
/* The same at an address, page-aligned, in what port_table_reserve gave. */
void page_arena_table_at(const char *what, void *base, size_t arena_bytes);
size_t page_arena_table_bytes(const void *table); /* what backs it, page tables included */

size_t page_arena_limit(void); /* arenas that tables speak of */

/* ---- For page_init.c ---- */

/* Pages [page, end) that become tables, from their end downwards; what is left stays memory. */
struct page_store {
    size_t page; /* [C] */
    size_t end;  /* [L] ARENAS' */
};

void page_arenas_init(size_t page_limit); /* places the heaps' own tables */

/* Pages that tables take for so many arenas, in so many separate groups: at most. */
size_t page_arenas_cost(size_t count, size_t groups);

/*
 * page_arenas_back -- back all tables for the arenas that [page, end) of a heap touches.
 *   store    gives the pages
 *   returns  false: it had too little, and what it gave is lost; no page may be added
 *   context  irq; several CPUs may draw on one store
 * Before pages are added: port_table_flush(), once for as many calls as there were.
 */
bool page_arenas_back(const struct page_heap *heap, size_t page, size_t end,
                      struct page_store *store);
