/*
 * What is kept of stacks that are not in use, and what waits for a flush (mm/stack/stack.h).
 *
 *     create  <-  kept, of a CPU  <-->  pool  <-  waiting  <-  destroy, where it had grown
 *
 * Pages that were unmapped wait, and so does their stack, until a flush: when 64 pages or stacks
 * wait, under pressure, or when all is drained.  Stacks then go to the pool, as far as there is room;
 * the rest's pages, page tables and addresses become free in the same flush, under the lock
 * throughout: nobody can have such an address before it is done.
 *
 * Locks: STACKS.  A flush is by NMI and waits for nobody's interrupts (arch.h).
 */
#include "mm/page/page.h"
#include "mm/stack/stack_impl.h"

port_lock_t stack_lock = PORT_LOCK_INIT(STACKS);

static struct {
    struct stack_pages pages; /* [STACKS] unmapped */
    struct stack_pages ready; /* [STACKS] flushed; freed by who unlocks */
    struct {
        uintptr_t top;
        size_t bytes;
    } stacks[STACK_WAIT_MAX]; /* [STACKS] their first pages are mapped still */
    unsigned stack_count;
    uint64_t flushes;
} waiting;

static struct {
    uintptr_t tops[STACK_POOL_MAX]; /* [STACKS] */
    unsigned count;
} pool;

static _Atomic uint64_t stack_shrinkings; /* [A] the last number given; acq_rel */
static _Atomic uint64_t stack_flushed;    /* [A] all CPUs have flushed since that one; acq_rel */

/* ---- Flushes ---- */

bool stack_flush_is_due(uint64_t number)
{
    return number > atomic_load_explicit(&stack_flushed, memory_order_acquire);
}

uint64_t stack_flush_number_next(void)
{
    return atomic_fetch_add_explicit(&stack_shrinkings, 1, memory_order_acq_rel) + 1;
}

uint64_t stack_flush_number(void)
{
    return atomic_load_explicit(&stack_shrinkings, memory_order_acquire);
}

/*
 * A number is given when its pages have been unmapped, and read before the flush: so all that the
 * number covers is flushed.
 */
void stack_flush_everywhere(void)
{
    uint64_t number = stack_flush_number();

    port_stack_flush_all();

    uint64_t flushed = atomic_load_explicit(&stack_flushed, memory_order_relaxed);

    while (flushed < number &&
           !atomic_compare_exchange_weak_explicit(&stack_flushed, &flushed, number,
                                                  memory_order_acq_rel, memory_order_relaxed))
        continue;
}

void stack_wait_page_locked(void *page)
{
    stack_pages_add(&waiting.pages, page);
}

/* Its first page and its addresses wait for the flush that follows before the lock is let go. */
static void stack_release_locked(uintptr_t top, size_t bytes)
{
    void *page = port_stack_unmap(top - PAGE_BYTES);

    if (page != NULL)
        stack_count(&port_this_cpu(stack_cpu)->pages, -1);
    stack_wait_page_locked(page);
    stack_space_give_locked(top - bytes, bytes);
}

/* Flush for all that waits, so that so many stacks at most are in the pool afterwards. */
void stack_flush_locked(unsigned pool_max)
{
    bool is_idle = waiting.stack_count == 0 && waiting.pages.count == 0 && pool.count <= pool_max;

    if (is_idle)
        return;
    while (pool.count > pool_max)
        stack_release_locked(pool.tops[--pool.count], STACK_DEFAULT_BYTES);
    for (unsigned i = 0; i < waiting.stack_count; i++) {
        if (waiting.stacks[i].bytes == STACK_DEFAULT_BYTES && pool.count < pool_max)
            pool.tops[pool.count++] = waiting.stacks[i].top;
        else
            stack_release_locked(waiting.stacks[i].top, waiting.stacks[i].bytes);
    }
    waiting.stack_count = 0;
    waiting.flushes++;
    stack_flush_everywhere();
    while (waiting.pages.first != NULL) {
        void **page = waiting.pages.first;

        waiting.pages.first = *page;
        stack_pages_add(&waiting.ready, page);
    }
    waiting.pages.count = 0;
}

void stack_unlock(unsigned long irq)
{
    struct stack_pages ready = waiting.ready;

    waiting.ready = (struct stack_pages){NULL, 0};
    port_unlock(&stack_lock, irq);
    while (ready.first != NULL) {
        void **page = ready.first;

        ready.first = *page;
        page_free(page, 1);
    }
}

void stack_wait_locked(uintptr_t top, size_t bytes)
{
    waiting.stacks[waiting.stack_count].top = top;
    waiting.stacks[waiting.stack_count++].bytes = bytes;
    if (waiting.stack_count == STACK_WAIT_MAX || waiting.pages.count >= STACK_WAIT_MAX)
        stack_flush_locked(STACK_POOL_MAX);
}

void stack_wait_pages_locked(struct stack_pages *pages)
{
    while (pages->first != NULL) {
        void **page = pages->first;

        pages->first = *page;
        stack_wait_page_locked(page);
    }
}

void stack_give_pages(struct stack_pages *pages)
{
    unsigned long irq = port_lock(&stack_lock);

    stack_wait_pages_locked(pages);
    if (waiting.pages.count >= STACK_WAIT_MAX)
        stack_flush_locked(STACK_POOL_MAX);
    stack_unlock(irq);
}

/* ---- Stacks that are kept ---- */

static void stack_pool_add_locked(uintptr_t top)
{
    if (pool.count < STACK_POOL_MAX)
        pool.tops[pool.count++] = top;
    else
        stack_wait_locked(top, STACK_DEFAULT_BYTES);
}

/* All but `left` of what this CPU keeps.  Interrupts are off. */
void stack_kept_give(unsigned left)
{
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);
    unsigned long irq = port_lock(&stack_lock);

    while (cpu->kept_count > left)
        stack_pool_add_locked(cpu->kept[--cpu->kept_count]);
    stack_unlock(irq);
}

/* One from the pool, and a few for this CPU to keep; 0: it is empty. */
uintptr_t stack_pool_take(void)
{
    unsigned long irq = port_lock(&stack_lock);
    struct stack_cpu *cpu = port_this_cpu(stack_cpu);
    uintptr_t top = 0;

    if (pool.count != 0)
        top = pool.tops[--pool.count];
    while (pool.count != 0 && cpu->kept_count < STACK_KEPT_MAX / 2 && !port_fault_is_armed())
        cpu->kept[cpu->kept_count++] = pool.tops[--pool.count];
    stack_unlock(irq);
    return top;
}

/* ---- Draining ---- */

static void stack_drain_this_cpu(void *unused)
{
    (void)unused;
    stack_kept_give(0);
}

static void stack_drain_shared(void)
{
    unsigned long irq = port_lock(&stack_lock);

    stack_flush_locked(0);
    stack_unlock(irq);
}

static void stack_refill_this_cpu(void *unused)
{
    (void)unused;
    stack_refill();
}

void stack_drain(void)
{
    port_call_all(stack_drain_this_cpu, NULL);
    stack_drain_shared();
    port_call_all(stack_refill_this_cpu, NULL);
}

void stack_shrink_memory(size_t pages)
{
    (void)pages;
    port_call_all(stack_drain_this_cpu, NULL);
    stack_drain_shared();
}

static void stack_drain_armed(void)
{
    stack_kept_give(0);
    stack_drain_shared();
}
PORT_FAULT_HOOK(stack_drain_armed);

/* ---- Accounts ---- */

void stack_shared_stats_locked(struct stack_stats *stats)
{
    stats->kept += pool.count + waiting.stack_count;
    stats->waiting_bytes = waiting.pages.count * PAGE_BYTES;
    stats->flushes = waiting.flushes;
}

size_t stack_shared_each_locked(void (*fn)(uintptr_t top, size_t bytes))
{
    size_t slots = pool.count;

    for (unsigned i = 0; i < pool.count; i++)
        fn(pool.tops[i], STACK_DEFAULT_BYTES);
    for (unsigned i = 0; i < waiting.stack_count; i++) {
        fn(waiting.stacks[i].top, waiting.stacks[i].bytes);
        slots += waiting.stacks[i].bytes / STACK_DEFAULT_BYTES;
    }
    return slots;
}

/* ---- Pages ---- */

void stack_wait_each_page(stack_page_fn *fn, void *arg)
{
    for (unsigned i = 0; i < pool.count; i++)
        stack_page(port_stack_page(pool.tops[i] - PAGE_BYTES), fn, arg);
    for (unsigned i = 0; i < waiting.stack_count; i++)
        stack_page(port_stack_page(waiting.stacks[i].top - PAGE_BYTES), fn, arg);
    for (void **page = waiting.pages.first; page != NULL; page = *page)
        stack_page(page, fn, arg);
}
