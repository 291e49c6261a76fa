/*
 * What the hosted port refuses its callers, each with its message: interrupts misnested, CPUs
 * misused, locks out of order, and traps.  Every function here runs in a forked child and dies.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include "arch/hosted/hosted.h"
#include "kernel/base/config.h"
#include "kernel/lock.h"
#include "kernel/percpu.h"
#include "mm/slab/slab.h"
#include "tests/test.h"

/* ---- Interrupts off and on ---- */

static void restore_out_of_order(void *arg)
{
    unsigned long outer = arch_irq_save();

    (void)arg;
    (void)arch_irq_save();
    arch_irq_restore(outer);
}

static void restore_twice(void *arg)
{
    unsigned long state = arch_irq_save();

    (void)arg;
    arch_irq_restore(state);
    arch_irq_restore(state);
}

static void enable_inside_two_saves(void *arg)
{
    (void)arg;
    (void)arch_irq_save();
    (void)arch_irq_save();
    arch_irq_enable();
}

static void restore_after_enable(void *arg)
{
    unsigned long state = arch_irq_save();

    (void)arg;
    arch_irq_enable();
    arch_irq_restore(state);
}

/* Migration while pinned: a state that was saved before the thread left its CPU. */
static void restore_from_another_stay(void *arg)
{
    unsigned long before = arch_irq_save();

    (void)arg;
    arch_irq_restore(before);
    hosted_cpu_leave();
    (void)hosted_cpu_enter();
    (void)arch_irq_save();
    arch_irq_restore(before);
}

TEST(refusals, interrupts_misnested)
{
    EXPECT_PANIC(t, restore_out_of_order, NULL, "interrupts misnested");
    EXPECT_PANIC(t, restore_twice, NULL, "interrupts misnested");
    EXPECT_PANIC(t, enable_inside_two_saves, NULL, "interrupts misnested");
    EXPECT_PANIC(t, restore_after_enable, NULL, "interrupts misnested");
    EXPECT_PANIC(t, restore_from_another_stay, NULL, "saved on another CPU or before it was left");
}

/* ---- CPUs ---- */

static void allocate_without_cpu(void *arg)
{
    (void)arg;
    hosted_cpu_leave();
    (void)kmalloc(16);
}

static PERCPU(int, refused);

static void percpu_without_cpu(void *arg)
{
    (void)arg;
    hosted_cpu_leave();
    *this_cpu(refused) = 1;
}

static void leave_with_interrupts_off(void *arg)
{
    (void)arg;
    (void)arch_irq_save();
    hosted_cpu_leave();
}

static void leave_without_cpu(void *arg)
{
    (void)arg;
    hosted_cpu_leave();
    hosted_cpu_leave();
}

static void enter_twice(void *arg)
{
    (void)arg;
    (void)hosted_cpu_enter();
    (void)hosted_cpu_enter();
}

static void end_thread_on_cpu(void *arg)
{
    (void)arg;
    (void)hosted_cpu_enter();
    pthread_exit(NULL);
}

TEST(refusals, cpu_is_missing)
{
    EXPECT_PANIC(t, allocate_without_cpu, NULL,
                 "panic: this thread holds no CPU: call hosted_cpu_enter first");
    EXPECT_PANIC(t, percpu_without_cpu, NULL, "this thread holds no CPU");
    EXPECT_PANIC(t, leave_without_cpu, NULL, "hosted_cpu_leave: this thread holds no CPU");
}

TEST(refusals, cpu_is_kept)
{
    EXPECT_PANIC(t, leave_with_interrupts_off, NULL, "has interrupts off (depth 1)");
    EXPECT_PANIC(t, enter_twice, NULL, "hosted_cpu_enter: this thread holds CPU");
    EXPECT_PANIC(t, end_thread_on_cpu, NULL, "a thread ended while it holds CPU");
}

/* ---- Locks ---- */

static struct spinlock outer_lock = SPINLOCK_INIT(TEST);
static struct spinlock inner_lock = SPINLOCK_INIT(CENTRAL);

static void take_locks_inside_out(void *arg)
{
    (void)arg;
    (void)spin_lock(&inner_lock);
    (void)spin_lock(&outer_lock);
}

static void leave_with_lock_held(void *arg)
{
    (void)arg;
    (void)spin_lock(&inner_lock);
    hosted_cpu_leave();
}

static void unlock_out_of_order(void *arg)
{
    unsigned long outer = spin_lock(&outer_lock);
    unsigned long inner = spin_lock(&inner_lock);

    (void)arg;
    spin_unlock(&inner_lock, outer);
    spin_unlock(&outer_lock, inner);
}

TEST(refusals, locks)
{
    EXPECT_PANIC(t, leave_with_lock_held, NULL, "has interrupts off (depth 1)");
    EXPECT_PANIC(t, unlock_out_of_order, NULL, "interrupts misnested");
    if (CONFIG_DEBUG) /* release builds keep no list of what is held */
        EXPECT_PANIC(t, take_locks_inside_out, NULL, "lock order: TEST is taken while CENTRAL");
}

/* ---- Traps ---- */

static void write_to_null_page(void *arg)
{
    *(volatile int *)((uintptr_t)arg + 16) = 1;
}

static void read_not_canonical(void *arg)
{
    (void)*(volatile int *)((uintptr_t)arg + (1ul << 63));
}

static void run_invalid_opcode(void *arg)
{
    (void)arg;
    __asm__ volatile("ud2");
}

/* Few and large frames: a sanitizer's own stack of calls is bounded. */
static NOINLINE unsigned overflow_stack(volatile unsigned *depth)
{
    char frame[16 * KIB];

    __asm__ volatile("" : : "r"(frame) : "memory");
    if (++*depth == 0)
        return 0;
    return overflow_stack(depth) + (unsigned)frame[0];
}

static void overflow(void *arg)
{
    volatile unsigned depth = 0;

    (void)arg;
    (void)overflow_stack(&depth);
}

static void trap_with_interrupts_off(void *arg)
{
    (void)arch_irq_save();
    write_to_null_page(arg);
}

TEST(refusals, traps)
{
    EXPECT_PANIC(t, write_to_null_page, NULL, "panic: page fault: write of 0x10 (null page)");
    EXPECT_PANIC(t, trap_with_interrupts_off, NULL, "page fault: write of 0x10 (null page)");
    EXPECT_PANIC(t, write_to_null_page, NULL, "write_to_null_page+0x");
    EXPECT_PANIC(t, read_not_canonical, NULL, "general protection fault");
    EXPECT_PANIC(t, run_invalid_opcode, NULL, "invalid opcode at 0x");
    EXPECT_PANIC(t, overflow, NULL, "stack overflow");
    EXPECT_PANIC(t, overflow, NULL, "overflow_stack");
}
