/*
 * The window: 0xffffe00000000000 up, for what the port itself maps.
 *
 *      view 0 | view 1 | devices ...  | stack block of CPU 0, 1, 2 ... | guard pool
 *      0        64       128            512      + 32 pages a CPU         2560 pages
 *
 * All its page tables are static, one flat array of entries, so nothing here can run out of memory.
 * CPU 0's place among the stack blocks stays empty: its stacks are in the image.
 */
#include "arch/x86_64/window.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/instr.h"
#include "arch/x86_64/layout.h"
#include "kernel/base/check.h"

#define WINDOW_BASE         0xffffe00000000000ull
#define WINDOW_VIEW_PAGES   64u /* 256 KiB: no firmware table of today is larger */
#define WINDOW_DEVICE_PAGE  (WINDOW_VIEWS * WINDOW_VIEW_PAGES)
#define WINDOW_STACK_PAGE   512u
#define WINDOW_STACK_STRIDE 32u
#define WINDOW_GUARD_PAGE   (WINDOW_STACK_PAGE + WINDOW_STACK_STRIDE * ARCH_CPU_MAX)
#define WINDOW_GUARD_PAGES  (ARCH_GUARD_BYTES / ARCH_PAGE_BYTES)
#define WINDOW_PAGES        (WINDOW_GUARD_PAGE + WINDOW_GUARD_PAGES)
#define WINDOW_TABLES       (WINDOW_PAGES / PAGE_TABLE_ENTRIES)
#define PHYSICAL_MAX        (1ull << 52)

_Static_assert(STACK_BLOCK_PAGES <= WINDOW_STACK_STRIDE, "a stack block fits its place");
_Static_assert(WINDOW_PAGES % PAGE_TABLE_ENTRIES == 0, "whole tables");

static page_table window_level2, window_level1;
static uint64_t window_entries[WINDOW_PAGES] __attribute__((aligned(4096)));
static unsigned window_device_next = WINDOW_DEVICE_PAGE; /* boot CPU only */

static uintptr_t window_address(unsigned page)
{
    return WINDOW_BASE + page * ARCH_PAGE_BYTES;
}

void window_init(void)
{
    const uint64_t bits = PTE_PRESENT | PTE_WRITE;

    for (unsigned i = 0; i < WINDOW_TABLES; i++)
        window_level1[i] = image_physical(&window_entries[i * PAGE_TABLE_ENTRIES]) | bits;
    window_level2[0] = image_physical(window_level1) | bits;
    paging_root[paging_index(WINDOW_BASE, LEVEL_ROOT)] = image_physical(window_level2) | bits;
}

void window_map_page(uintptr_t addr, uint64_t physical, uint64_t entry_bits)
{
    size_t page = (addr - WINDOW_BASE) / ARCH_PAGE_BYTES;

    CHECK(page < WINDOW_PAGES);
    window_entries[page] = physical | entry_bits;
    page_invalidate(addr);
}

volatile void *window_map_device(uint64_t physical, size_t bytes)
{
    uint64_t start = ALIGN_DOWN(physical, ARCH_PAGE_BYTES);
    uint64_t end = ALIGN_UP(physical + bytes, ARCH_PAGE_BYTES);
    unsigned first = window_device_next;

    for (; start < end; start += ARCH_PAGE_BYTES) {
        CHECK(window_device_next < WINDOW_STACK_PAGE);
        window_map_page(window_address(window_device_next++), start,
                        PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_GLOBAL | PTE_UNCACHED |
                            PTE_WRITE_THROUGH);
    }
    return (volatile char *)window_address(first) + physical % ARCH_PAGE_BYTES;
}

const void *window_view(enum window_view view, uint64_t physical, size_t bytes)
{
    unsigned first = view * WINDOW_VIEW_PAGES;
    uint64_t start = ALIGN_DOWN(physical, ARCH_PAGE_BYTES);

    if (physical >= PHYSICAL_MAX || bytes > PHYSICAL_MAX - physical ||
        physical - start + bytes > WINDOW_VIEW_PAGES * ARCH_PAGE_BYTES)
        return NULL;

    for (unsigned i = 0; i < WINDOW_VIEW_PAGES; i++) {
        bool is_needed = start + i * ARCH_PAGE_BYTES < physical + bytes;

        window_map_page(window_address(first + i), start + i * ARCH_PAGE_BYTES,
                        is_needed ? PTE_PRESENT | PTE_NX : 0);
    }
    return (const char *)window_address(first) + physical % ARCH_PAGE_BYTES;
}

uintptr_t window_stack_base(unsigned cpu)
{
    return window_address(WINDOW_STACK_PAGE + cpu * WINDOW_STACK_STRIDE);
}

void *arch_guard_reserve(void)
{
    return (void *)window_address(WINDOW_GUARD_PAGE);
}

static void window_guard_check(uintptr_t addr)
{
    CHECK(IS_ALIGNED(addr, ARCH_PAGE_BYTES) &&
          addr - window_address(WINDOW_GUARD_PAGE) < ARCH_GUARD_BYTES);
}

/* No other CPU has cached that nothing was there: CPUs do not. */
bool arch_guard_map(void *addr, void *page)
{
    window_guard_check((uintptr_t)addr);
    window_map_page((uintptr_t)addr, direct_physical((uintptr_t)page),
                    PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_GLOBAL);
    return true;
}

void arch_guard_unmap(void *addr)
{
    window_guard_check((uintptr_t)addr);
    window_map_page((uintptr_t)addr, 0, 0);
}
