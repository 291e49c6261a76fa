/*
 * Many threads at once, all parked: what each takes, and that all of it comes back.
 *
 * threads=N says how many; a million need 8 GiB, and some minutes in QEMU.
 */
#include "kernel/cmdline.h"
#include "kernel/print.h"
#include "kernel/time.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/kernel/thread/crew.h"

#define MILLION_SHORT (__STDC_HOSTED__ ? 2000ul : 5000ul)
#define EACH_BYTES    (11 * KIB / 2) /* at most, all in: a page of stack, tables, struct thread */

static _Atomic size_t million_parked;
static _Atomic bool million_is_over;

static void million_parks(void *unused)
{
    (void)unused;
    atomic_fetch_add_explicit(&million_parked, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&million_is_over, memory_order_relaxed))
        thread_park();
}

static size_t million_start(struct thread **threads, size_t count)
{
    size_t made = 0;

    while (made < count &&
           (threads[made] = thread_create("parked", million_parks, NULL, NULL)) != NULL)
        made++;
    while (atomic_load_explicit(&million_parked, memory_order_relaxed) != made)
        thread_yield();
    return made;
}

static void million_end(struct thread **threads, size_t count)
{
    atomic_store_explicit(&million_is_over, true, memory_order_relaxed);
    for (size_t i = 0; i < count; i++)
        thread_wake(threads[i]);
    for (size_t i = 0; i < count; i++)
        thread_join(threads[i]);
}

/* The runner finds what does not come back. */
TEST(thread_million, parked_at_once)
{
    size_t count = settings.threads != 0 ? settings.threads : MILLION_SHORT;
    struct thread **threads = kmalloc(count * sizeof(*threads));
    uint64_t start = time_uptime_ns();

    REQUIRE(t, threads != NULL);
    atomic_store_explicit(&million_parked, 0, memory_order_relaxed);
    atomic_store_explicit(&million_is_over, false, memory_order_relaxed);
    mm_drain();

    size_t before = page_free_count();
    size_t made = million_start(threads, count);
    uint64_t parked = time_uptime_ns();

    mm_drain();

    size_t bytes = (before - page_free_count()) * PAGE_BYTES;

    EXPECT(t, made == count && bytes <= count * EACH_BYTES);
    million_end(threads, made);
    printk(
        "# %zu threads: %zu bytes each; %lu ms until all were parked, %lu ms until all were gone\n",
        made, bytes / MAX(made, 1ul), (parked - start) / 1000000,
        (time_uptime_ns() - start) / 1000000);
    mm_drain();
    EXPECT(t, page_free_count() == before);
    kfree(threads);
}
