/*
 * First steps: this CPU's tables, console and traps; and starting the other CPUs.
 *
 * A CPU is started by INIT, STARTUP, STARTUP (the second only if the first had no effect), with
 * the number of a page below 1 MiB that it is to run real-mode code from.  That page gets the
 * trampoline (trampoline.S) and is mapped at its own physical address for that while.  One CPU is
 * started at a time.  It and the CPU that waits for it settle in one atomic step whether it came in
 * time; one that did not halts before it does anything else.
 *
 * Source: Intel SDM volume 3, "MP initialization"; long mode straight from real mode: AMD64 volume
 * 2, "Initializing long mode".
 */
#include "arch/arch.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpu_block.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/serial.h"
#include "arch/x86_64/stacks.h"
#include "arch/x86_64/descriptors.h"
#include "arch/x86_64/tlb.h"
#include "kernel/base/check.h"
#include "kernel/base/string.h"

#define LOW_END            0xa0000ull /* RAM that real mode reaches and that is RAM on every PC */
#define INIT_WAIT_US       10000u
#define STARTUP_STEP_US    100u
#define STARTUP_AGAIN_US   10000u
#define STARTUP_GIVE_UP_US 1000000u

/* The fields at the end of trampoline.S, in its order. */
struct trampoline {
    uint64_t stack, block, entry;
    uint32_t cr0, cr3, cr4, efer;
    uint32_t long_entry; /* offsets in the page; the page's address is added to the copy */
    uint16_t code_selector;
    uint16_t gdt_limit;
    uint32_t gdt_base;
} __attribute__((packed));

extern const char trampoline_start[], trampoline_fields[], trampoline_end[];

struct cpu_block cpu_blocks[ARCH_CPU_MAX];
SECTION("percpu") struct cpu_identity cpu_identity;

static uint64_t trampoline_page; /* physical; 0: none found; constant after arch_boot_cpu_init */
static page_table trampoline_tables[LEVEL_ROOT]; /* map it at its physical address; [0] has it */

/* A page of RAM below LOW_END, not page 0, that nothing but `kind` touches; 0: none. */
static uint64_t low_page_find(const struct boot_info *info, uint32_t kind)
{
    for (uint64_t page = ARCH_PAGE_BYTES; page < LOW_END; page += ARCH_PAGE_BYTES) {
        bool is_inside = false, is_touched = false;

        for (uint64_t i = 0; i < info->range_count; i++) {
            const struct boot_range *range = &info->ranges[i];
            uint64_t end = range->base + MIN(range->bytes, UINT64_MAX - range->base);

            if (range->base <= page && end >= page + ARCH_PAGE_BYTES && range->kind == kind)
                is_inside = true;
            else if (range->base < page + ARCH_PAGE_BYTES && end > page)
                is_touched = true;
        }
        if (is_inside && !is_touched)
            return page;
    }
    return 0;
}

void arch_boot_cpu_init(const struct boot_info *info)
{
    serial_init();
    cpu_blocks[0].stacks = (uintptr_t)boot_stacks;
    descriptors_init();
    descriptors_load(&cpu_blocks[0]);
    cpu_protect();

    trampoline_page = low_page_find(info, BOOT_RANGE_USABLE);
    if (trampoline_page == 0)
        trampoline_page = low_page_find(info, BOOT_RANGE_BOOT);
}

/* Of the CPU that starts and the one that waits for it, who comes first says how it ends. */
static bool start_settle(struct cpu_block *block, uint32_t state)
{
    uint32_t expected = CPU_STARTING;

    return atomic_compare_exchange_strong_explicit(&block->state, &expected, state,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* Where another CPU comes in from the trampoline, on its own boot stack. */
static NORETURN void start_cpu_main(struct cpu_block *block)
{
    descriptors_load(block);
    cpu_protect();
    lapic_cpu_init();
    if (!start_settle(block, CPU_ONLINE))
        cpu_halt();
    tlb_flush_local(); /* flushes before this did not ask for ours (tlb.c) */
    kernel_cpu_main(block->cpu);
}

/* Copy the trampoline and fill it in for one CPU; map it at its physical address. */
static void trampoline_arm(struct cpu_block *block)
{
    char *page = direct_pointer(trampoline_page);
    struct trampoline *fields =
        (struct trampoline *)(page + (trampoline_fields - trampoline_start));
    uintptr_t bottom, top;

    memcpy(page, trampoline_start, (size_t)(trampoline_end - trampoline_start));
    stack_bounds(block->cpu, STACK_BOOT, &bottom, &top);
    fields->stack = top;
    fields->block = (uintptr_t)block;
    fields->entry = (uintptr_t)start_cpu_main;
    fields->cr0 = (uint32_t)cr0_read();
    fields->cr3 = (uint32_t)image_physical(paging_root);
    fields->cr4 = CR4_PAE;
    fields->efer = (uint32_t)msr_read(MSR_EFER) & ~(uint32_t)EFER_LMA;
    fields->long_entry += (uint32_t)trampoline_page;
    fields->gdt_base += (uint32_t)trampoline_page;

    trampoline_tables[0][paging_index(trampoline_page, 0)] = trampoline_page | PTE_PRESENT;
    trampoline_tables[1][0] = image_physical(trampoline_tables[0]) | PTE_PRESENT;
    trampoline_tables[2][0] = image_physical(trampoline_tables[1]) | PTE_PRESENT;
    paging_root[0] = image_physical(trampoline_tables[2]) | PTE_PRESENT;
}

static bool start_wait_online(const struct cpu_block *block, unsigned microseconds)
{
    for (unsigned waited = 0; waited < microseconds; waited += STARTUP_STEP_US) {
        if (cpu_is_online(block))
            return true;
        clock_wait_us(STARTUP_STEP_US);
    }
    return false;
}

bool arch_cpu_start(unsigned cpu, uintptr_t percpu_offset, void *(*take_pages)(size_t n))
{
    CHECK(cpu > 0 && cpu < arch_cpu_count());

    struct cpu_block *block = &cpu_blocks[cpu];

    if (trampoline_page == 0) {
        kernel_log("cpu %u: not started: no free page below 1 MiB", cpu);
        return false;
    }
    /* Pages cannot be given back: a second try finds the stacks of the first. */
    if (!stack_block_create(cpu, take_pages))
        return false;

    block->percpu_offset = percpu_offset;
    trampoline_arm(block);
    atomic_store_explicit(&block->state, CPU_STARTING, memory_order_release);

    lapic_send_init(block->apic_id);
    clock_wait_us(INIT_WAIT_US);
    lapic_send_startup(block->apic_id, trampoline_page);
    if (!start_wait_online(block, STARTUP_AGAIN_US)) {
        lapic_send_startup(block->apic_id, trampoline_page);
        start_wait_online(block, STARTUP_GIVE_UP_US);
    }

    bool is_late = start_settle(block, CPU_OFF);

    if (is_late)
        lapic_send_init(block->apic_id); /* out of the trampoline, whose page goes now */
    paging_root[0] = 0;
    tlb_flush_all();
    return !is_late;
}
