/* What the files of mm/stack share. */
#pragma once

#include "mm/stack/stack.h"

#define STACK_KEPT_MAX 16u /* stacks of default size, one page each, that a CPU keeps */
#define STACK_POOL_MAX 64u /* likewise for all CPUs */
#define STACK_WAIT_MAX 64u /* pages, or stacks, that wait for one flush */

/* Lock letters: [P] this CPU only, interrupts off; [F] its handler of page faults only; [A] atomic. */
struct stack_cpu {
    unsigned kept_count;            /* [P] */
    uintptr_t kept[STACK_KEPT_MAX]; /* [P] tops */

    void *_Atomic reserve[STACK_RESERVE_PAGES]; /* [A] relaxed, likewise */

    /* [A] relaxed; only this CPU writes, so they are differences if a stack moves */
    _Atomic int64_t stacks;       /* [P] created less destroyed */
    _Atomic int64_t slots;        /* [P] of these: in STACK_DEFAULT_BYTES */
    _Atomic int64_t pages;        /* [P] mapped less unmapped, but by the handler */
    _Atomic int64_t grown;        /* [F] pages mapped by it */
    _Atomic int64_t faults;       /* [F] */
    _Atomic int64_t reserve_used; /* [F] */
};

extern PORT_PERCPU(struct stack_cpu, stack_cpu);

/* One CPU writes it, in one context: no atomic addition is needed. */
static inline void stack_count(_Atomic int64_t *counter, int64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Pages, linked through their first words in the direct map.  {NULL, 0}: none. */
struct stack_pages {
    void **first;
    size_t count;
};

static inline void stack_pages_add(struct stack_pages *pages, void *page)
{
    if (page == NULL)
        return;
    *(void **)page = pages->first;
    pages->first = page;
    pages->count++;
}

/* stack_wait.c: what is kept, what waits */
extern port_lock_t stack_lock;
void stack_unlock(unsigned long irq);                    /* and free what a flush has made free */
void stack_wait_page_locked(void *page);                 /* free it after the next flush */
void stack_wait_pages_locked(struct stack_pages *pages); /* likewise; none are left */
void stack_wait_locked(uintptr_t top, size_t bytes);     /* likewise, with its first page */
void stack_flush_locked(unsigned pool_max);       /* now; so many stacks at most stay in the pool */
void stack_give_pages(struct stack_pages *pages); /* as stack_wait_pages_locked, with the lock */

void stack_kept_give(unsigned left); /* of this CPU's, all but so many; interrupts are off */
uintptr_t stack_pool_take(void);     /* and a few for this CPU; 0: none */
void stack_shrink_memory(size_t pages);

/* fn for a page, if it is one; and for those in the pool, and that wait.  All CPUs stand still. */
static inline void stack_page(void *page, stack_page_fn *fn, void *arg)
{
    if (page != NULL)
        fn((uintptr_t)page, (uintptr_t)page + PAGE_BYTES, arg);
}
void stack_wait_each_page(stack_page_fn *fn, void *arg);

void stack_shared_stats_locked(struct stack_stats *stats);
size_t stack_shared_each_locked(void (*fn)(uintptr_t top, size_t bytes)); /* returns their slots */

void stack_flush_everywhere(void);        /* all CPUs; any but NMI */
bool stack_flush_is_due(uint64_t number); /* not since that shrinking; any context */
uint64_t stack_flush_number_next(void);   /* of a shrinking whose pages are unmapped */
uint64_t stack_flush_number(void);        /* of the last one */

/* stack_fault.c */
bool stack_fault(uintptr_t addr, bool irq_was_on); /* see kernel_page_fault in arch/arch.h */
bool stack_explain_fault(uintptr_t addr, bool is_write, char *text, size_t bytes);

/*
 * stack_space.c -- addresses.  `bytes` is a power of two, STACK_DEFAULT_BYTES .. STACK_MAX_BYTES.
 *
 *   take  the lowest that are free, with page tables; 0: none, or no memory: to be followed by a
 *         flush too
 *   give  back; the next take must come after a flush of all CPUs
 */
void stack_space_init(void);
uintptr_t stack_space_take_locked(size_t bytes);
void stack_space_give_locked(uintptr_t base, size_t bytes);
bool stack_space_is_taken_locked(uintptr_t base, size_t bytes);
size_t stack_space_table_pages_locked(void);
size_t stack_space_check_locked(void); /* S1 .. S4; returns the slots that are taken */
