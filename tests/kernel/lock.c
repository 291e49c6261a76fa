/* Spinlocks: exclusion, order of arrival, and in debug builds what breaks the rules. */
#include "kernel/lock.h"
#include "kernel/base/config.h"
#include "kernel/cpus.h"
#include "tests/test.h"

#define LOCK_TURNS 500 /* by each CPU */

static struct spinlock outer = SPINLOCK_INIT(MONITOR);
static struct spinlock inner = SPINLOCK_INIT(TEST);
static uint64_t shared_count;           /* [inner] */
static unsigned arrivals[ARCH_CPU_MAX]; /* [inner] CPUs in the order in which they were served */
static unsigned arrival_count;          /* [inner] */

TEST(lock, keeps_the_interrupt_state)
{
    unsigned long irq_state = spin_lock(&outer);
    unsigned long nested = spin_lock(&inner);

    EXPECT(t, !arch_irq_enabled() && spin_is_held(&outer) && spin_is_held(&inner));
    spin_unlock(&inner, nested);
    EXPECT(t, !arch_irq_enabled() && !spin_is_held(&inner));
    spin_unlock(&outer, irq_state);
    EXPECT(t, arch_irq_enabled() && !spin_is_held(&outer));
}

TEST(lock, try_takes_only_what_is_free)
{
    unsigned long irq_state, again;

    REQUIRE(t, spin_try_lock(&inner, &irq_state));
    EXPECT(t, !arch_irq_enabled());
    EXPECT(t, !spin_try_lock(&inner, &again));
    spin_unlock(&inner, irq_state);
    EXPECT(t, arch_irq_enabled());
    REQUIRE(t, spin_try_lock(&inner, &irq_state));
    spin_unlock(&inner, irq_state);
    EXPECT(t, arch_irq_enabled());
}

static void lock_count(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < LOCK_TURNS; i++) {
        unsigned long irq_state;

        if (i % 4 != 0 || !spin_try_lock(&inner, &irq_state))
            irq_state = spin_lock(&inner);
        uint64_t seen = *(volatile uint64_t *)&shared_count;
        if (i % 64 == 0)
            arch_relax(); /* widen the gap in which another CPU would count too */
        *(volatile uint64_t *)&shared_count = seen + 1;
        spin_unlock(&inner, irq_state);
    }
}

TEST(lock, excludes_other_cpus)
{
    shared_count = 0;
    cpu_run_all(cpus_online(), lock_count, NULL);
    EXPECT(t, shared_count == (uint64_t)LOCK_TURNS * cpus_online());
}

/* CPU k asks when k CPUs have asked before it; CPU 0 lets go when all have. */
static void lock_arrive(void *arg)
{
    uint32_t first = *(const uint32_t *)arg, cpu = arch_cpu_id();

    while (atomic_load_explicit(&inner.next, memory_order_relaxed) - first != cpu)
        arch_relax();
    unsigned long irq_state = spin_lock(&inner);
    while (cpu == 0 &&
           atomic_load_explicit(&inner.next, memory_order_relaxed) - first != cpus_online())
        arch_relax();
    arrivals[arrival_count++] = cpu;
    spin_unlock(&inner, irq_state);
}

TEST(lock, serves_in_the_order_of_arrival)
{
    uint32_t first = atomic_load_explicit(&inner.next, memory_order_relaxed);
    uint32_t waits = atomic_load_explicit(&inner.waits, memory_order_relaxed);

    arrival_count = 0;
    cpu_run_all(cpus_online(), lock_arrive, &first);
    for (unsigned i = 0; i < cpus_online(); i++)
        EXPECT(t, arrivals[i] == i);
    EXPECT(t,
           atomic_load_explicit(&inner.waits, memory_order_relaxed) - waits == cpus_online() - 1);
}

static void lock_inverted(void *unused)
{
    (void)unused;
    spin_lock(&inner);
    spin_lock(&outer);
}

static void lock_twice(void *unused)
{
    (void)unused;
    spin_lock(&inner);
    spin_lock(&inner);
}

static void lock_same_rank(void *unused)
{
    static struct spinlock other = SPINLOCK_INIT(TEST);

    (void)unused;
    spin_lock(&inner);
    spin_lock(&other);
}

static void lock_unranked(void *unused)
{
    static struct spinlock zero;

    (void)unused;
    spin_lock(&zero);
}

static struct spinlock lock_pair[2] = {SPINLOCK_INIT(TEST), SPINLOCK_INIT(TEST)};

/* Together, the lower address first. */
TEST(lock, several_of_one_rank)
{
    unsigned long irq_state = spin_lock(&outer);

    spin_lock_also(&lock_pair[0]);
    spin_lock_also(&lock_pair[1]);
    EXPECT(t, spin_is_held(&lock_pair[0]) && spin_is_held(&lock_pair[1]));
    spin_unlock_off(&lock_pair[1]);
    spin_unlock_off(&lock_pair[0]);
    spin_unlock(&outer, irq_state);
    EXPECT(t, arch_irq_enabled() && !spin_is_held(&lock_pair[0]) && !spin_is_held(&lock_pair[1]));
}

static void lock_downwards(void *unused)
{
    (void)unused;
    (void)arch_irq_save();
    spin_lock_also(&lock_pair[1]);
    spin_lock_also(&lock_pair[0]);
}

/* CPU 0 has it, and lets go after a while; the others, who do not ask for it, see it go. */
static void lock_wait(void *t)
{
    static _Atomic bool is_taken, is_left;
    static _Atomic unsigned through;

    if (arch_cpu_id() != 0) {
        while (!atomic_load_explicit(&is_taken, memory_order_acquire))
            arch_relax();
        spin_wait(&inner);
        EXPECT((struct test *)t, atomic_load_explicit(&is_left, memory_order_relaxed));
        atomic_fetch_add_explicit(&through, 1, memory_order_release);
        return;
    }

    unsigned long irq_state = spin_lock(&inner);

    atomic_store_explicit(&is_taken, true, memory_order_release);
    for (unsigned i = 0; i < 100000; i++)
        arch_relax();
    atomic_store_explicit(&is_left, true, memory_order_relaxed);
    spin_unlock(&inner, irq_state);
    while (atomic_load_explicit(&through, memory_order_acquire) != cpus_online() - 1)
        arch_relax();
    atomic_store_explicit(&through, 0, memory_order_relaxed);
    atomic_store_explicit(&is_taken, false, memory_order_relaxed);
    atomic_store_explicit(&is_left, false, memory_order_relaxed);
}

TEST(lock, waits_without_taking)
{
    uint32_t first = atomic_load_explicit(&inner.next, memory_order_relaxed);

    if (cpus_online() < 2) {
        test_skip(t, "takes two CPUs");
        return;
    }
    cpu_run_all(cpus_online(), lock_wait, t);
    EXPECT(t, atomic_load_explicit(&inner.next, memory_order_relaxed) == first + 1);
    spin_wait(&inner); /* nobody has it */
}

static void lock_release_unheld(void *unused)
{
    (void)unused;
    spin_unlock(&inner, arch_irq_save());
}

TEST(lock, order_is_kept)
{
    if (!CONFIG_DEBUG) {
        test_skip(t, "only debug builds keep the order");
        return;
    }
    EXPECT_PANIC(t, lock_inverted, NULL, "lock order: MONITOR is taken while TEST is held");
    EXPECT_PANIC(t, lock_inverted, NULL, "holds lock TEST");
    EXPECT_PANIC(t, lock_twice, NULL, "lock order: TEST is taken twice");
    EXPECT_PANIC(t, lock_same_rank, NULL, "lock order: TEST is taken while TEST is held");
    EXPECT_PANIC(t, lock_downwards, NULL, "lock order: TEST is taken while TEST is held");
    EXPECT_PANIC(t, lock_unranked, NULL, "has no rank");
    EXPECT_PANIC(t, lock_release_unheld, NULL, "lock TEST is released by CPU 0, which does not");
}
