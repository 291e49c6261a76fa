/*
 * The region of addresses for stacks (arch.h): its page tables come and go by units of 2 MiB, which
 * is what one page table maps.
 *
 *      root -> level 2 (512 GiB) -> level 1 (1 GiB) -> level 0 (a unit) -> page
 *
 * A unit is opened by making the tables on its way, and closed by taking its own and then each above
 * that has become empty.  A table that has gone may still be walked by a CPU that remembers it, until
 * a flush: so it is not to be used for what looks like entries with PTE_PRESENT, bit 0.
 *
 * Nothing is flushed here but on demand.  A page that has never been mapped at an address needs no
 * flush to appear there: the CPU remembers no absence.
 *
 * Locks: the caller's.  Different stacks' pages are different entries; tables change under one lock.
 */
#include "arch/x86_64/stack_region.h"
#include "arch/x86_64/lapic.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/tlb.h"
#include "kernel/base/check.h"

_Static_assert(ARCH_STACK_UNIT == LEVEL_BYTES(1), "a unit has a page table of its own");

uintptr_t arch_stack_region(size_t *bytes)
{
    *bytes = STACK_REGION_END - STACK_REGION_BASE;
    return STACK_REGION_BASE;
}

bool arch_stack_open(uintptr_t addr, size_t bytes, void *(*take_page)(void))
{
    CHECK(stack_region_has(addr) && IS_ALIGNED(addr | bytes, ARCH_STACK_UNIT));
    for (size_t at = 0; at < bytes; at += ARCH_STACK_UNIT) {
        if (paging_entry(addr + at, 0, take_page) == NULL)
            return false;
    }
    return true;
}

static bool table_is_empty(const uint64_t *table)
{
    for (unsigned i = 0; i < PAGE_TABLE_ENTRIES; i++) {
        if (table[i] != 0)
            return false;
    }
    return true;
}

static void stack_unit_close(uintptr_t addr, void (*give_page)(void *page))
{
    uint64_t *entries[LEVEL_ROOT + 1], *table = paging_root;
    unsigned level = LEVEL_ROOT;

    /* Down to the table of level 0, or as far as tables have been made. */
    while (level > 0) {
        entries[level] = &table[paging_index(addr, level)];
        if (*entries[level] == 0)
            break;
        table = paging_table_at(*entries[level]);
        level--;
    }
    for (; level < LEVEL_ROOT && table_is_empty(table); level++) {
        *entries[level + 1] = 0;
        give_page(table);
        if (level + 2 <= LEVEL_ROOT)
            table = paging_table_at(*entries[level + 2]);
    }
}

void arch_stack_close(uintptr_t addr, size_t bytes, void (*give_page)(void *page))
{
    for (size_t at = 0; at < bytes; at += ARCH_STACK_UNIT)
        stack_unit_close(addr + at, give_page);
}

bool arch_stack_map(uintptr_t addr, void *page)
{
    uint64_t *entry = paging_entry(addr, 0, NULL);

    CHECK(*entry == 0);
    *entry = direct_physical((uintptr_t)page) | PTE_PRESENT | PTE_WRITE | PTE_NX;
    return true;
}

void *arch_stack_unmap(uintptr_t addr)
{
    uint64_t *entry = paging_entry(addr, 0, NULL);
    void *page = *entry != 0 ? direct_pointer(*entry & PTE_ADDRESS) : NULL;

    *entry = 0;
    return page;
}

void *arch_stack_page(uintptr_t addr)
{
    unsigned level;
    uint64_t entry = paging_lookup(addr, &level);

    return entry != 0 ? direct_pointer(entry & PTE_ADDRESS) : NULL;
}

void arch_stack_flush_here(void)
{
    tlb_flush_local();
}

/* A handler of page faults may have interrupted who was about to send an IPI. */
void arch_stack_flush_all(void)
{
    unsigned long irq_state = arch_irq_save();
    uint32_t destination = lapic_destination_save();

    tlb_flush_all();
    lapic_destination_restore(destination);
    arch_irq_restore(irq_state);
}

bool stack_region_can_read(uintptr_t addr, size_t bytes)
{
    unsigned level;

    return stack_region_has(addr) && stack_region_has(addr + bytes - 1) &&
           paging_lookup(addr, &level) != 0 && paging_lookup(addr + bytes - 1, &level) != 0;
}
