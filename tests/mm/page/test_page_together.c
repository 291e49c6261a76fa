/*
 * Frees that come together: what one CPU's look at a page misses, since another frees it, or a page
 * beside it, a moment later.  Which instruction the other comes at is not left to chance.
 */
#include "arch/sequence.h"
#include "kernel/cpus.h"
#include "mm/page/debug.h"
#include "mm/page/page.h"
#include "mm/page/page_heap.h"
#include "tests/arch/step.h"
#include "tests/mm/page/private_heap.h"
#include "tests/test.h"

#define RUN_PAGES   20u  /* more than a window hands out */
#define INTER_TRIES 128u /* of a free's instructions, all if they are fewer */
#define LATE_TRIES  (CONFIG_DEBUG ? 100u : 1000u) /* of a collector's, likewise */

#define COLLECT_STEPS 48u /* of a collector, past its one look at what is remote */

static bool steps_are_many(struct test *t)
{
    if (!ARCH_HAS_SEQUENCES)
        test_skip(t, "built without sequences: instrumented, it takes many more instructions");
    return !ARCH_HAS_SEQUENCES;
}

/* ---- A free, and at one of its instructions an interrupt whose handler frees the same run ---- */

static struct {
    void *run;
    unsigned at, steps;
    struct cpu_post post;
} inter;

static void inter_free(void *unused)
{
    (void)unused;
    page_free(inter.run, RUN_PAGES);
}

static void inter_before(uintptr_t pc)
{
    (void)pc;
    if (++inter.steps != inter.at)
        return;
    cpu_post(&inter.post, port_cpu_id(), inter_free, NULL);
    step_end(); /* what is left may be a panic, which takes long */
}

static void inter_run(void *unused)
{
    (void)unused;
    inter.steps = 0;
    step_run(inter_free, NULL, inter_before);
    if (inter.steps < inter.at) /* it was shorter than another */
        inter_free(NULL);
}

TEST(page_pending, a_run_freed_twice_at_once_is_found)
{
    void *other = page_alloc_aligned(RUN_PAGES, 32, 0, 0);
    void *run = page_alloc_aligned(RUN_PAGES, 32, 0, 0);

    REQUIRE(t, other != NULL && run != NULL);
    if (steps_are_many(t) || page_debug_is_on()) {
        page_free(other, RUN_PAGES);
        page_free(run, RUN_PAGES);
        return;
    }
    page_drain_all();
    inter.run = other;
    inter.at = 0;
    inter_run(NULL); /* undisturbed, to see how many instructions it takes */
    inter.run = run;
    for (unsigned steps = inter.steps, at = 1; at <= steps; at += 1 + steps / INTER_TRIES) {
        inter.at = at;
        EXPECT_PANIC(t, inter_run, NULL, "double free");
    }
    page_free(run, RUN_PAGES);
    page_check();
}

/* ---- A collector, and at one of its instructions a free by another CPU ---- */

static struct {
    struct private_heap private;
    struct page_block *block;
    unsigned at, steps;
    uint64_t before; /* what the free has found in `remote` */
} late;

static void late_collect(void *unused)
{
    (void)unused;
    page_heap_collect(&late.private.heap, PAGE_DMA_PAGES / PAGE_BLOCK_PAGES);
}

static void late_before(uintptr_t pc)
{
    (void)pc;
    if (++late.steps != late.at)
        return;
    late.before = atomic_fetch_or_explicit(&late.block->remote, 2, memory_order_acq_rel);
    step_end();
}

/* Who finds other bits beside his leaves his to the collector. */
static bool late_free(struct test *t)
{
    struct page_heap *heap = &late.private.heap;
    unsigned long irq_state = page_heap_lock(heap);

    page_heap_take(heap, PAGE_DMA_PAGES, 1);
    page_heap_take(heap, PAGE_DMA_PAGES + 1, 1);
    atomic_store_explicit(&late.block->remote, 1, memory_order_relaxed);
    heap->remote_pages = 2;
    late.before = late.steps = 0;
    step_run(late_collect, NULL, late_before);
    EXPECT(t, late.before == 0 || page_block_remote(late.block) == 0);

    bool was_late = late.steps >= late.at;

    if (!was_late)
        atomic_store_explicit(&late.block->remote, 2, memory_order_relaxed);
    page_heap_collect(heap, PAGE_DMA_PAGES / PAGE_BLOCK_PAGES);
    EXPECT(t, ~page_block_free(late.block) == 0 && heap->remote_pages == 0);
    page_heap_unlock(heap, irq_state);
    return was_late;
}

TEST(page_pending, a_free_beside_a_collector_is_collected)
{
    if (steps_are_many(t))
        return;
    REQUIRE(t, private_heap_create(&late.private, 2 * PAGE_DMA_PAGES));
    private_heap_add(&late.private, PAGE_DMA_PAGES, CHUNK_PAGES);
    late.block = &late.private.heap.blocks[PAGE_DMA_PAGES / PAGE_BLOCK_PAGES];
    late.at = UINT32_MAX;
    EXPECT(t, !late_free(t)); /* undisturbed, to see how many instructions it takes */

    unsigned steps = late.steps;

    EXPECT(t, steps > COLLECT_STEPS);
    for (late.at = 1; late.at <= steps && t->failures == 0; late.at += 1 + steps / LATE_TRIES)
        (void)late_free(t);
    page_heap_check(&late.private.heap);
    private_heap_destroy(&late.private);
}

/* The same, but the page that the other CPU frees is free. */
static void late_twice_before(uintptr_t pc)
{
    (void)pc;
    if (++late.steps != late.at)
        return;
    atomic_fetch_or_explicit(&late.block->remote, 4, memory_order_acq_rel);
    step_end();
}

static void late_free_twice(void *unused)
{
    struct page_heap *heap = &late.private.heap;

    (void)unused;
    (void)page_heap_lock(heap);
    page_heap_take(heap, PAGE_DMA_PAGES, 1);
    atomic_store_explicit(&late.block->remote, 1, memory_order_relaxed);
    heap->remote_pages = 2;
    late.steps = 0;
    step_run(late_collect, NULL, late_twice_before);
    page_heap_collect(heap, PAGE_DMA_PAGES / PAGE_BLOCK_PAGES); /* what came later */
}

TEST(page_pending, a_free_of_a_free_page_beside_a_collector_is_found)
{
    if (steps_are_many(t))
        return;
    REQUIRE(t, private_heap_create(&late.private, 2 * PAGE_DMA_PAGES));
    private_heap_add(&late.private, PAGE_DMA_PAGES, CHUNK_PAGES);
    late.block = &late.private.heap.blocks[PAGE_DMA_PAGES / PAGE_BLOCK_PAGES];
    for (late.at = 1; late.at <= COLLECT_STEPS; late.at++)
        EXPECT_PANIC(t, late_free_twice, NULL, "double free, by two CPUs at once");
    private_heap_destroy(&late.private);
}

/* ---- A page that is free has been freed once more, when it is looked at ---- */

static struct private_heap twice;

static struct page_heap *twice_heap(void)
{
    struct page_heap *heap = &twice.heap;

    heap->lock = (port_lock_t)PORT_LOCK_INIT(PAGE_HEAP); /* panics leave it locked */
    (void)page_heap_lock(heap);
    return heap;
}

static void take_run_freed_twice(void *unused)
{
    (void)unused;
    page_heap_take(twice_heap(), PAGE_DMA_PAGES + 8, 4);
}

static void take_chunk_freed_twice(void *unused)
{
    (void)unused;
    page_heap_take(twice_heap(), PAGE_DMA_PAGES, CHUNK_PAGES);
}

static void hold_freed_twice(void *unused)
{
    (void)unused;
    page_heap_hold(twice_heap(), PAGE_DMA_PAGES / PAGE_BLOCK_PAGES, 0);
}

static void collect_freed_twice(void *unused)
{
    (void)unused;
    page_heap_collect(twice_heap(), PAGE_DMA_PAGES / PAGE_BLOCK_PAGES);
}

TEST(page_pending, a_page_freed_twice_at_once_is_not_handed_out)
{
    REQUIRE(t, private_heap_create(&twice, 2 * PAGE_DMA_PAGES));
    private_heap_add(&twice, PAGE_DMA_PAGES, CHUNK_PAGES);
    atomic_store_explicit(&twice.heap.blocks[PAGE_DMA_PAGES / PAGE_BLOCK_PAGES].remote, 1ull << 10,
                          memory_order_relaxed);
    EXPECT_PANIC(t, take_run_freed_twice, NULL, "double free, by two CPUs at once");
    EXPECT_PANIC(t, take_chunk_freed_twice, NULL, "double free, by two CPUs at once");
    EXPECT_PANIC(t, hold_freed_twice, NULL, "double free, by two CPUs at once");
    EXPECT_PANIC(t, collect_freed_twice, NULL, "double free, by two CPUs at once");
    private_heap_destroy(&twice);
}
