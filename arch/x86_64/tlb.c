/*
 * TLB flushes on all CPUs.
 *
 * Idea: by NMI, not by IPI.  Who commits a page holds a lock with interrupts off, and another CPU
 * may spin for that lock with interrupts off: it would never take an IPI.  Flushes are numbered;
 * each CPU says the number of the last that it did.  A CPU that is asked twice before it answers
 * gets one NMI: the second asker's number is out before it looks at the flag, so the answer covers
 * it.
 *
 * A CPU that comes online meanwhile is not waited for unless it was asked: it flushes by itself
 * once it can be seen to be online (start.c), so either it is asked or it sees the new tables.
 */
#include "arch/x86_64/tlb.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/lapic.h"

static _Atomic uint32_t flush_number; /* of the last flush asked for; seq_cst, see above */

_Static_assert(ARCH_CPU_MAX <= 64, "a word has a bit for each CPU");

void tlb_flush_local(void)
{
    uint64_t cr4 = cr4_read();

    if (cr4 & CR4_PGE) {
        cr4_write(cr4 & ~CR4_PGE); /* a change of PGE drops global entries too */
        cr4_write(cr4);
    } else {
        cr3_write(cr3_read());
    }
}

bool tlb_flush_due(struct cpu_block *block)
{
    if (!atomic_exchange_explicit(&block->flush_asked, false, memory_order_acq_rel))
        return false;

    uint32_t number = atomic_load_explicit(&flush_number, memory_order_acquire);

    tlb_flush_local();
    atomic_store_explicit(&block->flush_seen, number, memory_order_release);
    return true;
}

void tlb_flush_all(void)
{
    unsigned long irq_state = arch_irq_save();
    struct cpu_block *own = cpu_block_this();
    uint32_t number = atomic_fetch_add_explicit(&flush_number, 1, memory_order_seq_cst) + 1;
    uint64_t asked = 0; /* bit per CPU */

    tlb_flush_local();
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        struct cpu_block *block = &cpu_blocks[cpu];

        if (block == own || !cpu_is_online(block))
            continue;
        asked |= 1ull << cpu;
        if (!atomic_exchange_explicit(&block->flush_asked, true, memory_order_acq_rel))
            lapic_send_nmi(block->apic_id);
    }
    for (; asked != 0; asked &= asked - 1) {
        struct cpu_block *block = &cpu_blocks[__builtin_ctzll(asked)];

        while ((int32_t)(atomic_load_explicit(&block->flush_seen, memory_order_acquire) - number) <
               0)
            arch_relax();
    }
    arch_irq_restore(irq_state);
}
