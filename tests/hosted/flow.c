/*
 * Flows and threads of the process: who runs a CPU when flows of both kinds want it.  What flows are
 * on any port is in tests/arch/flow.c.
 */
#define _GNU_SOURCE
#include "kernel/flow.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include "arch/hosted/hosted.h"
#include "arch/hosted/hosted_impl.h"
#include "kernel/cpus.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "mm/page/page.h"
#include "mm/slab/slab.h"
#include "tests/test.h"

#define STACK_PAGES 16
#define STAYS       50u

/* A kernel thread that counts its turns, and the flow that goes on after each. */
struct green {
    struct arch_flow flow;
    struct arch_flow back;
    uintptr_t low;
    struct test *t;
    pthread_t carrier; /* that ran its last turn */
    unsigned turns;
};

static void green_entry(void *arg)
{
    struct green *green = arg;

    for (;;) {
        green->carrier = pthread_self();
        green->turns++;
        arch_irq_enable();
        kfree(kmalloc(green->turns % 4096 + 1));
        arch_irq_disable();
        arch_flow_switch(&green->flow, &green->back);
    }
}

static bool green_create(struct green *green, void (*entry)(void *arg))
{
    green->low = (uintptr_t)page_alloc(STACK_PAGES, 0);
    if (green->low == 0)
        return false;
    arch_flow_init(&green->flow, green->low, green->low + STACK_PAGES * PAGE_BYTES, entry, green);
    return true;
}

static void green_destroy(struct green *green)
{
    arch_flow_end(&green->flow);
    page_free((void *)green->low, STACK_PAGES);
}

/* A turn, after which the caller's own flow goes on. */
static void green_turn(struct green *green)
{
    arch_flow_adopt(&green->back);
    arch_irq_disable();
    arch_flow_switch(&green->back, &green->flow);
    arch_irq_enable();
}

/* ---- A thread that holds a CPU waits while that runs others ---- */

static void *park_member(void *arg)
{
    struct test *t = arg;
    struct green green = {.t = t};
    int cpu = hosted_cpu_enter();

    if (!EXPECT(t, cpu >= 0) || !EXPECT(t, green_create(&green, green_entry)))
        return NULL;
    for (unsigned turn = 1; turn <= STAYS; turn++) {
        green_turn(&green);
        EXPECT(t, green.turns == turn);
        EXPECT(t, !pthread_equal(green.carrier, pthread_self()));
        EXPECT(t, arch_cpu_id() == (unsigned)cpu && arch_irq_enabled());
    }
    green_destroy(&green);
    hosted_cpu_leave();
    return NULL;
}

TEST(flow_hosted, holders_wait_while_their_cpus_run_others)
{
    pthread_t threads[ARCH_CPU_MAX];
    unsigned count = cpus_online();

    for (unsigned i = 1; i < count; i++)
        pthread_create(&threads[i], NULL, park_member, t);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* ---- Threads come and go on CPUs that run kernel threads ---- */

static struct {
    _Atomic bool is_over;     /* acquire / release */
    _Atomic unsigned turns;   /* of all kernel threads; relaxed */
    _Atomic unsigned running; /* kernel threads; relaxed */
    _Atomic unsigned entered; /* told by the port; relaxed */
    _Atomic unsigned resumed; /* likewise; relaxed */
} visit;

static void visit_preempt(void)
{
}

static void visit_changed(bool has_entered)
{
    CHECK(!arch_irq_enabled());
    atomic_fetch_add_explicit(has_entered ? &visit.entered : &visit.resumed, 1,
                              memory_order_relaxed);
}

static bool visit_bounds(uintptr_t addr, uintptr_t *low, uintptr_t *top)
{
    (void)addr, (void)low, (void)top;
    return false;
}

static const struct flow_owner visit_owner = {visit_preempt, visit_changed, visit_bounds};

/* It runs until its CPU is wanted, and has interrupts on all the time. */
static void visit_entry(void *arg)
{
    struct green *green = arg;

    for (;;) {
        arch_irq_enable();
        atomic_fetch_add_explicit(&visit.running, 1, memory_order_relaxed);
        while (!arch_idle_is_wanted() &&
               !atomic_load_explicit(&visit.is_over, memory_order_acquire)) {
            kfree(kmalloc(64));
            arch_relax();
        }
        atomic_fetch_sub_explicit(&visit.running, 1, memory_order_relaxed);
        arch_irq_disable();
        green->turns++;
        arch_flow_switch(&green->flow, &green->back);
    }
}

static void visit_serve(void *arg)
{
    struct test *t = arg;
    struct green green = {.t = t};

    if (arch_cpu_id() == 0) {
        while (!atomic_load_explicit(&visit.is_over, memory_order_acquire))
            sched_yield(); /* the process's code: on loan, which is not asked for */
        return;
    }
    if (!EXPECT(t, green_create(&green, visit_entry)))
        return;
    while (!atomic_load_explicit(&visit.is_over, memory_order_acquire)) {
        green_turn(&green);
        arch_irq_disable();
        arch_idle_poll();
    }
    atomic_fetch_add_explicit(&visit.turns, green.turns, memory_order_relaxed);
    green_destroy(&green);
}

/* Its CPU runs another kernel thread for a turn, while it stays. */
static void *visit_member(void *arg)
{
    struct test *t = arg;

    for (unsigned stays = 0; stays < STAYS; stays++) {
        struct green green = {.t = t};
        int cpu;

        while (atomic_load_explicit(&visit.running, memory_order_relaxed) == 0)
            sched_yield();
        cpu = hosted_cpu_enter();
        if (!EXPECT(t, cpu > 0))
            break;
        EXPECT(t, arch_cpu_id() == (unsigned)cpu);
        if (EXPECT(t, green_create(&green, green_entry))) {
            green_turn(&green);
            green_turn(&green);
            EXPECT(t, green.turns == 2);
            green_destroy(&green);
        }
        EXPECT(t, arch_cpu_id() == (unsigned)cpu);
        hosted_cpu_leave();
    }
    return NULL;
}

static void *visit_all(void *arg)
{
    pthread_t threads[ARCH_CPU_MAX];
    unsigned count = cpus_online();

    for (unsigned i = 1; i < count; i++)
        pthread_create(&threads[i], NULL, visit_member, arg);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
    atomic_store_explicit(&visit.is_over, true, memory_order_release);
    return NULL;
}

TEST(flow_hosted, threads_enter_cpus_that_run_kernel_threads)
{
    unsigned count = cpus_online();
    pthread_t visitors;

    memset(&visit, 0, sizeof(visit));
    const struct flow_owner *before = flow_owner_set(&visit_owner);

    pthread_create(&visitors, NULL, visit_all, t);
    cpu_run_all(count, visit_serve, t);
    pthread_join(visitors, NULL);
    flow_owner_set(before);

    EXPECT(t, visit.entered == (count - 1) * STAYS);
    EXPECT(t, visit.turns >= count - 1);
    EXPECT(t, visit.resumed > 0 || count == 1);
}

/* ---- A loan does not end while its borrower waits ---- */

struct borrow {
    struct green green;
    pthread_barrier_t all_entered, may_leave;
    int refused; /* what hosted_cpu_enter gave */
};

static void *borrow_member(void *arg)
{
    struct borrow *borrow = arg;

    EXPECT(borrow->green.t, hosted_cpu_enter() > 0);
    pthread_barrier_wait(&borrow->all_entered);
    pthread_barrier_wait(&borrow->may_leave);
    hosted_cpu_leave();
    return NULL;
}

static void *borrow_late(void *arg)
{
    struct borrow *borrow = arg;

    borrow->refused = hosted_cpu_enter();
    return NULL;
}

/* On CPU 0, whose borrower waits: all others are held. */
static void borrow_entry(void *arg)
{
    struct borrow *borrow = CONTAINER_OF((struct green *)arg, struct borrow, green);
    pthread_t late;

    pthread_create(&late, NULL, borrow_late, borrow);
    pthread_join(late, NULL);
    borrow->green.turns++;
    arch_flow_switch(&borrow->green.flow, &borrow->green.back);
}

TEST(flow_hosted, loan_lasts_while_its_borrower_waits)
{
    unsigned count = cpus_online();
    pthread_t threads[ARCH_CPU_MAX];
    static struct borrow borrow;

    borrow = (struct borrow){.green.t = t, .refused = 1000};
    REQUIRE(t, green_create(&borrow.green, borrow_entry));
    pthread_barrier_init(&borrow.all_entered, NULL, count);
    pthread_barrier_init(&borrow.may_leave, NULL, count);
    for (unsigned i = 1; i < count; i++)
        pthread_create(&threads[i], NULL, borrow_member, &borrow);
    pthread_barrier_wait(&borrow.all_entered);
    green_turn(&borrow.green);
    EXPECT(t, borrow.green.turns == 1);
    EXPECT(t, borrow.refused == -1);
    pthread_barrier_wait(&borrow.may_leave);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&borrow.all_entered);
    pthread_barrier_destroy(&borrow.may_leave);
    green_destroy(&borrow.green);
}

/* The same where the loan is waited for already: who waits goes away without. */
static void *borrow_wait(void *arg)
{
    struct borrow *borrow = arg;

    pthread_barrier_wait(&borrow->all_entered);
    pthread_barrier_wait(&borrow->may_leave);
    borrow->refused = hosted_cpu_enter();
    return NULL;
}

static void borrow_wait_entry(void *arg)
{
    struct green *green = arg;

    green->turns++;
    arch_flow_switch(&green->flow, &green->back);
}

TEST(flow_hosted, loan_that_is_waited_for_is_refused)
{
    static struct borrow borrow, others;
    unsigned count = cpus_online();
    pthread_t threads[ARCH_CPU_MAX], waiting;

    borrow = (struct borrow){.green.t = t, .refused = 1000};
    others.green.t = t;
    REQUIRE(t, green_create(&borrow.green, borrow_wait_entry));
    pthread_barrier_init(&borrow.all_entered, NULL, 2);
    pthread_barrier_init(&borrow.may_leave, NULL, 2);
    pthread_barrier_init(&others.all_entered, NULL, count);
    pthread_barrier_init(&others.may_leave, NULL, count);
    for (unsigned i = 1; i < count; i++)
        pthread_create(&threads[i], NULL, borrow_member, &others);
    pthread_barrier_wait(&others.all_entered);
    pthread_create(&waiting, NULL, borrow_wait, &borrow);
    pthread_barrier_wait(&borrow.all_entered);

    arch_flow_adopt(&borrow.green.back);
    arch_irq_disable();
    pthread_barrier_wait(&borrow.may_leave);
    while ((atomic_load(&hosted_cpus[0].pending) & HOSTED_IRQ_REVOKE) == 0)
        sched_yield();
    arch_flow_switch(&borrow.green.back, &borrow.green.flow);
    arch_irq_enable();

    pthread_join(waiting, NULL);
    EXPECT(t, borrow.refused == -1);
    EXPECT(t, borrow.green.turns == 1 && arch_cpu_id() == 0);
    pthread_barrier_wait(&others.may_leave);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&borrow.all_entered);
    pthread_barrier_destroy(&borrow.may_leave);
    pthread_barrier_destroy(&others.all_entered);
    pthread_barrier_destroy(&others.may_leave);
    green_destroy(&borrow.green);
}

/* ---- After fork ---- */

static void fork_switches(void *arg)
{
    struct green *green = arg;

    for (unsigned turn = 0; turn < 3; turn++)
        green_turn(green);
    CHECK(green->turns == 4);
    panic("three turns more");
}

static void fork_panics_entry(void *arg)
{
    (void)arg;
    panic("in a kernel thread");
}

static void fork_panics(void *arg)
{
    green_turn(arg);
}

TEST(flow_hosted, forked_child_switches_and_panics)
{
    struct green green = {.t = t};

    REQUIRE(t, green_create(&green, green_entry));
    green_turn(&green);
    EXPECT_PANIC(t, fork_switches, &green, "panic: three turns more\n");
    green_destroy(&green);
    REQUIRE(t, green_create(&green, fork_panics_entry));
    EXPECT_PANIC(t, fork_panics, &green, "panic: in a kernel thread\n");
    green_destroy(&green);
}

/* ---- What is refused ---- */

static void switch_with_interrupts_on(void *arg)
{
    struct green *green = arg;

    arch_flow_adopt(&green->back);
    arch_flow_switch(&green->back, &green->flow);
}

TEST(flow_hosted, switch_needs_interrupts_off)
{
    struct green green = {.t = t};

    REQUIRE(t, green_create(&green, green_entry));
    EXPECT_PANIC(t, switch_with_interrupts_on, &green, "interrupts are at depth 0, not 1");
    green_destroy(&green);
}
