/* Stacks: sizes, addresses against a model, what comes back, failures. */
#include "mm/stack/stack.h"
#include "kernel/fault.h"
#include "mm/page/page.h"
#include "tests/mm/stack/on_stack.h"
#include "tests/test.h"

static size_t stack_bytes_of(const struct stack *stack)
{
    return stack->top - stack->limit + STACK_GUARD_BYTES;
}

static void touch(uintptr_t addr)
{
    *(volatile char *)addr = 1;
}

TEST(stack, is_as_long_as_asked_for)
{
    static const struct {
        size_t bytes, is;
    } sizes[] = {
        {0, STACK_DEFAULT_BYTES},
        {1, STACK_DEFAULT_BYTES},
        {256 * KIB, STACK_DEFAULT_BYTES},
        {256 * KIB + 1, 512 * KIB},
        {MIB, MIB},
        {2 * MIB, 2 * MIB},
        {5 * MIB, 8 * MIB},
        {STACK_MAX_BYTES, STACK_MAX_BYTES},
    };
    struct stack stack;

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        REQUIRE(t, stack_create(&stack, sizes[i].bytes));
        EXPECT(t, stack_bytes_of(&stack) == sizes[i].is);
        EXPECT(t, IS_ALIGNED(stack.top, sizes[i].is));
        EXPECT(t, stack.backed == stack.top - PAGE_BYTES);
        touch(stack.top - 1);
        touch(stack.top - PAGE_BYTES);
        EXPECT(t, stack_is_guard(&stack, stack.limit - 1) && !stack_is_guard(&stack, stack.limit));
        EXPECT(t, stack_is_guard(&stack, stack.limit - PAGE_BYTES) &&
                      !stack_is_guard(&stack, stack.limit - PAGE_BYTES - 1));
        stack_destroy(&stack);
    }
    EXPECT(t, !stack_create(&stack, STACK_MAX_BYTES + 1));
    EXPECT(t, !stack_create(&stack, SIZE_MAX));
}

TEST(stack, is_kept_where_one_page_is_backed)
{
    struct stack a, b;
    size_t stacks = stack_stats().stacks;

    REQUIRE(t, stack_create(&a, 0));
    EXPECT(t, stack_stats().stacks == stacks + 1);
    stack_destroy(&a);
    EXPECT(t, stack_stats().stacks == stacks && stack_stats().kept >= 1);
    REQUIRE(t, stack_create(&b, 0));
    EXPECT(t, a.top == b.top);
    stack_destroy(&b);
    stack_drain();
    EXPECT(t, stack_stats().kept == 0 && stack_stats().waiting_bytes == 0);
}

/* Addresses that others may have cached are nobody's before a flush. */
TEST(stack, waits_for_a_flush_where_it_has_grown)
{
    struct stack a, b;
    uint64_t flushes;

    stack_drain();
    REQUIRE(t, stack_create(&a, 0));
    on_stack_enter(&a);
    touch(a.top - 2 * PAGE_BYTES);
    on_stack_enter(NULL);
    flushes = stack_stats().flushes;
    stack_destroy(&a);
    EXPECT(t, stack_stats().flushes == flushes);
    EXPECT(t, stack_stats().waiting_bytes == PORT_STACK_FAULTS * PAGE_BYTES);
    REQUIRE(t, stack_create(&b, 0));
    EXPECT(t, a.top != b.top || !PORT_STACK_FAULTS);
    stack_destroy(&b);
    stack_drain();
    EXPECT(t, stack_stats().flushes == flushes + 1);
}

/* ---- Addresses against a model ---- */

#define MODEL_STACKS 48u
#define MODEL_STEPS  3000u

static struct stack model[MODEL_STACKS]; /* top 0: none */

static bool model_is_apart(const struct stack *stack)
{
    for (unsigned i = 0; i < MODEL_STACKS; i++) {
        const struct stack *other = &model[i];

        if (other != stack && other->top != 0 && stack->limit - STACK_GUARD_BYTES < other->top &&
            other->limit - STACK_GUARD_BYTES < stack->top)
            return false;
    }
    return true;
}

static void model_step(struct test *t, uint64_t *state)
{
    struct stack *stack = &model[random_next(state) % MODEL_STACKS];
    size_t bytes = STACK_DEFAULT_BYTES << random_next(state) % 7;

    if (stack->top != 0) {
        EXPECT(t, *(uintptr_t *)(stack->top - PAGE_BYTES) == stack->top);
        stack_destroy(stack);
        stack->top = 0;
    } else if (EXPECT(t, stack_create(stack, bytes))) {
        EXPECT(t, stack_bytes_of(stack) == bytes && IS_ALIGNED(stack->top, bytes));
        EXPECT(t, model_is_apart(stack));
        *(uintptr_t *)(stack->top - PAGE_BYTES) = stack->top;
    }
}

TEST(stack, addresses_are_as_in_a_model)
{
    uint64_t state = test_seed(t);
    size_t live = stack_stats().stacks;

    for (unsigned i = 0; i < MODEL_STEPS && t->failures == 0; i++) {
        model_step(t, &state);
        if (i % 64 == 0)
            stack_check();
        if (i % 500 == 0)
            stack_drain();
    }
    for (unsigned i = 0; i < MODEL_STACKS; i++) {
        if (model[i].top != 0)
            stack_destroy(&model[i]);
        model[i].top = 0;
    }
    EXPECT(t, stack_stats().stacks == live);
    stack_check();
}

/* The lowest addresses go out first, so that tables of high ones come back. */
TEST(stack, lowest_addresses_first)
{
    struct stack stacks[20];

    stack_drain();
    for (unsigned i = 0; i < ARRAY_COUNT(stacks); i++)
        REQUIRE(t, stack_create(&stacks[i], 0));
    for (unsigned i = 1; i < ARRAY_COUNT(stacks); i++)
        EXPECT(t, stacks[i].top > stacks[i - 1].top);
    uintptr_t low = stacks[3].top;
    stack_destroy(&stacks[3]);
    stack_destroy(&stacks[15]);
    stack_drain();
    REQUIRE(t, stack_create(&stacks[3], 0));
    EXPECT(t, stacks[3].top == low);
    REQUIRE(t, stack_create(&stacks[15], 0));
    for (unsigned i = 0; i < ARRAY_COUNT(stacks); i++)
        stack_destroy(&stacks[i]);
}

/* What does not fit in one group of addresses goes to the next, and leaves the first's for others. */
TEST(stack, addresses_of_several_groups)
{
    struct stack longest[4], small, next;

    stack_drain();
    REQUIRE(t, stack_create(&small, 0));
    for (unsigned i = 0; i < ARRAY_COUNT(longest); i++)
        REQUIRE(t, stack_create(&longest[i], STACK_MAX_BYTES));
    EXPECT(t, longest[3].top - small.top >= 4 * GIB);
    stack_check();
    REQUIRE(t, stack_create(&next, 0));
    EXPECT(t, next.top == small.top + STACK_DEFAULT_BYTES);
    stack_destroy(&next);
    stack_destroy(&small);
    for (unsigned i = 0; i < ARRAY_COUNT(longest); i++)
        stack_destroy(&longest[i]);
    stack_drain();
    stack_check();
}

/* ---- What comes back ---- */

#define MANY 300u

TEST(stack, pages_and_tables_all_come_back)
{
    static struct stack many[MANY];
    uint64_t state = test_seed(t);
    size_t free_before, backed = 0;

    mm_drain();
    struct stack_stats before = stack_stats();

    free_before = page_free_count();
    for (unsigned i = 0; i < MANY; i++) {
        size_t pages = random_next(&state) % 4 * 3;

        REQUIRE(t, stack_create(&many[i], i % 50 == 0 ? 4 * MIB : 0));
        on_stack_enter(&many[i]);
        touch(many[i].top - PAGE_BYTES - pages * PAGE_BYTES);
        on_stack_enter(NULL);
        backed += 1 + pages * PORT_STACK_FAULTS;
    }
    EXPECT(t, stack_stats().backed_bytes - before.backed_bytes == backed * PAGE_BYTES);
    EXPECT(t, stack_stats().table_bytes >= MANY / 8 * PAGE_BYTES);
    for (unsigned i = 0; i < MANY; i++)
        stack_destroy(&many[(i * 7) % MANY]);
    EXPECT(t, stack_stats().stacks == before.stacks);
    EXPECT(t, stack_stats().backed_bytes == before.backed_bytes);
    mm_drain();
    EXPECT(t, stack_stats().table_bytes == before.table_bytes);
    EXPECT(t, page_free_count() == free_before);
    stack_check();
}

static void unwind(struct test *t, size_t bytes)
{
    for (unsigned nth = 1;; nth++) {
        struct stack stack;
        size_t free_before;

        mm_drain();
        free_before = page_free_count();
        fault_fail_nth(nth);
        bool is_made = stack_create(&stack, bytes);
        bool has_fired = fault_disarm();

        EXPECT(t, is_made == !has_fired);
        if (is_made)
            stack_destroy(&stack);
        mm_drain();
        EXPECT(t, page_free_count() == free_before);
        stack_check();
        if (!has_fired) {
            EXPECT(t, nth > (bytes > STACK_DEFAULT_BYTES
                                 ? 2
                                 : 1)); /* its page; tables, unless others need them */
            return;
        }
    }
}

TEST(stack, create_unwinds_every_failure)
{
    unwind(t, STACK_DEFAULT_BYTES);
    unwind(t, 8 * MIB);
}
