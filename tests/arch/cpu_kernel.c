/* This port's CPUs: control registers, ticks, TLB flushes by NMI, symbols, backtraces. */
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/tlb.h"
#include "kernel/base/string.h"
#include "kernel/cpus.h"
#include "kernel/time.h"
#include "tests/test.h"

static void cpu_check_protection(void *arg)
{
    _Atomic unsigned *wrong = arg;
    uint64_t cr4 = cr4_read();
    struct cpuid features = cpuid(7);
    bool is_right = (cr0_read() & CR0_WP) != 0 && (msr_read(MSR_EFER) & EFER_NXE) != 0 &&
                    ((cr4 & CR4_SMEP) != 0) == ((features.ebx & 1u << 7) != 0) &&
                    ((cr4 & CR4_SMAP) != 0) == ((features.ebx & 1u << 20) != 0) &&
                    ((cr4 & CR4_UMIP) != 0) == ((features.ecx & 1u << 2) != 0) &&
                    cpu_block_this() == &cpu_blocks[arch_cpu_id()];

    if (!is_right)
        atomic_fetch_add_explicit(wrong, 1, memory_order_relaxed);
}

TEST(cpu, every_cpu_is_protected)
{
    _Atomic unsigned wrong = 0;

    cpu_call_all(cpu_check_protection, &wrong);
    EXPECT(t, wrong == 0);
}

static uint64_t cpu_ticks_taken(void)
{
    return atomic_load_explicit(&cpu_block_this()->tick_count, memory_order_relaxed);
}

TEST(cpu, tick_comes_until_it_is_stopped)
{
    arch_tick_start(1000);
    for (uint64_t until = cpu_ticks_taken() + 3; cpu_ticks_taken() < until;) {
        arch_irq_disable();
        arch_idle();
    }

    /* Stopped: one that was under way may still come, then none in ten periods. */
    arch_tick_start(0);
    uint64_t period = arch_ticks_per_second() / 1000, start = arch_ticks();
    while (arch_ticks() - start < period)
        arch_relax();
    uint64_t taken = cpu_ticks_taken();
    while (arch_ticks() - start < 10 * period)
        arch_relax();
    EXPECT(t, cpu_ticks_taken() == taken);
    arch_tick_start(TIME_TICK_HZ);
}

#define TICK_CHANGES 20000u

/* With the shortest wait still set when ticks become periodic, QEMU comes to a halt. */
TEST(cpu, tick_changes_from_once_to_periodic)
{
    uint64_t until = cpu_ticks_taken() + 3;

    for (unsigned i = 0; i < TICK_CHANGES; i++) {
        arch_tick_once(1);
        arch_tick_start(TIME_TICK_HZ);
    }

    uint64_t start = arch_ticks();

    while (cpu_ticks_taken() < until && arch_ticks() - start < 10 * arch_ticks_per_second())
        arch_relax();
    EXPECT(t, cpu_ticks_taken() >= until);
}

#define FLUSH_ROUNDS 20

static void cpu_flush_all(void *arg)
{
    (void)arg;
    unsigned long irq_state = arch_irq_save();

    for (unsigned i = 0; i < FLUSH_ROUNDS; i++)
        tlb_flush_all();
    arch_irq_restore(irq_state);
}

/* All CPUs flush all at once, each with interrupts off: by IPI, they would wait for ever. */
TEST(cpu, flushes_cross_with_interrupts_off)
{
    cpu_run_all(cpus_online(), cpu_flush_all, NULL);
    EXPECT(t, arch_irq_enabled());
}

TEST(cpu, symbols_name_functions_only)
{
    static const char data[] = "not code";
    uintptr_t code = (uintptr_t)arch_symbol;
    const char *name;
    size_t offset;

    EXPECT(t, arch_symbol(code, &name, &offset) && strcmp(name, "arch_symbol") == 0 && offset == 0);
    EXPECT(t, arch_symbol(code + 3, &name, &offset) && strcmp(name, "arch_symbol") == 0);
    EXPECT(t, offset == 3);
    EXPECT(t, !arch_symbol((uintptr_t)data, &name, &offset));
    EXPECT(t, !arch_symbol(0, &name, &offset));
    EXPECT(t, !arch_symbol(UINTPTR_MAX, &name, &offset));
}

static bool cpu_backtrace_has(const uintptr_t *pcs, size_t count, const char *function)
{
    for (size_t i = 0; i < count; i++) {
        const char *name;
        size_t offset;

        if (arch_symbol(pcs[i] - 1, &name, &offset) && strcmp(name, function) == 0)
            return true;
    }
    return false;
}

static void cpu_take_backtrace(void *arg)
{
    uintptr_t *pcs = arg;

    pcs[0] = arch_backtrace(NULL, pcs + 1, 31);
}

TEST(cpu, backtrace_goes_from_an_interrupt_to_what_it_interrupted)
{
    uintptr_t pcs[32];

    pcs[0] = arch_backtrace(NULL, pcs + 1, 31);
    EXPECT(t, cpu_backtrace_has(pcs + 1, pcs[0], "kernel_run"));
    EXPECT(t, arch_backtrace(NULL, pcs, 2) == 2);

    unsigned other = cpus_online() - 1;
    if (other == 0) {
        test_skip(t, "one CPU: nothing to interrupt");
        return;
    }
    cpu_call(other, cpu_take_backtrace, pcs);
    EXPECT(t, cpu_backtrace_has(pcs + 1, pcs[0], "kernel_ipi"));
    EXPECT(t, cpu_backtrace_has(pcs + 1, pcs[0], "kernel_cpu_idle"));
}

/* ---- A halt ---- */

/* Where there are more CPUs than the machine has, they take turns. */
#define HALT_ROUNDS (40000u / cpus_online())

static void cpu_nothing(void *unused)
{
    (void)unused;
}

/*
 * CPU 1 is woken, which it may be told just before it halts, and an NMI comes at about the same time.  It
 * sleeps without ticks: what is lost is lost for good.
 */
TEST(cpu, nmi_before_a_halt_loses_no_interrupt)
{
    static struct cpu_post post;

    if (cpus_online() < 2) {
        test_skip(t, "takes two CPUs");
        return;
    }
    for (unsigned i = 0; i < HALT_ROUNDS; i++) {
        cpu_post(&post, 1, cpu_nothing, NULL);
        for (volatile unsigned wait = i % 512; wait > 0; wait--)
            continue;
        arch_stack_flush_all();
        while (!cpu_post_is_done(&post))
            arch_relax();
    }
}
