/*
 * Draining: what a CPU holds of pages goes back to the heaps: its window (page_window.c), its kept
 * chunk (kept_chunk.c) and the frees that its list has pending (pending.c).
 *
 * When all of memory is wanted, every CPU drains, each on its own; a CPU that is idle does once it
 * has not used for a while what it holds; and one on which a fault is armed, so that every request
 * acquires.
 */
#include "mm/page/kept_chunk.h"
#include "mm/page/page.h"
#include "mm/page/page_window.h"
#include "mm/page/pending.h"

#define DRAIN_IDLES_PER_SECOND 10u /* unused so long on an idle CPU: 1 / 10 s, it goes back */

/* What an idle CPU held when it looked last, and the port_ticks() since when. */
struct drain_idle {
    uint64_t window;  /* [P] */
    unsigned pending; /* [P] */
    uint64_t since;   /* [P] */
};

static PORT_PERCPU(struct drain_idle, drain_idle);

PORT_STAT(page, idle_drain);

void page_drain_this_cpu(void *unused)
{
    (void)unused;
    page_window_return();
    page_chunk_drain_this_cpu();
    page_pending_drain();
}

void page_drain_all(void)
{
    port_call_all(page_drain_this_cpu, NULL);
}

static bool page_drain_idle(void)
{
    unsigned long irq_state = port_irq_save();
    struct drain_idle *idle = port_this_cpu(drain_idle);
    struct drain_idle now = {page_window_free(), page_pending_blocks() + page_chunk_is_kept(),
                             port_ticks()};

    bool has_any = page_window_heap() != NULL || now.pending != 0;

    if (!has_any || now.window != idle->window || now.pending != idle->pending) {
        *idle = now;
    } else if (now.since - idle->since > port_ticks_per_second() / DRAIN_IDLES_PER_SECOND) {
        port_stat_inc(page, idle_drain);
        page_drain_this_cpu(NULL);
        has_any = false;
    }
    port_irq_restore(irq_state);
    if (has_any)
        port_idle_again(port_ticks_per_second() / DRAIN_IDLES_PER_SECOND);
    return false;
}
PORT_IDLE_WORK(page_drain_idle);

static void page_drain_armed(void)
{
    page_drain_this_cpu(NULL);
}
PORT_FAULT_HOOK(page_drain_armed);
