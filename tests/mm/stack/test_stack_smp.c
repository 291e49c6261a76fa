/*
 * Stacks on several CPUs.  Interleavings provoked: stacks created here and destroyed there, flushes
 * while others create and grow; translations that a CPU remembers of a page that has gone.
 */
#include <stdatomic.h>
#include "kernel/cpus.h"
#include "mm/page/page.h"
#include "mm/stack/stack.h"
#include "tests/mm/stack/on_stack.h"
#include "tests/test.h"

#define SHELVES 32u
#define ROUNDS  (__STDC_HOSTED__ ? 3000u : 2000u)

struct shelf {
    _Atomic bool is_busy; /* [A] acquire / release: who has it may use the stack */
    bool is_used;         /* [is_busy] */
    struct stack stack;   /* [is_busy] */
};

static struct shelf shelves[SHELVES];
static struct test *smp_test;
static uint64_t smp_seed;

static volatile uint64_t *page_word(const struct stack *stack, size_t page)
{
    return (uint64_t *)(stack->top - (page + 1) * PAGE_BYTES);
}

/* The CPU's own flow, interrupts off: nobody else's stack is entered here meanwhile. */
static void stack_touch(struct stack *stack, size_t page, uint64_t value)
{
    unsigned long irq = port_irq_save();

    stack_enter(stack);
    *page_word(stack, page) = value;
    stack_enter(NULL);
    port_irq_restore(irq);
    stack_refill();
}

static void shelf_turn(struct shelf *shelf, uint64_t *state)
{
    size_t page = random_next(state) % 6;

    if (!shelf->is_used) {
        shelf->is_used = EXPECT(smp_test, stack_create(&shelf->stack, page == 5 ? MIB : 0));
    } else if (page == 0) {
        EXPECT(smp_test, *page_word(&shelf->stack, 0) == shelf->stack.top);
        stack_destroy(&shelf->stack);
        shelf->is_used = false;
        return;
    } else if (page == 1) {
        (void)stack_shrink_to(&shelf->stack, shelf->stack.top - 64);
    } else {
        stack_touch(&shelf->stack, page, page);
        EXPECT(smp_test, *page_word(&shelf->stack, page) == page);
    }
    if (shelf->is_used)
        *page_word(&shelf->stack, 0) = shelf->stack.top;
}

static void smp_job(void *unused)
{
    unsigned long irq = port_irq_save();
    uint64_t state = smp_seed + port_cpu_id() * 77777;

    (void)unused;
    port_irq_restore(irq);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct shelf *shelf = &shelves[random_next(&state) % SHELVES];

        if (atomic_exchange_explicit(&shelf->is_busy, true, memory_order_acquire))
            continue;
        shelf_turn(shelf, &state);
        atomic_store_explicit(&shelf->is_busy, false, memory_order_release);
    }
}

TEST(stack_smp, created_here_and_destroyed_there)
{
    struct stack_stats before = stack_stats();

    smp_test = t;
    smp_seed = test_seed(t);
    cpu_run_all(port_cpu_count(), smp_job, NULL);
    for (unsigned i = 0; i < SHELVES; i++) {
        if (shelves[i].is_used)
            stack_destroy(&shelves[i].stack);
        shelves[i].is_used = false;
    }
    EXPECT(t, stack_stats().stacks == before.stacks);
    EXPECT(t, stack_stats().backed_bytes == before.backed_bytes);
    stack_check();
}

/* ---- What a CPU remembers ---- */

struct remembered {
    struct stack stack;
    size_t page;
    uint64_t value; /* to write, or as read */
};

static struct remembered remembered;

static void remembered_write(void *unused)
{
    (void)unused;
    stack_enter(&remembered.stack);
    *page_word(&remembered.stack, remembered.page) = remembered.value;
    stack_enter(NULL);
    stack_refill();
}

static void remembered_read(void *unused)
{
    (void)unused;
    remembered.value = *page_word(&remembered.stack, remembered.page);
}

/* Another CPU has used a page, which then has gone; it enters the stack again. */
TEST(stack_smp, entering_forgets_pages_that_have_gone)
{
    if (!PORT_STACK_FAULTS || port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs, and faults");
        return;
    }
    stack_drain();
    REQUIRE(t, stack_create(&remembered.stack, 0));
    remembered.page = 9;
    remembered.value = 1;
    cpu_call(1, remembered_write, NULL);
    EXPECT(t, stack_shrink_to(&remembered.stack, remembered.stack.top - 64) == 9);

    uint64_t faults = stack_stats().faults;

    remembered.value = 2;
    cpu_call(1, remembered_write, NULL);
    EXPECT(t, stack_stats().faults == faults + 1);
    stack_drain();
    EXPECT(t, *page_word(&remembered.stack, remembered.page) == 2);
    stack_destroy(&remembered.stack);
}

/* The same without shrinkings in between that another CPU's flush could have covered. */
TEST(stack_smp, each_shrinking_counts)
{
    struct stack other;

    if (!PORT_STACK_FAULTS || port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs, and faults");
        return;
    }
    stack_drain();
    REQUIRE(t, stack_create(&remembered.stack, 0) && stack_create(&other, 0));
    for (unsigned round = 0; round < 4; round++) {
        uint64_t faults = stack_stats().faults;

        remembered.page = 5;
        remembered.value = round;
        cpu_call(1, remembered_write, NULL);
        EXPECT(t, stack_stats().faults == faults + 1);
        EXPECT(t, stack_shrink_to(&remembered.stack, remembered.stack.top - 64) == 5);
    }
    stack_destroy(&other);
    stack_destroy(&remembered.stack);
}

/* Another CPU reads, through a pointer, a page that has gone and has come back with another. */
TEST(stack_smp, pointers_see_pages_that_have_come_back)
{
    if (!PORT_STACK_FAULTS || port_cpu_count() < 2) {
        test_skip(t, "needs two CPUs, and faults");
        return;
    }
    stack_drain();
    REQUIRE(t, stack_create(&remembered.stack, 0));
    remembered.page = 7;
    remembered.value = 1;
    cpu_call(1, remembered_write, NULL);
    cpu_call(1, remembered_read, NULL);
    EXPECT(t, stack_shrink_to(&remembered.stack, remembered.stack.top - 64) == 7);
    stack_touch(&remembered.stack, 7, 0x5eed);
    cpu_call(1, remembered_read, NULL);
    EXPECT(t, remembered.value == 0x5eed);
    stack_destroy(&remembered.stack);
}

/* The flow that shrinks its own stack goes on with it. */
TEST(stack_smp, own_pages_that_have_gone_are_forgotten)
{
    uint64_t faults;

    if (!PORT_STACK_FAULTS) {
        test_skip(t, "needs faults");
        return;
    }
    stack_drain();
    REQUIRE(t, stack_create(&remembered.stack, 0));

    unsigned long irq = port_irq_save();

    stack_enter(&remembered.stack);
    *page_word(&remembered.stack, 10) = 1;
    EXPECT(t, stack_shrink_to(&remembered.stack, remembered.stack.top - 64) == 6);
    faults = stack_stats().faults;
    *page_word(&remembered.stack, 10) = 2;
    EXPECT(t, stack_stats().faults == faults + 1);
    stack_enter(NULL);
    port_irq_restore(irq);
    stack_refill();
    stack_destroy(&remembered.stack);
}
