/*
 * Interrupts: what each vector does, and bringing it all up: ACPI, CPUs, IO-APICs, clock, console
 * input.
 */
#include "arch/arch.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/ioapic.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/madt.h"
#include "arch/x86_64/numa.h"
#include "arch/x86_64/power.h"
#include "arch/x86_64/serial.h"
#include "arch/x86_64/trap.h"

#define XAPIC_ID_END 255u /* 255 means all CPUs */

static unsigned cpu_count = 1; /* constant after arch_interrupt_init */
static unsigned cpus_left_out; /* boot CPU, while the MADT is read */

unsigned arch_cpu_count(void)
{
    return cpu_count;
}

/* From the MADT: one more CPU, unless it is known, or cannot be reached. */
static void interrupt_cpu_found(uint32_t apic_id)
{
    for (unsigned cpu = 0; cpu < cpu_count; cpu++)
        if (cpu_blocks[cpu].apic_id == apic_id)
            return;

    if (cpu_count == ARCH_CPU_MAX || (!lapic_is_x2apic() && apic_id >= XAPIC_ID_END)) {
        cpus_left_out++;
        return;
    }
    cpu_blocks[cpu_count].cpu = cpu_count;
    cpu_blocks[cpu_count].apic_id = apic_id;
    cpu_count++;
}

void arch_interrupt_init(void)
{
    struct madt madt;

    pic_disable();
    lapic_init();
    cpu_blocks[0].apic_id = lapic_id();

    uint16_t pm_port = acpi_is_open() ? power_init() : 0;

    madt_read(&madt, interrupt_cpu_found);
    numa_place_cpus();
    kernel_log("apic: %s, %u CPUs, %u IO-APICs", lapic_is_x2apic() ? "x2APIC" : "xAPIC", cpu_count,
               madt.ioapic_count);
    if (cpus_left_out > 0)
        kernel_log("apic: %u CPUs left out: ARCH_CPU_MAX is %u, xAPIC ids end at %u", cpus_left_out,
                   ARCH_CPU_MAX, XAPIC_ID_END - 1);

    clock_init(pm_port);

    const struct madt_irq *irq = &madt.irqs[SERIAL_IRQ];

    if (ioapic_route(irq->gsi, VECTOR_SERIAL, cpu_blocks[0].apic_id, irq->is_level, irq->is_low))
        serial_input_init();
    atomic_store_explicit(&cpu_blocks[0].state, CPU_ONLINE, memory_order_release);
}

void interrupt_dispatch(unsigned vector)
{
    if (vector == VECTOR_SPURIOUS || vector < VECTOR_FIRST_IRQ + PIC_INPUTS)
        return; /* an APIC's or a PIC's spurious one: not in service, so not to be ended */

    lapic_eoi(); /* first: the handler may not return here, and interrupts stay off till it does */
    switch (vector) {
    case VECTOR_TICK:
        lapic_tick();
        kernel_tick();
        break;
    case VECTOR_IPI:
        kernel_ipi();
        break;
    case VECTOR_SERIAL:
        serial_interrupt();
        break;
    case VECTOR_APIC_ERROR:
        kernel_log("apic: error interrupt on CPU %u", arch_cpu_id());
        break;
    default:
        kernel_log("interrupt %u on CPU %u: nobody asked for it", vector, arch_cpu_id());
        break;
    }
}

void arch_ipi_send(unsigned cpu)
{
    lapic_send_ipi(cpu_blocks[cpu].apic_id, VECTOR_IPI);
}

/*
 * Interrupts are on only from hlt on: one that comes after the caller's check is not lost.  But an NMI can
 * come between the two; when it returns, the interrupt is taken before hlt, which then sleeps for as
 * long as nobody else comes.  So NMIs return behind it (trap.c).
 */
NOINLINE void arch_idle(void)
{
    __asm__ volatile("sti\n\t"
                     ".globl idle_halt\n"
                     "idle_halt:\n\t"
                     "hlt"
                     :
                     :
                     : "memory");
}

void arch_idle_poll(void)
{
    arch_irq_enable();
}
