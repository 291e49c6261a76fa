/* Shrinkers; the theory stands in mm/page/shrink.h. */
#include "mm/page/shrink.h"

#include "mm/page/page.h"

PORT_STAT(page, shrinks);

static struct page_shrinker *_Atomic shrink_first; /* [A] the list; release / acquire */
static PORT_PERCPU(_Atomic bool, shrink_runs);     /* [A] relaxed: begun on this CPU */

void page_shrinker_register(struct page_shrinker *shrinker)
{
    struct page_shrinker *first = atomic_load_explicit(&shrink_first, memory_order_relaxed);

    do {
        shrinker->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&shrink_first, &first, shrinker,
                                                    memory_order_release, memory_order_relaxed));
}

const struct page_shrinker *page_shrinker_first(void)
{
    return atomic_load_explicit(&shrink_first, memory_order_acquire);
}

static void shrink_call(struct page_shrinker *shrinker, size_t pages)
{
    size_t before = page_free_count();

    shrinker->shrink(pages);

    size_t after = page_free_count();

    atomic_fetch_add_explicit(&shrinker->runs, 1, memory_order_relaxed);
    if (after > before)
        atomic_fetch_add_explicit(&shrinker->freed_pages, after - before, memory_order_relaxed);
}

bool page_shrink(size_t pages)
{
    if (!port_can_wait())
        return false;

    unsigned long irq_state = port_irq_save();
    _Atomic bool *runs = port_this_cpu(shrink_runs); /* cleared there, wherever this flow is then */
    bool is_nested = atomic_exchange_explicit(runs, true, memory_order_relaxed);

    port_irq_restore(irq_state);
    if (is_nested)
        return false;

    struct page_shrinker *next = atomic_load_explicit(&shrink_first, memory_order_acquire);

    port_stat_inc(page, shrinks);
    for (; next != NULL; next = next->next)
        shrink_call(next, pages);
    page_drain_all();
    atomic_store_explicit(runs, false, memory_order_relaxed);
    return true;
}
