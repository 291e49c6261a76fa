/*
 * The local APIC.
 *
 * Idea: one register file with two ways in: memory (xAPIC) or MSRs (x2APIC, used when CPUID has
 * it), told apart in lapic_read and lapic_write only.  The interrupt command is the one register
 * that differs: two halves in memory, one MSR.  An NMI between the two halves may send IPIs of its
 * own; the trap code saves and restores the destination half around NMIs.
 *
 * The tick is the TSC-deadline timer where the CPU has it, else the periodic timer, whose frequency
 * the clock measured.
 *
 * Source: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller".
 */
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/window.h"

enum lapic_register {
    LAPIC_ID = 0x20,
    LAPIC_TASK_PRIORITY = 0x80,
    LAPIC_EOI = 0xb0,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_ERROR = 0x280,
    LAPIC_COMMAND = 0x300,
    LAPIC_COMMAND_HIGH = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330,
    LAPIC_LVT_COUNTER = 0x340,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_VERSION = 0x30,
};

#define APIC_BASE_X2APIC  (1u << 10)
#define APIC_BASE_ENABLE  (1u << 11)
#define APIC_BASE_ADDRESS 0x000ffffffffff000ull

#define SPURIOUS_ENABLE       (1u << 8)
#define COMMAND_NMI           (4u << 8)
#define COMMAND_INIT          (5u << 8)
#define COMMAND_STARTUP       (6u << 8)
#define COMMAND_PENDING       (1u << 12)
#define COMMAND_ASSERT        (1u << 14)
#define COMMAND_PENDING_TRIES 1000000u /* then send all the same */
#define LVT_NMI               (4u << 8)
#define LVT_MASKED            (1u << 16)
#define LVT_ONCE              0u
#define LVT_PERIODIC          (1u << 17)
#define LVT_DEADLINE          (2u << 17)
#define TIMER_DIVIDE_BY_1     0xbu

/* All written once by the boot CPU in lapic_init and arch_interrupt_init, then constant. */
static volatile uint32_t *lapic_registers; /* NULL: x2APIC, or not found yet */
static bool lapic_x2apic, lapic_has_deadline, lapic_ready;
static uint64_t lapic_timer_hz;

static uint32_t lapic_read(enum lapic_register reg)
{
    if (lapic_x2apic)
        return (uint32_t)msr_read(MSR_X2APIC_FIRST + reg / 16);
    return lapic_registers[reg / 4];
}

static void lapic_write(enum lapic_register reg, uint32_t value)
{
    if (lapic_x2apic)
        msr_write(MSR_X2APIC_FIRST + reg / 16, value);
    else
        lapic_registers[reg / 4] = value;
}

void lapic_init(void)
{
    uint32_t features = cpuid(1).ecx;

    lapic_x2apic = (features & 1u << 21) != 0;
    lapic_has_deadline = (features & 1u << 24) != 0;
    if (!lapic_x2apic)
        lapic_registers =
            window_map_device(msr_read(MSR_APIC_BASE) & APIC_BASE_ADDRESS, ARCH_PAGE_BYTES);
    lapic_cpu_init();
    lapic_ready = true;
}

void lapic_cpu_init(void)
{
    uint64_t base = msr_read(MSR_APIC_BASE);

    /* Off, on and x2APIC are steps that must be taken one by one. */
    if ((base & APIC_BASE_ENABLE) == 0)
        msr_write(MSR_APIC_BASE, base |= APIC_BASE_ENABLE);
    if (lapic_x2apic && (base & APIC_BASE_X2APIC) == 0)
        msr_write(MSR_APIC_BASE, base | APIC_BASE_X2APIC);

    lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    lapic_write(LAPIC_TASK_PRIORITY, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT1, LVT_NMI); /* where a chipset's NMI button comes in */
    if ((lapic_read(LAPIC_VERSION) >> 16 & 0xff) >= 4)
        lapic_write(LAPIC_LVT_COUNTER, LVT_MASKED);
    lapic_write(LAPIC_ERROR, 0);
    lapic_write(LAPIC_LVT_ERROR, VECTOR_APIC_ERROR);
    lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    lapic_eoi(); /* whatever firmware left in service */
}

bool lapic_is_x2apic(void)
{
    return lapic_x2apic;
}

uint32_t lapic_id(void)
{
    return lapic_x2apic ? lapic_read(LAPIC_ID) : lapic_read(LAPIC_ID) >> 24;
}

void lapic_eoi(void)
{
    lapic_write(LAPIC_EOI, 0);
}

static void lapic_command_wait(void)
{
    for (unsigned i = 0; i < COMMAND_PENDING_TRIES; i++) {
        if ((lapic_read(LAPIC_COMMAND) & COMMAND_PENDING) == 0)
            return;
        arch_relax();
    }
}

static void lapic_command(uint32_t apic_id, uint32_t command)
{
    if (!lapic_ready)
        return;

    unsigned long irq_state = arch_irq_save();

    if (lapic_x2apic) {
        /* An MSR write does not wait for earlier stores: what others are to see goes first. */
        __asm__ volatile("mfence\n\tlfence" : : : "memory");
        msr_write(MSR_X2APIC_FIRST + LAPIC_COMMAND / 16, (uint64_t)apic_id << 32 | command);
    } else {
        lapic_command_wait();
        lapic_write(LAPIC_COMMAND_HIGH, apic_id << 24);
        lapic_write(LAPIC_COMMAND, command);
    }
    arch_irq_restore(irq_state);
}

void lapic_send_ipi(uint32_t apic_id, unsigned vector)
{
    lapic_command(apic_id, COMMAND_ASSERT | vector);
}

void lapic_send_nmi(uint32_t apic_id)
{
    lapic_command(apic_id, COMMAND_ASSERT | COMMAND_NMI);
}

void lapic_send_init(uint32_t apic_id)
{
    lapic_command(apic_id, COMMAND_ASSERT | COMMAND_INIT);
}

void lapic_send_startup(uint32_t apic_id, uint64_t page)
{
    lapic_command(apic_id, COMMAND_ASSERT | COMMAND_STARTUP | (uint32_t)(page / ARCH_PAGE_BYTES));
}

uint32_t lapic_destination_save(void)
{
    return lapic_ready && !lapic_x2apic ? lapic_read(LAPIC_COMMAND_HIGH) : 0;
}

void lapic_destination_restore(uint32_t destination)
{
    if (lapic_ready && !lapic_x2apic) {
        lapic_command_wait();
        lapic_write(LAPIC_COMMAND_HIGH, destination);
    }
}

void lapic_timer_free_run(void)
{
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_TIMER_INITIAL, UINT32_MAX);
}

uint32_t lapic_timer_read(void)
{
    return lapic_read(LAPIC_TIMER_CURRENT);
}

void lapic_timer_calibrated(uint64_t hz)
{
    lapic_timer_hz = hz;
    lapic_write(LAPIC_TIMER_INITIAL, 0);
}

void arch_tick_start(unsigned hz)
{
    unsigned long irq_state = arch_irq_save();
    struct cpu_block *block = cpu_block_this();

    block->tick_hz = hz;
    if (hz == 0) {
        lapic_write(LAPIC_LVT_TIMER, LVT_MASKED); /* which disarms a deadline too */
        lapic_write(LAPIC_TIMER_INITIAL, 0);
    } else if (lapic_has_deadline) {
        lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | VECTOR_TICK);
        __asm__ volatile("mfence" : : : "memory"); /* the mode first, also through memory */
        block->tick_period = arch_ticks_per_second() / hz;
        block->tick_next = arch_ticks() + block->tick_period;
        msr_write(MSR_TSC_DEADLINE, block->tick_next);
    } else {
        uint64_t count = MAX(lapic_timer_hz / hz, 1u);

        /* Stopped while the mode changes: the count of arch_tick_once, of a few ns perhaps, is no
           period.  QEMU, once behind, would go through its ends for ever, with all CPUs waiting. */
        lapic_write(LAPIC_TIMER_INITIAL, 0);
        lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | VECTOR_TICK);
        lapic_write(LAPIC_TIMER_INITIAL, (uint32_t)MIN(count, (uint64_t)UINT32_MAX));
    }
    arch_irq_restore(irq_state);
}

/* The timer counts 32 bits: what is further away than a second comes after one. */
void arch_tick_once(uint64_t ticks)
{
    unsigned long irq_state = arch_irq_save();
    uint64_t hz = arch_ticks_per_second();

    cpu_block_this()->tick_hz = 0;
    if (lapic_has_deadline) {
        lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | VECTOR_TICK);
        __asm__ volatile("mfence" : : : "memory");
        msr_write(MSR_TSC_DEADLINE, arch_ticks() + MIN(ticks, hz));
    } else {
        uint64_t count = ticks < hz ? ticks * lapic_timer_hz / hz + 1 : lapic_timer_hz;

        lapic_write(LAPIC_LVT_TIMER, LVT_ONCE | VECTOR_TICK);
        lapic_write(LAPIC_TIMER_INITIAL, (uint32_t)MIN(count, (uint64_t)UINT32_MAX));
    }
    arch_irq_restore(irq_state);
}

void lapic_tick(void)
{
    struct cpu_block *block = cpu_block_this();

    atomic_store_explicit(&block->tick_count,
                          atomic_load_explicit(&block->tick_count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (!lapic_has_deadline || block->tick_hz == 0)
        return;
    block->tick_next += block->tick_period;
    if (block->tick_next < arch_ticks()) /* fell behind: drop the ticks missed */
        block->tick_next = arch_ticks() + block->tick_period;
    msr_write(MSR_TSC_DEADLINE, block->tick_next);
}
