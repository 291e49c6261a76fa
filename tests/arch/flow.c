/*
 * Flows, without a scheduler: the tests switch themselves.  Preemption is in flow_preempt.c.
 */
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/lock.h"
#include "kernel/percpu.h"
#include "kernel/time.h"
#include "tests/arch/flow_test.h"

#define ROUNDS 1000u
#define FLOWS  8u

/* ---- Switching ---- */

static void ping_entry(void *arg)
{
    struct test_flow *flow = arg;

    EXPECT(flow->t, test_flow_holds(flow, (uintptr_t)__builtin_frame_address(0)));
    EXPECT(flow->t, !arch_irq_enabled());
    while (++flow->rounds < ROUNDS)
        arch_flow_switch(&flow->flow, &flow->back);
    test_flow_stop(flow);
}

TEST(flow, two_take_turns)
{
    struct test_flow flow = {.t = t};

    REQUIRE(t, test_flow_create(&flow, ping_entry));
    for (unsigned round = 1; round <= ROUNDS; round++) {
        test_flow_run(&flow);
        EXPECT(t, flow.rounds == round);
    }
    EXPECT(t, arch_irq_enabled());
    test_flow_destroy(&flow);
}

static struct {
    struct test_flow flows[FLOWS];
    unsigned order[FLOWS]; /* rounds that each has done, as the next one finds it */
} ring;

static void ring_entry(void *arg)
{
    struct test_flow *flow = arg;
    size_t me = (size_t)(flow - ring.flows);
    struct test_flow *next = &ring.flows[(me + 1) % FLOWS];

    for (flow->rounds = 1; flow->rounds < ROUNDS; flow->rounds++) {
        EXPECT(flow->t, ring.order[me] + 1 == flow->rounds);
        ring.order[me] = flow->rounds;
        arch_flow_switch(&flow->flow, &next->flow);
    }
    arch_flow_switch(&flow->flow, me + 1 < FLOWS ? &next->flow : &ring.flows[0].back);
}

TEST(flow, many_take_turns)
{
    unsigned made = 0;

    while (made < FLOWS && EXPECT(t, test_flow_create(&ring.flows[made], ring_entry)))
        ring.flows[made++].t = t;
    if (made == FLOWS)
        test_flow_run(&ring.flows[0]);
    for (unsigned i = 0; i < made; i++) {
        EXPECT(t, ring.order[i] == ROUNDS - 1);
        test_flow_destroy(&ring.flows[i]);
    }
    memset(&ring, 0, sizeof(ring));
}

/*
 * arch_flow_switch with a value in each register that a call leaves as it is; 0 when they are there
 * afterwards.
 */
void switch_called(struct arch_flow *from, struct arch_flow *to);
NOINLINE void switch_called(struct arch_flow *from, struct arch_flow *to)
{
    arch_flow_switch(from, to);
}

uint64_t switch_with_registers(struct arch_flow *from, struct arch_flow *to, uint64_t seed);
NAKED uint64_t switch_with_registers(UNUSED struct arch_flow *from, UNUSED struct arch_flow *to,
                                     UNUSED uint64_t seed)
{
    __asm__("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
            "pushq %rdx\n\t"
            "leaq 1(%rdx), %rbp\n\tleaq 2(%rdx), %rbx\n\tleaq 3(%rdx), %r12\n\t"
            "leaq 4(%rdx), %r13\n\tleaq 5(%rdx), %r14\n\tleaq 6(%rdx), %r15\n\t"
            "call switch_called\n\t"
            "popq %rdx\n\t"
            "subq %rdx, %rbp\n\tsubq %rdx, %rbx\n\tsubq %rdx, %r12\n\t"
            "subq %rdx, %r13\n\tsubq %rdx, %r14\n\tsubq %rdx, %r15\n\t"
            "subq $1, %rbp\n\tsubq $2, %rbx\n\tsubq $3, %r12\n\t"
            "subq $4, %r13\n\tsubq $5, %r14\n\tsubq $6, %r15\n\t"
            "movq %rbp, %rax\n\torq %rbx, %rax\n\torq %r12, %rax\n\t"
            "orq %r13, %rax\n\torq %r14, %rax\n\torq %r15, %rax\n\t"
            "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
            "ret");
}

static void registers_entry(void *arg)
{
    struct test_flow *flow = arg;

    while (++flow->rounds < ROUNDS)
        EXPECT(flow->t, switch_with_registers(&flow->flow, &flow->back, flow->rounds << 16) == 0);
    test_flow_stop(flow);
}

TEST(flow, registers_are_kept)
{
    struct test_flow flow = {.t = t};

    REQUIRE(t, test_flow_create(&flow, registers_entry));
    for (unsigned round = 1; round <= ROUNDS; round++) {
        arch_irq_disable();
        uint64_t differ = switch_with_registers(&flow.back, &flow.flow, (uint64_t)round << 40);
        arch_irq_enable();
        EXPECT(t, differ == 0);
    }
    test_flow_destroy(&flow);
}

/* ---- Many CPUs: each flow goes round them ---- */

#define TRAVEL_ROUNDS 200u

struct traveller {
    struct test_flow test;
    struct traveller *next; /* [travel.lock] in a CPU's queue */
    unsigned cpu;           /* where it runs next, or runs */
    bool is_done;
};

static struct {
    struct spinlock lock;
    struct traveller *queues[ARCH_CPU_MAX]; /* [lock] */
    unsigned cpus;
    _Atomic unsigned left; /* that have not ended; acq_rel */
    struct traveller travellers[FLOWS];
} travel;

static PERCPU(struct arch_flow, travel_own);

static void travel_push(struct traveller *traveller)
{
    unsigned long irq_state = spin_lock(&travel.lock);

    traveller->next = travel.queues[traveller->cpu];
    travel.queues[traveller->cpu] = traveller;
    spin_unlock(&travel.lock, irq_state);
}

static struct traveller *travel_pop(unsigned cpu)
{
    unsigned long irq_state = spin_lock(&travel.lock);
    struct traveller *first = travel.queues[cpu];

    if (first != NULL)
        travel.queues[cpu] = first->next;
    spin_unlock(&travel.lock, irq_state);
    return first;
}

static void travel_entry(void *arg)
{
    struct traveller *traveller = arg;
    struct test *t = traveller->test.t;

    for (unsigned round = 0; round < TRAVEL_ROUNDS; round++) {
        EXPECT(t, arch_cpu_id() == traveller->cpu);
        arch_irq_enable();
        void *object = page_alloc(1, 0);

        EXPECT(t, object != NULL);
        page_free(object, 1);
        EXPECT(t, arch_cpu_id() == traveller->cpu);
        arch_irq_disable();
        traveller->test.rounds++;
        traveller->cpu = (traveller->cpu + 1) % travel.cpus;
        arch_flow_switch(&traveller->test.flow, this_cpu(travel_own));
    }
    traveller->is_done = true;
    arch_flow_switch(&traveller->test.flow, this_cpu(travel_own));
}

/* Put in the next CPU's queue only here, where nobody runs on its stack any more. */
static void travel_serve(void *unused)
{
    (void)unused;
    arch_irq_disable();
    unsigned cpu = arch_cpu_id();
    arch_flow_adopt(this_cpu(travel_own));
    arch_irq_enable();

    while (atomic_load_explicit(&travel.left, memory_order_acquire) != 0) {
        struct traveller *traveller = travel_pop(cpu);

        if (traveller == NULL) {
            arch_relax();
            continue;
        }
        arch_irq_disable();
        arch_flow_switch(this_cpu(travel_own), &traveller->test.flow);
        arch_irq_enable();
        if (traveller->is_done)
            atomic_fetch_sub_explicit(&travel.left, 1, memory_order_acq_rel);
        else
            travel_push(traveller);
    }
}

TEST(flow, flows_go_from_cpu_to_cpu)
{
    memset(&travel, 0, sizeof(travel));
    travel.lock = (struct spinlock)SPINLOCK_INIT(TEST);
    travel.cpus = cpus_online();
    for (unsigned i = 0; i < FLOWS; i++) {
        struct traveller *traveller = &travel.travellers[i];

        traveller->test.t = t;
        REQUIRE(t, test_flow_create(&traveller->test, travel_entry));
        traveller->cpu = i % travel.cpus;
        travel_push(traveller);
    }
    travel.left = FLOWS;
    cpu_run_all(travel.cpus, travel_serve, NULL);
    for (unsigned i = 0; i < FLOWS; i++) {
        EXPECT(t, travel.travellers[i].test.rounds == TRAVEL_ROUNDS);
        test_flow_destroy(&travel.travellers[i].test);
    }
}

/* ---- Per-CPU words, ticks ---- */

static PERCPU(uint32_t, flow_counter);
static PERCPU(uintptr_t, flow_word);

TEST(flow, percpu_operations_are_of_this_cpu)
{
    unsigned long irq_state = arch_irq_save();

    *this_cpu(flow_word) = 77 + arch_cpu_id();
    EXPECT(t, arch_percpu_word(&flow_word) == 77 + arch_cpu_id());
    *this_cpu(flow_counter) = 5;
    arch_percpu_increment(&flow_counter);
    arch_percpu_increment(&flow_counter);
    EXPECT(t, *this_cpu(flow_counter) == 7);
    arch_percpu_decrement(&flow_counter);
    EXPECT(t, *this_cpu(flow_counter) == 6);
    arch_irq_restore(irq_state);
}

#define TICK_PART 50u /* of a second, until the tick */

TEST(flow, one_tick_and_no_more)
{
    uint64_t wait = arch_ticks_per_second() / TICK_PART;
    unsigned cpu = arch_cpu_id();

    arch_tick_once(wait);
    uint64_t before = time_tick_count(cpu), start = arch_ticks();

    while (time_tick_count(cpu) == before && arch_ticks() - start < TICK_PART * wait)
        arch_relax();
    EXPECT(t, arch_ticks() - start >= wait / 2);
    EXPECT(t, time_tick_count(cpu) == before + 1);

    start = arch_ticks();
    while (arch_ticks() - start < 3 * wait)
        arch_relax();
    EXPECT(t, time_tick_count(cpu) == before + 1);
    arch_tick_start(TIME_TICK_HZ);
}
