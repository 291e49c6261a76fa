/*
 * Growing: faults at every depth, interrupts on and off, a lock held, in the middle of the page heap's
 * code; probes; shrinking.
 */
#include "kernel/base/string.h"
#include "mm/page/page.h"
#include "mm/stack/stack.h"
#include "tests/mm/stack/on_stack.h"
#include "tests/test.h"

#define FRAME_WORDS 40u

static struct stack fault_stack;

static bool fault_is_skipped(struct test *t)
{
    if (!PORT_STACK_FAULTS)
        test_skip(t, "the thread sanitizer's own code runs on stacks: they do not grow by faults");
    return !PORT_STACK_FAULTS;
}

/* Page i, from the top. */
static volatile uint64_t *page_word(const struct stack *stack, size_t page)
{
    return (uint64_t *)(stack->top - (page + 1) * PAGE_BYTES);
}

static size_t backed_pages(const struct stack *stack)
{
    return (stack->top - stack->backed) / PAGE_BYTES;
}

/* ---- Every depth ---- */

struct descent {
    uintptr_t low;       /* how deep to go */
    uint64_t *outermost; /* in the first frame */
    unsigned frames;
    bool is_damaged;
};

/* Each frame's words must be as they were when it is back, and the first frame's at the deepest. */
static NOINLINE void descend(struct descent *descent, unsigned depth)
{
    volatile uint64_t words[FRAME_WORDS];

    for (unsigned i = 0; i < FRAME_WORDS; i++)
        words[i] = depth * 1000ul + i;
    if (depth == 0)
        descent->outermost = (uint64_t *)words;
    if ((uintptr_t)words > descent->low + 1024) {
        descend(descent, depth + 1);
    } else {
        descent->frames = depth;
        descent->is_damaged |= descent->outermost[7] != 7;
        descent->outermost[8] = 88;
    }
    for (unsigned i = 0; i < FRAME_WORDS; i++)
        descent->is_damaged |= words[i] != depth * 1000ul + i && !(depth == 0 && i == 8);
    if (depth == 0)
        descent->is_damaged |= words[8] != 88;
}

static void descend_all(void *arg)
{
    descend(arg, 0);
}

TEST(stack, recursion_to_the_limit)
{
    if (fault_is_skipped(t))
        return;
    static const size_t sizes[] = {STACK_DEFAULT_BYTES, 2 * MIB};

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct descent descent = {.low = 0};

        REQUIRE(t, stack_create(&fault_stack, sizes[i]));
        descent.low = fault_stack.limit;
        on_stack_run(&fault_stack, fault_stack.top, descend_all, &descent);
        EXPECT(t, descent.frames > 50 && !descent.is_damaged);
        EXPECT(t, fault_stack.backed == fault_stack.limit);
        EXPECT(t, fault_stack.deepest == fault_stack.limit);
        stack_destroy(&fault_stack);
    }
}

/* Pages come from the reserve where interrupts are off, a lock is held, and only there. */
static port_lock_t fault_lock = PORT_LOCK_INIT(TEST);
static struct stack_stats fault_stats;

/* Counted with the lock held: behind it a tick may refill the reserve. */
static void descend_locked(void *arg)
{
    unsigned long irq = port_lock(&fault_lock);

    descend(arg, 0);
    fault_stats = stack_stats();
    port_unlock(&fault_lock, irq);
}

TEST(stack, grows_with_a_lock_held_by_its_reserve)
{
    if (fault_is_skipped(t))
        return;
    stack_refill();
    REQUIRE(t, stack_create(&fault_stack, 0));

    struct descent descent = {.low = fault_stack.top - 12 * PAGE_BYTES};
    struct stack_stats before = stack_stats();

    on_stack_run(&fault_stack, fault_stack.top, descend_locked, &descent);
    EXPECT(t, descent.frames > 50 && !descent.is_damaged);
    EXPECT(t, fault_stats.reserve_used - before.reserve_used == backed_pages(&fault_stack) - 1);
    EXPECT(t, before.reserve_bytes - fault_stats.reserve_bytes ==
                  (backed_pages(&fault_stack) - 1) * PAGE_BYTES);
    stack_refill();
    EXPECT(t, stack_stats().reserve_bytes == before.reserve_bytes);
    stack_destroy(&fault_stack);
}

TEST(stack, grows_by_the_page_heap_with_interrupts_on)
{
    if (fault_is_skipped(t))
        return;
    REQUIRE(t, stack_create(&fault_stack, 0));

    struct stack_stats before = stack_stats();

    on_stack_begin();
    on_stack_enter(&fault_stack);
    for (size_t page = 1; page < 60; page++)
        *page_word(&fault_stack, page) = page;
    for (size_t page = 1; page < 60; page++)
        EXPECT(t, *page_word(&fault_stack, page) == page);
    on_stack_enter(NULL);
    on_stack_end();
    struct stack_stats after = stack_stats();
    EXPECT(t, after.faults - before.faults == 59 && after.reserve_used == before.reserve_used);
    EXPECT(t, after.backed_bytes - before.backed_bytes == 59 * PAGE_BYTES);
    stack_destroy(&fault_stack);
}

TEST(stack, probe_backs_all_that_it_jumps_over)
{
    if (fault_is_skipped(t))
        return;
    REQUIRE(t, stack_create(&fault_stack, 0));

    uint64_t faults = stack_stats().faults;

    on_stack_enter(&fault_stack);
    *page_word(&fault_stack, 20) = 20;
    EXPECT(t, backed_pages(&fault_stack) == 21 && stack_stats().faults == faults + 1);
    for (size_t page = 1; page < 20; page++)
        *page_word(&fault_stack, page) = page;
    EXPECT(t, stack_stats().faults == faults + 1);
    *(volatile char *)fault_stack.limit = 1;
    EXPECT(t, fault_stack.backed == fault_stack.limit);
    on_stack_enter(NULL);
    stack_destroy(&fault_stack);
}

/* ---- In the middle of the page heap ---- */

static void *heap_taken[3];

static void heap_take(void *unused)
{
    (void)unused;
    heap_taken[0] = page_alloc(1, 0);
    heap_taken[1] = page_alloc(70, 0); /* too long for a window: the lock, the tree */
    heap_taken[2] = page_alloc_aligned(2, 16, 0, PAGE_ZERO);
}

static void heap_give(void *unused)
{
    (void)unused;
    page_free(heap_taken[2], 2);
    page_free(heap_taken[1], 70);
    page_free(heap_taken[0], 1);
}

/* The call chain of fn crosses into a page that is not there, at each of its pushes in turn. */
static void heap_at_every_offset(struct test *t, void (*fn)(void *), bool is_take)
{
    for (uintptr_t offset = 16; offset <= PAGE_BYTES; offset += 16) {
        if (fault_stack.backed - fault_stack.limit < 4 * PAGE_BYTES) {
            stack_destroy(&fault_stack);
            REQUIRE(t, stack_create(&fault_stack, 0));
        }
        if (!is_take)
            heap_take(NULL);
        on_stack_run(&fault_stack, fault_stack.backed + offset, fn, NULL);
        EXPECT(t, heap_taken[0] != NULL && heap_taken[1] != NULL && heap_taken[2] != NULL);
        if (is_take)
            heap_give(NULL);
        stack_refill();
        if (offset % 512 == 0) {
            page_drain_this_cpu(NULL);
            page_check();
        }
    }
}

TEST(stack, grows_in_the_middle_of_the_page_heap)
{
    if (fault_is_skipped(t))
        return;
    struct stack_stats before = stack_stats();

    REQUIRE(t, stack_create(&fault_stack, 0));
    heap_at_every_offset(t, heap_take, true);
    heap_at_every_offset(t, heap_give, false);
    EXPECT(t, stack_stats().faults - before.faults > 30);
    EXPECT(t, stack_stats().reserve_used > before.reserve_used);
    stack_destroy(&fault_stack);
}

/* ---- Shrinking ---- */

TEST(stack, shrinks_by_a_quarter_and_grows_again)
{
    if (fault_is_skipped(t))
        return;
    size_t before = stack_stats().backed_bytes;

    REQUIRE(t, stack_create(&fault_stack, 0));
    on_stack_enter(&fault_stack);
    *page_word(&fault_stack, 39) = 39;
    *page_word(&fault_stack, 8) = 8;
    on_stack_enter(NULL);

    /* A quarter, exactly, is enough to keep all. */
    EXPECT(t, stack_shrink_to(&fault_stack, fault_stack.top - 10 * PAGE_BYTES) == 0);
    EXPECT(t, stack_shrink_to(&fault_stack, fault_stack.top - 9 * PAGE_BYTES) == 22);
    EXPECT(t, backed_pages(&fault_stack) == 18 && *page_word(&fault_stack, 8) == 8);
    EXPECT(t, stack_stats().backed_bytes - before == 18 * PAGE_BYTES);
    EXPECT(t, stack_shrink_to(&fault_stack, fault_stack.top - 64) == 17);
    EXPECT(t, backed_pages(&fault_stack) == 1);
    EXPECT(t, stack_shrink_to(&fault_stack, fault_stack.top - 64) == 0);

    on_stack_enter(&fault_stack);
    *page_word(&fault_stack, 39) = 93;
    EXPECT(t, backed_pages(&fault_stack) == 40 && *page_word(&fault_stack, 39) == 93);
    on_stack_enter(NULL);
    EXPECT(t, fault_stack.deepest == fault_stack.top - 40 * PAGE_BYTES);
    stack_destroy(&fault_stack);
}

/* On the stack itself, with words in frames above and, afterwards, below. */
static void shrink_own(void *arg)
{
    struct descent *descent = arg;

    descend(descent, 0);
    descent->is_damaged |=
        stack_shrink_to(&fault_stack, (uintptr_t)__builtin_frame_address(0)) == 0;
    descent->is_damaged |= backed_pages(&fault_stack) > 8;
    descend(descent, 0);
}

TEST(stack, shrinks_under_the_flow_that_runs_on_it)
{
    if (fault_is_skipped(t))
        return;
    REQUIRE(t, stack_create(&fault_stack, 0));

    struct descent descent = {.low = fault_stack.top - 50 * PAGE_BYTES};

    on_stack_run(&fault_stack, fault_stack.top, shrink_own, &descent);
    EXPECT(t, !descent.is_damaged && backed_pages(&fault_stack) >= 49);
    stack_destroy(&fault_stack);
}

/* ---- What cannot be resolved ---- */

static void overflow(void *unused)
{
    (void)unused;
    stack_create(&fault_stack, 0);
    on_stack_enter(&fault_stack);
    *(volatile char *)(fault_stack.limit - 1) = 1;
}

static void overflow_with_pages(void *unused)
{
    struct descent descent = {.low = 0};

    (void)unused;
    stack_create(&fault_stack, 0);
    on_stack_run(&fault_stack, fault_stack.top, descend_all, &descent);
}

static const char *overflow_name(void)
{
    return "thread somebody";
}

static void overflow_named(void *unused)
{
    stack_named_by(overflow_name);
    overflow(unused);
}

static void reserve_exhausted(void *unused)
{
    (void)unused;
    stack_create(&fault_stack, 0);
    (void)port_irq_save();
    stack_enter(&fault_stack);
    *page_word(&fault_stack, STACK_RESERVE_PAGES + 1) = 1;
}

static void memory_exhausted(void *unused)
{
    (void)unused;
    stack_create(&fault_stack, 64 * MIB);
    while (page_alloc(1, PAGE_RESERVE) != NULL)
        continue;
    on_stack_enter(&fault_stack);
    *page_word(&fault_stack, STACK_RESERVE_PAGES + 1) = 1;
}

static void of_another(void *unused)
{
    struct stack other;

    (void)unused;
    stack_create(&fault_stack, 0);
    stack_create(&other, 0);
    on_stack_enter(&fault_stack);
    *page_word(&other, 3) = 1;
}

TEST(stack, overflow_names_limit_and_depth)
{
    if (fault_is_skipped(t))
        return;
    EXPECT_PANIC(t, overflow, NULL,
                 "panic: stack overflow: thread main, limit 252 KiB, 253 KiB deep (write");
    EXPECT_PANIC(t, overflow_with_pages, NULL, " deep (");
    EXPECT_PANIC(t, overflow_named, NULL, "panic: stack overflow: thread somebody, limit 252 KiB");
}

TEST(stack, exhaustion_is_said)
{
    if (fault_is_skipped(t))
        return;
    EXPECT_PANIC(t, reserve_exhausted, NULL,
                 "cannot grow beyond 68 KiB: interrupts are off, and this CPU's reserve");
    EXPECT_PANIC(t, memory_exhausted, NULL, "cannot grow beyond 68 KiB: memory is exhausted");
    EXPECT_PANIC(t, of_another, NULL, "(region of stacks, not backed there)");
}
