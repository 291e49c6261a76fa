/* Flows that a test makes and runs itself. */
#pragma once

#include "arch/arch.h"
#include "mm/page/page.h"
#include "tests/test.h"

#define STACK_PAGES 16

/* A flow on a stack of its own, and the one that goes on when it stops. */
struct test_flow {
    struct arch_flow flow;
    struct arch_flow back;
    uintptr_t low, top;
    struct test *t;
    unsigned rounds;
};

static inline bool test_flow_create(struct test_flow *flow, void (*entry)(void *arg))
{
    flow->low = (uintptr_t)page_alloc(STACK_PAGES, 0);
    flow->top = flow->low + STACK_PAGES * PAGE_BYTES;
    if (flow->low == 0)
        return false;
    arch_flow_adopt(&flow->back);
    arch_flow_init(&flow->flow, flow->low, flow->top, entry, flow);
    return true;
}

static inline void test_flow_destroy(struct test_flow *flow)
{
    arch_flow_end(&flow->flow);
    page_free((void *)flow->low, STACK_PAGES);
}

static inline bool test_flow_holds(const struct test_flow *flow, uintptr_t addr)
{
    return addr >= flow->low && addr < flow->top;
}

static inline void test_flow_run(struct test_flow *flow)
{
    arch_irq_disable();
    arch_flow_switch(&flow->back, &flow->flow);
    arch_irq_enable();
}

/* The last thing that a flow does. */
static inline NORETURN void test_flow_stop(struct test_flow *flow)
{
    arch_flow_switch(&flow->flow, &flow->back);
    __builtin_unreachable();
}
