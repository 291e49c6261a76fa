/*
 * Preemption of flows, and what an interrupt finds of them.  The tests stand in for who owns the flows
 * (kernel/flow.h).
 */
#include "kernel/flow.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/time.h"
#include "tests/arch/flow_test.h"

static struct {
    struct test_flow flow;
    _Atomic unsigned calls;     /* of kernel_preempt on the flow's stack; relaxed */
    _Atomic unsigned own_calls; /* where nothing was switched to; relaxed */
    size_t count;
    uintptr_t pcs[32]; /* a backtrace from there */
} preempted;

static bool preempted_bounds(uintptr_t addr, uintptr_t *low, uintptr_t *top)
{
    *low = preempted.flow.low;
    *top = preempted.flow.top;
    return test_flow_holds(&preempted.flow, addr);
}

static void preempted_changed(bool has_entered)
{
    (void)has_entered;
}

/* The flow is left and gone on with, in the middle of being preempted. */
static void preempted_here(void)
{
    struct test_flow *flow = &preempted.flow;

    if (!test_flow_holds(flow, (uintptr_t)__builtin_frame_address(0))) {
        atomic_fetch_add_explicit(&preempted.own_calls, 1, memory_order_relaxed);
        return;
    }
    EXPECT(flow->t, !arch_irq_enabled());
    preempted.count = arch_backtrace(NULL, preempted.pcs, ARRAY_COUNT(preempted.pcs));
    arch_flow_switch(&flow->flow, &flow->back);
    atomic_fetch_add_explicit(&preempted.calls, 1, memory_order_relaxed);
}

static const struct flow_owner preempting = {preempted_here, preempted_changed, preempted_bounds};

static void preempt_ask(void *unused)
{
    (void)unused;
    arch_preempt_ask();
}

/* The interrupt is due; seen in the backtrace. */
NOINLINE static void preempted_spin(unsigned calls)
{
    arch_irq_enable();
    while (atomic_load_explicit(&preempted.calls, memory_order_relaxed) < calls)
        arch_relax();
}

static void preempt_not(void *unused)
{
    (void)unused;
}

static void preempted_interrupt(cpu_fn *fn)
{
    struct cpu_post post;

    cpu_post(&post, arch_cpu_id(), fn, NULL);
    while (!cpu_post_is_done(&post))
        arch_relax();
}

/*
 * By turns the interrupt comes at once, and when interrupts are turned on.  One that does not ask is
 * none to be preempted by.
 */
static void preempted_entry(void *arg)
{
    struct test_flow *flow = arg;

    for (flow->rounds = 1; flow->rounds < 100; flow->rounds++) {
        struct cpu_post post;

        if (flow->rounds % 2 == 0)
            arch_irq_enable();
        cpu_post(&post, arch_cpu_id(), preempt_ask, NULL);
        preempted_spin(flow->rounds);
        while (!cpu_post_is_done(&post))
            arch_relax();
        preempted_interrupt(preempt_not);
        EXPECT(flow->t, preempted.calls == flow->rounds);
        EXPECT(flow->t, arch_irq_enabled());
        arch_irq_disable();
    }
    test_flow_stop(flow);
}

static bool preempted_shows(const char *function)
{
    for (size_t i = 0; i < preempted.count; i++) {
        const char *name;
        size_t offset;

        if (arch_symbol(preempted.pcs[i] - 1, &name, &offset) && strcmp(name, function) == 0)
            return true;
    }
    return false;
}

TEST(flow, interrupt_preempts_on_the_flows_own_stack)
{
    struct test_flow *flow = &preempted.flow;

    memset(&preempted, 0, sizeof(preempted));
    flow->t = t;
    REQUIRE(t, test_flow_create(flow, preempted_entry));
    const struct flow_owner *before = flow_owner_set(&preempting);

    for (unsigned round = 0; round < 99; round++) {
        test_flow_run(flow);
        EXPECT(t, preempted.calls == round);
        EXPECT(t, flow->rounds == round + 1);
    }
    test_flow_run(flow);
    flow_owner_set(before);

    EXPECT(t, preempted.calls == 99);
    EXPECT(t, flow->rounds == 100);
    EXPECT(t, preempted_shows("preempted_here"));
    EXPECT(t, preempted_shows("preempted_spin"));
    EXPECT(t, preempted_shows("preempted_entry"));
    EXPECT(t, preempted_shows("flow_start"));
    test_flow_destroy(flow);
    flow->low = flow->top = 0;
}

/* ---- What is live of a flow that an interrupt has hit ---- */

static struct {
    size_t count;
    struct arch_range ranges[ARCH_STACK_RANGES];
} live;

static void live_note(void *unused)
{
    (void)unused;
    live.count = arch_stack_ranges((uintptr_t)__builtin_frame_address(0), live.ranges);
}

static void live_entry(void *arg)
{
    struct test_flow *flow = arg;
    volatile uintptr_t local = 0;
    struct cpu_post post;
    bool is_found = false;

    arch_irq_enable();
    cpu_post(&post, arch_cpu_id(), live_note, NULL);
    while (!cpu_post_is_done(&post))
        arch_relax();
    arch_irq_disable();
    for (size_t i = 0; i < live.count; i++)
        is_found |= live.ranges[i].start <= (uintptr_t)&local && live.ranges[i].end == flow->top &&
                    live.ranges[i].start > flow->low;
    EXPECT(flow->t, is_found);
    test_flow_stop(flow);
}

TEST(flow, interrupted_flows_stack_is_live)
{
    struct test_flow *flow = &preempted.flow;

    memset(&preempted, 0, sizeof(preempted));
    flow->t = t;
    REQUIRE(t, test_flow_create(flow, live_entry));
    const struct flow_owner *before = flow_owner_set(&preempting);

    test_flow_run(flow);
    flow_owner_set(before);
    test_flow_destroy(flow);
    flow->low = flow->top = 0;
}

/* Outside of interrupts too: as soon as they are on. */
TEST(flow, preemption_waits_for_interrupts_on)
{
    memset(&preempted, 0, sizeof(preempted));
    const struct flow_owner *before = flow_owner_set(&preempting);

    arch_tick_start(0); /* whose interrupt would do */
    unsigned long irq_state = arch_irq_save();
    arch_preempt_ask();
    EXPECT(t, preempted.own_calls == 0);
    arch_irq_restore(irq_state);
    while (preempted.own_calls == 0)
        arch_relax();
    arch_tick_start(TIME_TICK_HZ);
    flow_owner_set(before);
}
